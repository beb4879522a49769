# SPDX-License-Identifier: Apache-2.0
"""Turns a trained network into one that a chip can run: static gates, the chip's neurons, fine-tuning, pruning."""
