# SPDX-License-Identifier: Apache-2.0
"""Engines that run any chip's network step by step, and the comparison of their spikes."""
