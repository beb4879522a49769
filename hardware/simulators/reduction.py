# SPDX-License-Identifier: Apache-2.0
"""Makes a case in which two runners differ as small as it can be: fewest steps, layers and events that still differ.

A mismatch among a hundred thousand spikes is hard to look at, and to report to a vendor. Each reduction is tried by
running it: what no longer differs, or no longer runs, is not taken. So the result differs, whatever was the cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from spikefold.errors import MismatchError, SpikefoldError
from spikefold.export.network import INPUT, Layer, Network
from spikefold.hardware.simulators import reference
from spikefold.hardware.simulators.compare import Comparison, compare
from spikefold.hardware.simulators.parity import Runner

MOST_RUNS = 300
"""Tries of the second runner, after which what is found so far is taken."""
RunnerOf = Callable[[Network, Network], Runner]
"""Binds a runner to a real network and its integers."""


@dataclass(frozen=True, eq=False)
class Case:
    """Two networks, real and in integers, and frames ``(T, N, C, H, W)`` on which a runner leaves the reference."""

    real: Network
    integer: Network
    frames: np.ndarray

    @property
    def sizes(self) -> dict[str, int]:
        """Layers, steps and events."""
        return {
            "layers": len(self.integer.layers), "steps": len(self.frames), "events": int(self.frames.sum()),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Reduced:
    """What is left of a case.

    Attributes:
        case: the smallest that still differs.
        before: sizes of the case that was given.
        found: the comparison of the reduced case, with both states at the first mismatch.
        runs: how often the second runner was asked.
    """

    case: Case
    before: dict[str, int]
    found: Comparison
    runs: int

    def describe(self) -> str:
        """One line for people."""
        parts = (f"{name} {self.before[name]:,} -> {size:,}" for name, size in self.case.sizes.items())
        return f"{', '.join(parts)}; {self.found.mismatches} mismatches left, {self.runs} runs"


def reduced(case: Case, runner_of: RunnerOf, most: int = MOST_RUNS) -> Reduced:
    """Take away clips, steps, layers and events as long as the runner still differs from the reference.

    Args:
        case: in which they differ; of its clips the first that differs is taken.
        runner_of: the runner that parts from the reference.
        most: how often it may be asked.

    Raises:
        MismatchError: they do not differ on one clip alone, so nothing can be reduced.
    """
    search = _Search(runner_of, most)
    whole = search.compared(case)
    first = None if whole is None else whole.first
    if first is None:
        raise MismatchError("the runners do not differ here", hint="there is nothing to reduce")
    before = replace(case, frames=case.frames[:, :1]).sizes | {"events": int(case.frames[:, first.clip].sum())}
    alone = replace(case, frames=case.frames[:, first.clip : first.clip + 1])
    if not search.differs(alone):
        raise MismatchError(
            f"clip {first.clip} alone does not differ: the runner lets clips of a batch change each other",
            where=first.layer,
            hint="run it clip by clip, and report the batch as it is",
        )
    found = search.first_that_differs(_shorter(alone, first.step), alone)
    found = search.first_that_differs(_cut_behind(found, first.layer), found)
    found = search.first_that_differs(_begun_later(found, first.layer), found)
    found = search.fewer_events(found)
    found = search.first_that_differs(iter([replace(found, frames=np.minimum(found.frames, 1))]), found)
    comparison = search.explained(found)
    return Reduced(found, before, comparison, search.runs)


class _Search:
    """Asks the runner, at most so often."""

    def __init__(self, runner_of: RunnerOf, most: int) -> None:
        self._runner_of, self._most = runner_of, most
        self.runs = 0

    def compared(self, case: Case) -> Comparison | None:
        """The comparison; None where the case does not run, or the runs are used up."""
        if self.runs >= self._most:
            return None
        self.runs += 1
        try:
            expected = reference.run(case.integer, case.frames)
            found = self._runner_of(case.real, case.integer)(case.frames)
            return compare(expected, found, allow_silent=True)
        except SpikefoldError:  # a part of a network that the runner refuses is no smaller case
            return None

    def differs(self, case: Case) -> bool:
        found = self.compared(case)
        return found is not None and found.mismatches > 0

    def first_that_differs(self, cases: Iterator[Case], otherwise: Case) -> Case:
        return next((case for case in cases if self.differs(case)), otherwise)

    def fewer_events(self, case: Case) -> Case:
        """Delta debugging over the places that hold events: leave out halves, then quarters, down to single ones."""
        places = np.argwhere(case.frames)
        parts = 2
        while len(places) > 1 and self.runs < self._most:
            left = self._without_a_part(case, places, parts)
            if left is not None:
                places, parts = left, max(parts - 1, 2)
            elif parts >= len(places):
                break
            else:
                parts = min(2 * parts, len(places))
        return _with_events(case, places)

    def _without_a_part(self, case: Case, places: np.ndarray, parts: int) -> np.ndarray | None:
        chunks = np.array_split(np.arange(len(places)), parts)
        for chunk in chunks:
            kept = np.delete(places, chunk, axis=0)
            if len(kept) and self.differs(_with_events(case, kept)):
                return kept
        return None

    def explained(self, case: Case) -> Comparison:
        """The comparison with the states of both sides, where both can give them."""
        runner = self._runner_of(case.real, case.integer)
        reruns = (
            lambda clip: reference.run(case.integer, case.frames, potentials=True),
            lambda clip: runner(case.frames, potentials=True),
        )
        return compare(reference.run(case.integer, case.frames), runner(case.frames), reruns, allow_silent=True)


def _with_events(case: Case, places: np.ndarray) -> Case:
    frames = np.zeros_like(case.frames)
    frames[tuple(places.T)] = case.frames[tuple(places.T)]
    return replace(case, frames=frames)


def _shorter(case: Case, step: int) -> Iterator[Case]:
    """The steps up to the first that differs."""
    if step + 1 < len(case.frames):
        yield _of(case, lambda network: network, case.frames[: step + 1])


def _cut_behind(case: Case, layer: str) -> Iterator[Case]:
    """Without the layers that the differing one does not need."""
    if all(any(one.name == layer for one in network) for network in (case.real, case.integer)):
        yield _of(case, lambda network: _up_to(network, layer), case.frames)


def _begun_later(case: Case, layer: str) -> Iterator[Case]:
    """The differing layer alone, its input the spikes that reach it; latest beginnings first."""
    trace = reference.run(case.integer, case.frames)
    for spiking in reversed(case.integer.neurons):
        source = spiking.name
        if source == layer:
            continue
        parts = [_behind(network, source) for network in (case.real, case.integer)]
        raster = trace.layers[source].raster
        if parts[0] is None or parts[1] is None or not raster.any() or raster.max() > np.iinfo(np.uint16).max:
            continue
        frames = raster.astype(np.uint16)
        spec = replace(case.integer.input, shape=case.integer.shapes[source], max_count=int(frames.max()))
        real, integer = (
            replace(network, input=spec, layers=layers, history=())
            for network, layers in zip((case.real, case.integer), parts, strict=True)
            if layers is not None
        )
        yield Case(real, integer, frames)


def _of(case: Case, change: Callable[[Network], Network], frames: np.ndarray) -> Case:
    def made(network: Network) -> Network:
        changed = change(network)
        return replace(changed, input=replace(changed.input, steps=len(frames)))

    return Case(made(case.real), made(case.integer), frames)


def _up_to(network: Network, last: str) -> Network:
    needed, kept = {last}, []
    for layer in reversed(network.layers):
        if layer.name in needed:
            kept.append(layer)
            needed.update(layer.inputs)
    return replace(network, layers=tuple(reversed(kept)), classes=1)


def _behind(network: Network, source: str) -> tuple[Layer, ...] | None:
    """The layers that read ``source`` and nothing before it; None where the last one needs more."""
    names, kept = {source}, []
    for layer in network.layers:
        if layer.inputs and names.issuperset(layer.inputs):
            names.add(layer.name)
            kept.append(replace(layer, inputs=tuple(INPUT if name == source else name for name in layer.inputs)))
    last = network.layers[-1].name
    return tuple(kept) if kept and kept[-1].name == last else None
