# SPDX-License-Identifier: Apache-2.0
"""A network trained elsewhere, by whichever door it came: a ``.nir`` file, a ``.net`` file, a function of the user's.

`opened` reads what the command line names, ``FILE.nir``, ``net:FILE`` or ``torch:package.module:function``, and cuts
recordings for its input. A function runs only because the user names it after ``torch:``; no file is ever run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.config import DataConfig
from spikefold.errors import ConfigError, DataError
from spikefold.export.network import Network
from spikefold.export.nir.from_nir import understood
from spikefold.export.nir.options import AT_THRESHOLD, NirOptions, nir_options
from spikefold.hardware.registry import reader_of
from spikefold.session import Reporter
from spikefold.stages.chip_files import SAMPLE_CLIPS
from spikefold.stages.exchange.from_function import network_of_function
from spikefold.stages.exchange.source import NET, NIR, TORCH, Asked, kind_of
from spikefold.train.data.clips import ClipSet
from spikefold.train.data.datasets import Dataset, load_dataset
from spikefold.train.data.fitted import fitted_clips
from spikefold.train.data.frames import Binning

_FOR_ALL = {"steps", "dt_us", "classes", "input_shape"}
_FOR = {NET: {"ignore_input_bias"}, NIR: {"convention", "nir"}, TORCH: set[str]()}
"""What may be asked for, by door."""


@dataclass(frozen=True, eq=False)
class Foreign:
    """A network and where it is from.

    Attributes:
        name: for people and for ``export.json``: of the file, or of the function.
        network: real; or in the integers of ``chip``.
        chip: the only chip that can take it, where it is in that chip's integers.
        about: what was read and how, as plain values: ``source``, and for a graph the convention that was used.
    """

    name: str
    network: Network
    chip: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Recorded:
    """Clips for a network.

    Attributes:
        test: those to test it on.
        calibration: training frames ``(T, N, C, H, W)`` for the search of scales.
        dataset: the recordings that they are of.
        binning: how these were cut into frames.
        source: where the recordings are from, as it was named.
    """

    test: ClipSet
    calibration: np.ndarray
    dataset: Dataset
    binning: Binning
    source: str


def opened(source: str, asked: Asked, reporter: Reporter, data: str | None = None) -> tuple[Foreign, Recorded | None]:
    """The network that a source names, and clips of recordings for it.

    Args:
        source: ``FILE.nir``, ``FILE.net``, ``nir:FILE``, ``net:FILE`` or ``torch:package.module:function``.
        asked: what the source does not say.
        reporter: told what was understood.
        data: ``npz:DIR`` or another of `spikefold.train.data.datasets`; None for no clips.

    Raises:
        ConfigError: something that the source needs was not said, or was said that it does not take.
        DataError: an unreadable file; recordings that give no frames of its input.
        UnsupportedError: everything in it that cannot be imported.
    """
    kind = kind_of(source)
    if kind is None:
        hint = "FILE.nir, net:FILE or torch:package.module:function"
        raise ConfigError(f"{source!r} is neither a file of a network nor a function", where="source", hint=hint)
    rest = source.partition(":")[2] if source.startswith(f"{kind}:") else source
    _refuse_strange(kind, asked)
    found = {NET: _net, NIR: _nir, TORCH: _torch}[kind](rest, asked)
    for line in found.about.get("said", ()):
        reporter.line(f"{found.name}: {line}")
    return (found, None) if data is None else recorded(found, data, asked.dt_us, reporter)


def recorded(found: Foreign, data: str, dt_us: int | None, reporter: Reporter) -> tuple[Foreign, Recorded]:
    """The network with the length of a step and the highest count that recordings have, and its clips.

    Raises:
        ConfigError: an unknown data source.
        DataError: recordings that do not give frames of the network's input shape.
    """
    spec = found.network.input
    config = DataConfig(source=data, steps=spec.steps, dt_us=dt_us, max_count=spec.max_count)
    dataset = load_dataset(config, 0, reporter.progress)
    binning, training, test = fitted_clips(dataset, spec.shape, config, SAMPLE_CLIPS)
    most = binning.max_count
    if found.chip is not None:  # its integers bound the counts by themselves: only what the clips hold is asked of it
        most = max(int(test.frames.max(initial=0)), 1)
    chosen = replace(spec, dt_us=binning.dt_us, max_count=spec.max_count or most)
    return replace(found, network=replace(found.network, input=chosen)), Recorded(
        test, training.frames, dataset, binning, data
    )


def of_file(path: Path) -> dict[str, str]:
    """Name and digest of a file, for ``export.json``.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    except OSError as error:
        raise DataError(f"cannot read {path.name}: {error}", where=str(path)) from error


def _refuse_strange(kind: str, asked: Asked) -> None:
    said = {name for name, value in asdict(asked).items() if value}
    if wrong := sorted(said - _FOR_ALL - _FOR[kind]):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise ConfigError(f"{names} says nothing of this source", where=f"{kind}: source", hint="leave it out")


def _net(rest: str, asked: Asked) -> Foreign:
    path, (chip, reader) = Path(rest), reader_of(NET)
    network = reader.read(
        path,
        steps=asked.steps,
        dt_us=asked.dt_us or 10_000,
        classes=asked.classes,
        input_shape=asked.input_shape,
        ignore_input_bias=asked.ignore_input_bias,
    )
    return Foreign(path.name, network, chip.name, {"source": of_file(path)})


def _nir(rest: str, asked: Asked) -> Foreign:
    given = {key: getattr(asked, key) for key in ("convention", "steps", "dt_us", "classes", "input_shape")}
    return of_nir(Path(rest), nir_options(asked.nir, **given))


def of_nir(path: Path, options: NirOptions) -> Foreign:
    """The network of a ``.nir`` file, and how it was understood.

    Raises:
        ConfigError, DataError, UnsupportedError: as `spikefold.export.nir.from_nir.understood`.
    """
    network, writer, options = understood(path, options)
    semantics = options.semantics()
    named = {AT_THRESHOLD: "minus the threshold", "None": "none"}
    bound = named.get(str(semantics.v_min), str(semantics.v_min))
    told = (
        f"convention {writer.convention} (told by {writer.told_by}): dt = {semantics.dt:g}, leak {semantics.leak}, "
        f"reset {semantics.reset}, fires {semantics.fire}, spikes a step {semantics.max_spikes or 'many'}, "
        f"lower bound {bound}"
    )
    about = {
        "source": of_file(path),
        "convention": {"name": writer.convention, "told_by": writer.told_by},
        "options": options.model_dump(mode="json"),
        "semantics": asdict(semantics),
        "said": [told],
    }
    return Foreign(path.name, network, None, about)


def _torch(rest: str, asked: Asked) -> Foreign:
    network = network_of_function(rest, asked.input_shape, asked.steps, asked.dt_us, asked.classes)
    return Foreign(rest, network, None, {"source": {"function": rest}})
