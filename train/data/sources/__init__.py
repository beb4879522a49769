# SPDX-License-Identifier: Apache-2.0
"""Data sets as their authors publish them, one layout a file. `spikefold.train.data.datasets` knows them by name."""
