# SPDX-License-Identifier: Apache-2.0
"""Operations of a network trained elsewhere and their energy, on recordings: as it is folded, and on each chip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spikefold.energy.budget import TechnologyProfile, budget, load_profile
from spikefold.energy.chip.budget import chip_budget
from spikefold.energy.chip.sources import Numbers, numbers_of
from spikefold.energy.counts.count import count
from spikefold.energy.counts.input_rates import input_rates
from spikefold.energy.prices.constants import constants_used
from spikefold.energy.statistics.clips import network_clips
from spikefold.export.network import Network
from spikefold.hardware.chip import Chip
from spikefold.hardware.registry import chip_named
from spikefold.hardware.registry import chips as registered
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.accuracy import predictions
from spikefold.session import Reporter
from spikefold.stages.exchange.fitted import bounded, fitted
from spikefold.stages.exchange.foreign import Foreign
from spikefold.train.data.clips import ClipSet

FOLDED = "folded"
"""The network before any chip, in float64."""


def energy_of(
    found: Foreign,
    chips: Sequence[str],
    clips: ClipSet,
    calibration: np.ndarray,
    profile_name: str,
    rule: str,
    reporter: Reporter,
) -> tuple[dict[str, Any], dict[str, float]]:
    """The content of an ``energy.json``, and the accuracy of each network in it.

    A chip that does not take the network is said to the reporter and left out.

    Args:
        found: the network.
        chips: names of the targets.
        clips: test frames ``(T, N, C, H, W)`` and a label each.
        calibration: training frames for the search of the scales.
        profile_name: technology profile by name, or ``FILE.toml``.
        rule: what is booked as an operation, a name of `spikefold.energy.counts.rules.RULES`.
        reporter: told a line for each network.

    Raises:
        ConfigError: an unknown chip, profile or rule.
        DataError: clips that do not fit the network.
        UnsupportedError: no chip was named that takes the network, though it is in one chip's integers.
    """
    networks: dict[str, Network] = {}
    if found.chip is not None:
        networks[found.chip] = bounded(found.network, clips)
    else:
        made = fitted(found.network, chips, clips, calibration)
        networks[FOLDED] = made.folded
        networks |= {one.chip.name: one.integer for one in made.chips}
        for name, issues in made.refused.items():
            reporter.line(f"{name} does not take it: {'; '.join(f'{one.where}: {one.rule}' for one in issues)}")
    content, right = priced(networks, clips, load_profile(profile_name), rule, reporter)
    return content, {name: float(one.mean()) for name, one in right.items()}


def priced(
    networks: Mapping[str, Network], clips: ClipSet, profile: TechnologyProfile, rule: str, reporter: Reporter
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The content of an ``energy.json``, and by network whether each clip was told right, ``(N,)`` bool.

    Args:
        networks: by name; one under the name of a chip has that chip's budget too.
        clips: test frames ``(T, N, C, H, W)`` and a label each.
        profile: prices.
        rule: what is booked as an operation.
        reporter: told a line for each network.
    """
    sources = numbers_of([name for name in networks if name in registered()], {})
    results: dict[str, Any] = {}
    right: dict[str, np.ndarray] = {}
    for name, network in networks.items():
        results[name], right[name] = priced_one(network, clips, profile, rule, _chip(name, sources), sources)
        told = results[name]
        synops = sum(layer["events"] for layer in told["counts"]["layers"]) / told["counts"]["clips"]
        line = f"{told['budget']['energy_pj_per_clip'] / 1e6:.3f} uJ per clip ({profile.name}), "
        line += f"{synops:,.0f} synaptic operations, NASFR {told['counts']['nasfr']:.4f}, "
        line += f"accuracy {right[name].mean():.3f}"
        reporter.line(f"{name}: {line}")
    whole = {"profile": profile.model_dump(mode="json"), "networks": results}
    used = [
        profile,
        *(one for numbers in sources.values() for one in (numbers.own, numbers.other) if one is not None),
    ]
    return whole | {"constants": constants_used(whole, used)}, right


def _chip(name: str, sources: Mapping[str, Numbers]) -> Chip | None:
    return chip_named(name) if name in sources else None


def priced_one(
    network: Network,
    clips: ClipSet,
    profile: TechnologyProfile,
    rule: str,
    chip: Chip | None,
    sources: Mapping[str, Numbers],
) -> tuple[dict[str, Any], np.ndarray]:
    """One network's part of an ``energy.json``, and whether each clip was told right, ``(N,)`` bool.

    Args:
        network: real or integer.
        clips: frames ``(T, N, C, H, W)`` and a label each.
        profile: prices of its operations.
        rule: what is booked as an operation.
        chip: the chip that it is in the integers of, for the chip's own budget; None for none.
        sources: by chip the profiles of its power.
    """
    trace = clocked.run(network, clips.frames)
    counts, rates = count(network, clips.frames, trace), input_rates(network, clips.frames, trace)
    right = predictions(trace.output_counts(network.classes)) == clips.labels
    spread = network_clips(counts, right, None)
    entry = {
        "counts": counts.to_json(),
        "budget": budget(counts, profile, rule=rule, rates=rates).to_json(),
        "uncertainty": {key: value.to_json() for key, value in spread.distributions(0).items()},
    }
    if chip is not None and chip.resources is not None:
        split = chip.laid_out is not None and chip.laid_out(network) is not network
        placement = {} if split else chip.resources(network).placement
        taken = chip_budget(chip, network, counts, sources[chip.name], placement=placement)
        entry["chip"] = taken.to_json()
    return entry, right
