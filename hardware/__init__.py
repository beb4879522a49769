# SPDX-License-Identifier: Apache-2.0
"""Chips, simulators and devices: every runner takes a network and frames and returns a trace."""
