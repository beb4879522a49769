# SPDX-License-Identifier: Apache-2.0
"""The subcommands of ``spikefold``: arguments in, tables and messages out; no numerics."""
