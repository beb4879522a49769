# SPDX-License-Identifier: Apache-2.0
"""Exact operation counts, and what they cost under a sourced technology profile."""
