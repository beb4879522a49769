# SPDX-License-Identifier: Apache-2.0
"""The variants of a run's network, and what is summed up of each while clips stream through it."""
