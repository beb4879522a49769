# SPDX-License-Identifier: Apache-2.0
"""Chips, their rules, files and boards, and the simulators: each takes a network and frames and returns a trace."""
