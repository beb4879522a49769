# SPDX-License-Identifier: Apache-2.0
"""From a trained attention spiking network to a neuromorphic chip, spike for spike."""

import logging

__version__ = "0.1.0"

# torch warns on import that it found no Triton, which a CPU does not need; nobody using a CPU can act on it
logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
