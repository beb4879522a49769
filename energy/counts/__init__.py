# SPDX-License-Identifier: Apache-2.0
"""Exact numbers of operations, from traces: nothing here knows a price."""
