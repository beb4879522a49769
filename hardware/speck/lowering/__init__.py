# SPDX-License-Identifier: Apache-2.0
"""From a network to the files of a Speck: sinabs' conversion and configuration, and our own beside it."""
