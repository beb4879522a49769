# SPDX-License-Identifier: Apache-2.0
"""Published measurements of chips beside predictions by this program's own functions, for ``energy silicon``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikefold.energy.chip.pace import Proposal, proposal, steps
from spikefold.energy.chip.power import chip_power
from spikefold.energy.counts.count import count
from spikefold.energy.prices.load import TechnologyProfile, load_profile
from spikefold.energy.silicon import loihi1, speck
from spikefold.energy.silicon.point import publications
from spikefold.energy.silicon.verdict import Prediction, Row, held_against
from spikefold.errors import ConfigError, EnvironmentLacksError
from spikefold.export.ops import Shape
from spikefold.hardware.loihi.cores import tile_size
from spikefold.hardware.loihi.lava.provision import carried_network, kept_network
from spikefold.hardware.loihi.pilotnet import OLDER_PROFILES, PROFILE, PilotNet, pilotnet

STEPS_MEASURED = 10_000
PILOTNET_FILE = "pilotnet_lif.net"
STEP_US = 152.85
"""Measured mean step of PilotNet: only the power at rest of its budget depends on it, and no prediction does."""
_YOLO_MAPS: tuple[tuple[str, Shape, int, str], ...] = (
    ("224x224x16", (16, 224, 224), 3 * 9, "3x3 of 3 channels"),
    ("112x112x32", (32, 112, 112), 16 * 9, "3x3 of 16 channels"),
    ("56x56x64", (64, 56, 56), 32 * 9, "3x3 of 32 channels"),
    ("28x28x128", (128, 28, 28), 64 * 9, "3x3 of 64 channels"),
    ("28x28x256", (256, 28, 28), 128 * 9, "3x3 of 128 channels"),
    ("14x14x256", (256, 14, 14), 256 * 9, "3x3 of 256 channels"),
    ("14x14x512", (512, 14, 14), 256 * 9, "3x3 of 256 channels"),
    ("14x14x512-again", (512, 14, 14), 256 * 9, "3x3 of 256 channels"),
    ("14x14x256-wide", (256, 14, 14), 512, "1x1 of 512 channels"),
    ("14x14x48", (48, 14, 14), 256, "1x1 of 256 channels"),
)
"""Maps of YOLO-KP ``(C, H, W)`` as its log implies them, and weights of one output channel, assumed here."""


@dataclass(frozen=True)
class Silicon:
    """All rows, and how PilotNet's pace could be bettered; None where its file could not be had."""

    rows: tuple[Row, ...]
    balance: Proposal | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        verdicts = [row.verdict for row in self.rows]
        return {
            "points": [row.to_json() for row in self.rows],
            "verdicts": {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))},
            "balanced_pilotnet": None if self.balance is None else self.balance.describe(),
        }


def silicon(network: Path | None = None) -> Silicon:
    """Every published point beside its prediction.

    Args:
        network: PilotNet's file; that of lava-dl's wheel by default, which is downloaded once where it is not there.
    """
    try:
        return _silicon(carried_network(PILOTNET_FILE) if network is None else network)
    except EnvironmentLacksError as error:
        return _silicon(None, f"its file could not be had: {error.what}")


def at_hand() -> tuple[Row, ...]:
    """Every published point beside its prediction, PilotNet's where its file lies here: nothing is fetched."""
    why = "its file is in lava-dl's wheel, which is not installed here; `spikefold energy silicon` fetches it"
    return _silicon(kept_network(PILOTNET_FILE), why).rows


def _silicon(network: Path | None, why: str = "") -> Silicon:
    found, missing, balance = _without_a_run(), {}, None
    if network is None:
        missing["pilotnet-lif"] = why
    else:
        run = pilotnet(network)
        found |= dict(pilotnet_predictions(run))
        balance = proposal(run.work, _times(load_profile(PROFILE)))
    return Silicon(held_against(publications(), found, missing), balance)


def _without_a_run() -> dict[str, Prediction]:
    return dict([*speck.predictions(), *loihi1.predictions(), *_yolo_kp(), *_neurobench()])


def pilotnet_predictions(run: PilotNet) -> Iterator[tuple[str, Prediction]]:
    """Cores, operations, updates, times and energy of PilotNet."""
    yield from _pilotnet_cores(run)
    yield from _pilotnet_work(run)
    yield from _pilotnet_times(run)
    yield from _pilotnet_energy(run)


