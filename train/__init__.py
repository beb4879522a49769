# SPDX-License-Identifier: Apache-2.0
"""Turns event recordings into trained attention spiking networks."""
