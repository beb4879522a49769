# SPDX-License-Identifier: Apache-2.0
"""Firing rates, spike features and membrane potentials, as the paper defines them."""
