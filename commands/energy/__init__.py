# SPDX-License-Identifier: Apache-2.0
"""``spikefold energy`` and its subcommands."""
