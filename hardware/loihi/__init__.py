# SPDX-License-Identifier: Apache-2.0
"""Intel's Loihi: its rules, its cores, lava-dl's files in both directions, and lava's simulator."""
