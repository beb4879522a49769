# SPDX-License-Identifier: Apache-2.0
"""Measures firing rates, spike features and membrane potentials as the paper defines them."""
