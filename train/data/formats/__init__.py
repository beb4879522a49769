# SPDX-License-Identifier: Apache-2.0
"""Recording files, one format a module. `spikefold.train.data.readers` registers them."""
