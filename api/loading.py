# SPDX-License-Identifier: Apache-2.0
"""``spikefold.load``: a run folder, a file of a network, a PyTorch module or a `Network`, as one thing to deploy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikefold.api.quiet import Quiet
from spikefold.errors import ConfigError
from spikefold.export.network import InputSpec, Network
from spikefold.session import CONFIG, Session, open_session
from spikefold.stage_table import EXPORT
from spikefold.stages.exchange.foreign import Foreign, opened
from spikefold.stages.exchange.source import Asked
from spikefold.stages.files.networks import network_of_run
from spikefold.stages.verbs.network_table import network_table

if TYPE_CHECKING:
    from torch import nn

STEPS, DT_US = 8, 10_000
"""Steps of a clip and microseconds of a step, where nobody says them for a PyTorch module."""


@dataclass(frozen=True, eq=False)
class Net:
    """A network that can be deployed, and where it is from.

    Attributes:
        foreign: its name, the network, and what was read; the folded network of a run.
        session: the run that it is of; None for a network that was trained elsewhere.
        dt_us: microseconds of a step, where the caller or the run says them.
    """

    foreign: Foreign
    session: Session | None = None
    dt_us: int | None = None

    @property
    def name(self) -> str:
        """For people."""
        return self.foreign.name

    @property
    def network(self) -> Network:
        """Layers, neurons and numbers: real, or in one chip's integers where the file holds those."""
        return self.foreign.network

    def summary(self) -> str:
        """A line a layer: name, kind, output shape ``(C, H, W)``, parameters."""
        table = network_table(self.network, self.name)
        shape = "x".join(map(str, table["input"]))
        lines = [f"{self.name}: input {shape}, {table['steps']} steps of {table['dt_us']:,} us"]
        for layer in table["layers"]:
            size = "x".join(map(str, layer["shape"]))
            lines.append(f"  {layer['name']:<20} {layer['kind']:<10} {size:<12} {layer['parameters']:>10,}")
        return "\n".join([*lines, f"  {'all':<44} {table['parameters']:>10,}"])

    def __repr__(self) -> str:
        return f"<Net {self.name}: {len(self.network.layers)} layers, input {self.network.input.shape}>"


def load(
    source: str | Path | nn.Module | Network,
    *,
    input_shape: tuple[int, int, int] | None = None,
    steps: int | None = None,
    dt_us: int | None = None,
    classes: int | None = None,
    convention: str | None = None,
    nir: tuple[str, ...] = (),
) -> Net:
    """Take a network as it was trained.

    Args:
        source: a run folder (``"runs/latest"``), ``FILE.nir``, ``FILE.net``, ``torch:package.module:function``, a
            PyTorch module with neurons of SpikingJelly, snnTorch, sinabs or norse, or a `Network`.
        input_shape: ``(C, H, W)`` of the input; a PyTorch module needs it.
        steps: time steps of a clip; 8 for a module, else what the source says.
        dt_us: microseconds of a step; by default what the source or the recordings say.
        classes: groups of output neurons; by default what the network says, else one neuron each.
        convention: who wrote a ``.nir`` file, where it does not tell.
        nir: what else a ``.nir`` file leaves open, as ``("reset=zero",)``.

    Raises:
        ConfigError: something that the source needs was not said, or was said that it does not take.
        DataError: a run without its export, an unreadable file.
        UnsupportedError: everything in it that cannot be carried.
    """
    said = Asked(convention, steps, dt_us, classes, input_shape, nir)
    if isinstance(source, Network):
        _refuse_said(said, "a Network says it itself")
        return Net(Foreign("network", source, None, {"source": {"object": "Network"}}), dt_us=source.input.dt_us)
    if isinstance(source, str | Path):
        return _of_text(source, said)
    if callable(getattr(source, "named_modules", None)):
        return _of_module(source, said)
    raise ConfigError(
        f"a network cannot be loaded from {type(source).__name__}",
        where="load(source)",
        hint="a run folder, FILE.nir, FILE.net, torch:package.module:function, a PyTorch module or a Network",
    )


def _of_text(source: str | Path, said: Asked) -> Net:
    folder = Path(source)
    if (folder / CONFIG).is_file():
        _refuse_said(said, "a run says it itself")
        session = open_session(folder.resolve(), Quiet())
        network = network_of_run(session, EXPORT, "folded")
        about = {"source": {"run": session.folder.name}}
        return Net(Foreign(session.folder.name, network, None, about), session, network.input.dt_us)
    if folder.is_dir():
        hint = f"a run is a folder with {CONFIG}; `spikefold run` makes one"
        raise ConfigError("the folder holds no run", where=str(source), hint=hint)
    found, _ = opened(str(source), said, Quiet())
    return Net(found, dt_us=said.dt_us)


def _of_module(module: Any, said: Asked) -> Net:
    from spikefold.export.from_torch import from_torch

    if said.convention or said.nir:
        raise ConfigError("convention and nir are of .nir files", where="load(module)", hint="leave them out")
    shape = said.input_shape
    if shape is None or len(shape) != 3 or min(shape) < 1:
        raise ConfigError(
            f"the input of the module is not known: input_shape is {shape}",
            where="load(module, input_shape=)",
            hint="channels, rows and columns of a frame, as input_shape=(2, 34, 34)",
        )
    spec = InputSpec(shape, said.dt_us or DT_US, said.steps or STEPS)
    name = type(module).__name__
    network = from_torch(module, spec, said.classes)
    return Net(Foreign(name, network, None, {"source": {"module": name}}), dt_us=said.dt_us)


def _refuse_said(said: Asked, why: str) -> None:
    if wrong := [name for name, value in vars(said).items() if value]:
        raise ConfigError(f"{', '.join(wrong)} cannot be said here: {why}", where="load", hint="leave it out")
