# SPDX-License-Identifier: Apache-2.0
"""From a trained attention spiking network to a neuromorphic chip, spike for spike.

Four lines take a network to a chip::

    import spikefold as sf
    chip = sf.deploy(sf.load("runs/latest"), "speck2f")
    print(chip.summary())
    chip.report("out.html")

The names of `__all__` are looked up on first use: ``import spikefold`` loads neither NumPy nor PyTorch.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING

from spikefold.errors import ConfigError as ConfigError
from spikefold.errors import DataError as DataError
from spikefold.errors import EnvironmentLacksError as EnvironmentLacksError
from spikefold.errors import MismatchError as MismatchError
from spikefold.errors import SpikefoldError as SpikefoldError
from spikefold.errors import UnsupportedError as UnsupportedError

if TYPE_CHECKING:
    from spikefold.api.deployed import Deployed as Deployed
    from spikefold.api.deploying import deploy as deploy
    from spikefold.api.loading import Net as Net
    from spikefold.api.loading import load as load
    from spikefold.energy.live.priced import PricedProfile as PricedProfile
    from spikefold.energy.live.priced import priced_profile as profile

__version__ = "0.1.0"
__all__ = [
    "ConfigError",
    "DataError",
    "Deployed",
    "EnvironmentLacksError",
    "MismatchError",
    "Net",
    "PricedProfile",
    "SpikefoldError",
    "UnsupportedError",
    "__version__",
    "deploy",
    "load",
    "profile",
]
_WHERE = {
    "Deployed": "spikefold.api.deployed:Deployed",
    "Net": "spikefold.api.loading:Net",
    "PricedProfile": "spikefold.energy.live.priced:PricedProfile",
    "deploy": "spikefold.api.deploying:deploy",
    "load": "spikefold.api.loading:load",
    "profile": "spikefold.energy.live.priced:priced_profile",
}
"""Where the names lie that are loaded on first use."""

# torch warns on import that it found no Triton, which a CPU does not need; nobody using a CPU can act on it
logging.getLogger("torch._library.triton").setLevel(logging.ERROR)


if not TYPE_CHECKING:  # else a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, _, attribute = _WHERE[name].partition(":")
        return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
