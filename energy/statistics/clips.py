# SPDX-License-Identifier: Apache-2.0
"""What each clip cost, in one file of a run: pictures and `spikefold diff` then need neither data nor simulation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikefold.energy.counts.types import Counts
from spikefold.energy.statistics.uncertainty import Distribution, distribution
from spikefold.errors import DataError
from spikefold.npz import ArchiveWriter, read_arrays, writing_archive

FILE = "clips.npz"


@dataclass(frozen=True, eq=False)
class NetworkClips:
    """One network over the clips of a run.

    Attributes:
        layers: names of L rows with synapses or neurons.
        events: synaptic events by layer, step and clip, ``(L, T, N)`` int64.
        spikes: likewise.
        right: whether a clip was told right, ``(N,)`` bool.
        energy_pj: estimate for each clip, ``(N,)`` float64; None where a constant is unknown.
    """

    layers: tuple[str, ...]
    events: np.ndarray
    spikes: np.ndarray
    right: np.ndarray
    energy_pj: np.ndarray | None = None

    def __post_init__(self) -> None:
        expected = (len(self.layers), *self.events.shape[1:])
        clips = expected[-1:]
        energy = clips if self.energy_pj is None else self.energy_pj.shape
        if len(expected) != 3 or {self.events.shape, self.spikes.shape} != {expected}:
            found = f"events {self.events.shape} and spikes {self.spikes.shape}"
            raise DataError(f"{found} are not (layers, steps, clips)")
        if self.right.shape != clips or energy != clips or self.right.dtype != bool:
            raise DataError(f"right clips {self.right.shape} or energies {energy} are not one for each of {clips[0]}")

    @property
    def quantities(self) -> dict[str, np.ndarray]:
        """What is compared and described, ``(N,)`` each: synaptic events, spikes and, where known, energy."""
        found = {"synops": self.events.sum(axis=(0, 1)), "spikes": self.spikes.sum(axis=(0, 1))}
        return found if self.energy_pj is None else found | {"energy_pj": self.energy_pj}

    def distributions(self, seed: int = 0) -> dict[str, Distribution]:
        """Each quantity over the clips."""
        return {name: distribution(values, seed) for name, values in self.quantities.items()}


def network_clips(counts: Counts, right: np.ndarray, price: Callable[[Counts], float] | None = None) -> NetworkClips:
    """One network's clips from its counts.

    Args:
        counts: of `count`, with series.
        right: whether a clip was told right, ``(N,)`` bool.
        price: energy of a run in pJ a clip; it is given single clips. None where a constant is unknown.
    """
    energy = None if price is None else np.array([price(counts.of_clip(n)) for n in range(counts.clips)], float)
    return NetworkClips(
        tuple(layer.name for layer in counts.layers),
        np.stack([layer.by_step("events") for layer in counts.layers]),
        np.stack([layer.by_step("spikes") for layer in counts.layers]),
        np.asarray(right, bool),
        energy,
    )


@dataclass(frozen=True, eq=False)
class RunClips:
    """All networks of a run over the same clips, and which clips they were (`identity`)."""

    frames: str
    labels: str
    networks: Mapping[str, NetworkClips]

    def __post_init__(self) -> None:
        if len({network.right.shape for network in self.networks.values()}) != 1:
            raise DataError("the networks of a run did not see the same clips")

    @property
    def clips(self) -> int:
        """N."""
        return len(next(iter(self.networks.values())).right)


class FramesIdentity:
    """SHA-256 of the frames of clips, clip by clip: of their shape and counts, whatever parts they come in."""

    def __init__(self) -> None:
        self._digest, self._clips = hashlib.sha256(), 0

    def add(self, frames: np.ndarray) -> None:
        """The next clips ``(T, N, C, H, W)``."""
        for clip in range(frames.shape[1]):
            one = frames[:, clip]
            self._digest.update(repr(one.shape).encode())
            self._digest.update(np.ascontiguousarray(one, "<i8").tobytes())
        self._clips += frames.shape[1]

    def hexdigest(self) -> str:
        """Of all clips so far."""
        whole = self._digest.copy()
        whole.update(f"{self._clips} clips".encode())
        return whole.hexdigest()


def identity(values: np.ndarray) -> str:
    """SHA-256 of whole numbers: of their shape and values, whatever their width and layout in memory."""
    digest = hashlib.sha256(repr(values.shape).encode())
    for part in values if values.ndim > 1 else [values]:
        digest.update(np.ascontiguousarray(part, "<i8").tobytes())
    return digest.hexdigest()


def save_clips(run: RunClips, path: Path) -> None:
    """Write an archive of plain arrays, by rename."""
    with writing_clips(path, run.frames, run.labels) as writer:
        for name, network in run.networks.items():
            writer.add(name, network)


class ClipsWriter:
    """Takes the networks of a run one after the other; see `writing_clips`."""

    def __init__(self, archive: ArchiveWriter) -> None:
        self._archive = archive
        self.names: list[str] = []

    def add(self, name: str, network: NetworkClips) -> None:
        """One more network."""
        arrays = {
            "layers": np.array(network.layers),
            "events": network.events,
            "spikes": network.spikes,
            "right": network.right,
        }
        if network.energy_pj is not None:
            arrays["energy_pj"] = network.energy_pj
        for key, array in arrays.items():
            self._archive.add(f"{name}/{key}", array)
        self.names.append(name)


@contextmanager
def writing_clips(path: Path, frames: str, labels: str) -> Iterator[ClipsWriter]:
    """What `save_clips` writes, network by network: only one of them is in memory."""
    with writing_archive(path) as archive:
        writer = ClipsWriter(archive)
        yield writer
        for name, text in {"frames": frames, "labels": labels, "networks": writer.names}.items():
            archive.add(name, np.array(text))


def load_clips(path: Path) -> RunClips:
    """Read what `save_clips` wrote.

    Raises:
        DataError: the file is missing or damaged.
    """
    archive = read_arrays(path, "the clips of the run")
    try:
        networks = {
            str(name): NetworkClips(
                tuple(str(layer) for layer in archive[f"{name}/layers"]),
                archive[f"{name}/events"],
                archive[f"{name}/spikes"],
                archive[f"{name}/right"],
                archive.get(f"{name}/energy_pj"),
            )
            for name in archive["networks"]
        }
        return RunClips(str(archive["frames"]), str(archive["labels"]), networks)
    except (KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"cannot read the clips of the run: {error}", where=str(path), hint="run `spikefold energy` on it again"
        ) from error
