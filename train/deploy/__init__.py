# SPDX-License-Identifier: Apache-2.0
"""From a trained network to one that a chip can hold: static gates, the chip's neurons, fine-tuning, pruning."""
