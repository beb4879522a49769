# SPDX-License-Identifier: Apache-2.0
"""How groups of commands show and find theirs."""
