# SPDX-License-Identifier: Apache-2.0
"""Speck as it works: event by event, core by core."""
