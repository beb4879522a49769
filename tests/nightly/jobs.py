# SPDX-License-Identifier: Apache-2.0
"""What a night does: each job is done from a seed, over and over, and says how much it compared.

A job raises where anything differs; the seed and the job say how to see it again.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from spikefold.export.passes.quantise import quantise as to_integers
from spikefold.hardware.by_name import quantise
from spikefold.hardware.registry import chips
from spikefold.hardware.simulators import clocked, reference
from spikefold.hardware.simulators.parity import check as check_parity
from spikefold.hardware.speck.events.simulate import simulate
from tests.hardware.simulators.test_clocked import WAYS, forced
from tests.hardware.simulators.test_clocked import _assert_equal as assert_traces_equal
from tests.hardware.simulators.test_clocked import networks as clocked_networks
from tests.hardware.speck.events.event_cases import cases
from tests.hardware.speck.events.plain_events import frame_spots, plain
from tests.nightly.crafted import CRAFTED, crafted, outcome
from tests.nightly.kinds import KINDS
from tests.train.data.test_damage import READINGS, _outcome
from tests.train.data.test_orientation import FILES
from tests.train.deploy import test_integer_net as integer_net

Job = Callable[[int], Counter[str]]
"""Does one round from a seed; what it did, by name, ``"done"`` among it."""
ROUND, _LAVA, _QUIET = 25, 20, 50
"""Random networks of one round; one seed of so many goes to lava too; spikes of a layer that is too quiet."""


@dataclass(frozen=True)
class Planned:
    """A job and how much of it makes a night.

    Attributes:
        run: the job.
        wanted: of what it counts as ``"done"``.
        kind: what is counted.
    """

    run: Job
    wanted: int
    kind: str


def _with(strategy: st.SearchStrategy[Any], number: int, check: Callable[[Any], None]) -> None:
    """Check so many examples of a strategy, all drawn from a seed."""

    @seed(number)
    @settings(
        max_examples=ROUND, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def every(example: Any) -> None:
        check(example)

    every()


def clocked_engines(number: int) -> Counter[str]:
    """Random integer networks: the clocked engine, dense and by events, against the reference."""
    done: Counter[str] = Counter()

    def check(example: Any) -> None:
        network, frames = example
        wanted = reference.run(network, frames, potentials=True)
        for by_events in WAYS.values():
            with forced(by_events):
                done["compared"] += assert_traces_equal(wanted, clocked.run(network, frames, potentials=True))
        done["spikes"] += wanted.spikes
        done["done"] += 1

    _with(clocked_networks(), number, check)
    return done


def event_engine(number: int) -> Counter[str]:
    """Random networks of Speck under all options: the event-driven engine against a plain loop."""
    done: Counter[str] = Counter()

    def check(example: Any) -> None:
        network, frames, options = example
        fast = simulate(network, frames, options, potentials=True).trace
        slow = plain(network, frames.shape[:2], frame_spots(frames, options), options)
        for name, wanted in slow.items():
            layer = fast.layers[name]
            np.testing.assert_array_equal(layer.raster, wanted.raster, name)
            np.testing.assert_array_equal(layer.potentials, wanted.states, name)
            if (layer.v_range, layer.overflow) != ((wanted.low, wanted.high), wanted.overflow):
                raise AssertionError(f"{name}: {layer.v_range}, {layer.overflow}")
            done["compared"] += layer.raster.size
        done["spikes"] += fast.spikes
        done["done"] += 1

    _with(cases(), number, check)
    return done


def pytorch_integers(number: int) -> Counter[str]:
    """Random networks of both chips: the integers that adaptation trains in against the reference."""
    done: Counter[str] = Counter()
    for kind, neuron in integer_net.CASES.values():
        network = integer_net._network(neuron, pool=kind == "speck" and number % 2 == 0, seed=number)
        frames = integer_net._frames(number)
        integer, _ = to_integers(network, integer_net.CHIPS[kind])
        if min(layer.spikes for layer in reference.run(integer, frames).layers.values()) <= _QUIET:
            done["quiet"] += 1  # equality would say little
            continue
        integer_net._assert_equal(network, integer_net.CHIPS[kind], frames)
        done["done"] += 1
    return done


def vendors(number: int) -> Counter[str]:
    """Random networks: every chip's own simulator against the reference; lava's is slow, so it is given few."""
    done: Counter[str] = Counter()
    for name, chip in chips().items():
        kind = "loihi" if chip.numbers.state_shift else "speck"
        if chip.vendor_simulator is None or (kind == "loihi" and number % _LAVA):
            continue
        _, neuron = integer_net.CASES["loihi" if kind == "loihi" else "speck, subtract"]
        real, integer = quantise(integer_net._network(neuron, pool=False, seed=number), name)
        frames = integer_net._frames(number)[:, :2]
        found = check_parity(name, integer, frames, chip.vendor_simulator(real, integer), 2)
        if failures := found.failures():
            raise AssertionError("; ".join(failures))
        done["spikes"] += found.comparisons[-1].spikes
        done["done"] += 1
    return done


def byte_flips(number: int) -> Counter[str]:
    """One damaged byte or a cut of a file of every format: a typed error or a recording, in time."""
    done: Counter[str] = Counter()
    rng = np.random.default_rng(number)
    with tempfile.TemporaryDirectory() as folder:
        for suffix, content in FILES.values():
            whole = content(Path(folder))
            path = Path(folder) / f"damaged{suffix}"
            for one in range(4):
                damaged = bytearray(whole)
                damaged[int(rng.integers(len(whole)))] ^= int(rng.integers(1, 256))
                if one == 0:
                    del damaged[int(rng.integers(len(whole))) :]
                outcome = _outcome(path, bytes(damaged), READINGS[one % 2])
                if outcome not in ("read", "refused"):
                    raise AssertionError(outcome)
                done[outcome] += 1
                done["done"] += 1
    return done


def crafted_files(number: int) -> Counter[str]:
    """One file made to do harm of every format: a typed error or a result, in time and memory."""
    done: Counter[str] = Counter()
    wrong = []
    for name, kind in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            whole = kind.whole(Path(folder))
            content = crafted(whole, number % CRAFTED, is_text=kind.is_text)
            try:
                done[outcome(kind, content, Path(folder))] += 1
            except AssertionError as error:
                wrong.append(f"{name}: {error}")
        done["done"] += 1
    if wrong:
        raise AssertionError("; ".join(wrong))
    return done


JOBS: dict[str, Planned] = {
    "clocked": Planned(clocked_engines, 8_000, "networks"),
    "events": Planned(event_engine, 8_000, "networks"),
    "integers": Planned(pytorch_integers, 4_000, "networks"),
    "vendors": Planned(vendors, 400, "networks"),
    "flips": Planned(byte_flips, 20_000, "damaged files"),
    "crafted": Planned(crafted_files, CRAFTED * len(KINDS), "files made to do harm"),
}
"""By name, in the order in which they take turns."""
