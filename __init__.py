# SPDX-License-Identifier: Apache-2.0
"""From a trained attention spiking network to a neuromorphic chip, spike for spike."""

__version__ = "0.1.0"