def _pilotnet_cores(run: PilotNet) -> Iterator[tuple[str, Prediction]]:
    for name, work in run.work.items():
        yield f"pilotnet-lif/cores-{name.replace('input0', 'input')}", _exactly(work.cores, "estimate of cores")
    yield "pilotnet-lif/cores", _exactly(sum(one.cores for one in run.work.values()), "estimate of cores")


def _pilotnet_work(run: PilotNet) -> Iterator[tuple[str, Prediction]]:
    rule = "operations of weights not 0, taps beyond the border of a cut map included"
    for layer in ("conv2", "conv3", "conv4", "conv5"):
        by_core = run.work[layer].operations.mean(axis=(0, 1)) * STEPS_MEASURED
        yield f"pilotnet-lif/operations-{layer}-full", _exactly(float(by_core[0]), rule)
        if layer != "conv3":  # its map is cut into three equal blocks
            yield f"pilotnet-lif/operations-{layer}-last", _exactly(float(by_core[-1]), rule)
    for layer, key in (("input0", "input"), ("conv1", "conv1"), ("conv2", "conv2")):
        updates = float(run.work[layer].updates.mean(axis=(0, 1))[0]) * STEPS_MEASURED
        yield f"pilotnet-lif/updates-{key}", _exactly(updates, "two a neuron and step, and one a spike")


def _pilotnet_times(run: PilotNet) -> Iterator[tuple[str, Prediction]]:
    times = _times(load_profile(PROFILE))
    busiest = run.work["conv3"].operations[:, 0].max(axis=1)[-4:]
    # the plot begins with the busiest of the four steps that repeat
    first = int(busiest.argmax())
    us = [float(busiest[(first + step) % 4]) * times.synop.amount / 1e3 for step in range(4)]
    how = f"operations of conv3's busiest core at {times.synop.amount:g} ns, one constant for all four steps"
    for number, one in enumerate(us, start=1):
        yield f"pilotnet-lif/step-{number}", _exactly(one, how)
    yield "pilotnet-lif/step-mean", _exactly(sum(us) / len(us), how)
    found = steps(run.work, times)
    ends = [sum(step.time_us[end] for step in found) / len(found) for end in (0, 2)]
    yield (
        "pilotnet-lif/step-interval",
        Prediction(ends[0], ends[1], f"busiest core of all layers at both ends of profile {PROFILE}"),
    )


def _pilotnet_energy(run: PilotNet) -> Iterator[tuple[str, Prediction]]:
    counts = count(run.network, run.frames, run.trace)
    power = chip_power(counts, load_profile(PROFILE), dt_us=STEP_US, graded=True)
    band = power.bands_uj["dynamic"]
    if band is None:
        raise ConfigError(f"the profile {PROFILE} lost its bound", where=f"{PROFILE}.toml")
    how = "operations of weights not 0 at 0 to 30.12 pJ (that bound came from this very point)"
    yield "pilotnet-lif/dynamic-energy", Prediction(band[0] / counts.steps, band[1] / counts.steps, how)
    for name in OLDER_PROFILES:
        profile = load_profile(name).model_copy(update={"operation": "weighted"})
        value = (chip_power(counts, profile, dt_us=STEP_US, graded=True).dynamic_uj or 0.0) / counts.steps
        how = f"operations of weights not 0, neuron updates and spikes at the prices of {name}"
        yield f"pilotnet-lif/dynamic-energy-{name}", _exactly(value, how)


def _yolo_kp() -> Iterator[tuple[str, Prediction]]:
    total = 0
    for key, shape, kernel, said in _YOLO_MAPS:
        cores = tile_size(shape, kernel).cores(shape)
        total += cores
        yield f"yolo-kp/cores-{key}", _exactly(cores, f"estimate of cores, a kernel of {said} assumed")
    yield "yolo-kp/cores", _exactly(total, "estimate of cores")


def _neurobench() -> Iterator[tuple[str, Prediction]]:
    yield (
        "neurobench-xylo/dynamic-energy",
        _exactly(0.341 * 0.084, "dynamic power times execution time, as the form asks"),
    )


def _exactly(value: float, how: str) -> Prediction:
    return Prediction(float(value), float(value), how)


def _times(profile: TechnologyProfile) -> Any:
    if profile.time_ns is None:
        raise ConfigError(f"{profile.name} has no times", where="energy_profile")
    return profile.time_ns
