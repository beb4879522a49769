# SPDX-License-Identifier: Apache-2.0
"""A real network in the form of each chip that takes it: folded, rewritten, tuned if that is asked for, rounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spikefold.config import ChipsConfig
from spikefold.errors import ConfigError, DataError, Issue, UnsupportedError
from spikefold.export.network import Network
from spikefold.export.passes.fold import FOLDS
from spikefold.export.passes.uniform_thresholds import uniform_thresholds
from spikefold.hardware.chip import Chip
from spikefold.hardware.registry import chip_named
from spikefold.stages.chip_files import NOT_PROVEN, ChipNetwork, chip_network, pass_entry, proof_of
from spikefold.stages.exchange.tuned import Tuning
from spikefold.train.data.clips import ClipSet

CHECKS = ChipsConfig()
"""How many clips every runner and the vendor's simulator are given, as in a run by default."""
ADAPT = "--adapt with --data gives it the chip's neurons and tunes it, as a run's own network is tuned"
TUNABLE = frozenset(
    ("leak", "reset", "value of the reset", "spikes a step", "lower bound of the state", "no bias",
     "synaptic current", "one threshold a layer", uniform_thresholds.__name__)
)  # fmt: skip
"""The rules that say that a chip lacks a network's neurons."""


@dataclass(frozen=True, eq=False)
class TunedChip:
    """How a network was tuned for a chip.

    Attributes:
        before: the chip's integers with the weights as they came.
        told: what was replaced and what the adaptation did, as plain values.
        quoted: what the chip does event by event, by the name of the variant.
    """

    before: Network
    told: Mapping[str, Any]
    quoted: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A network in the form of each chip that takes it, and why the others do not.

    Attributes:
        real: as it came, its counts bounded by the clips.
        folded: before any chip.
        passes: each fold with its proof.
        chips: one entry for each chip that takes it.
        refused: by chip, everything that keeps it from taking it.
        tuned: by chip that it was tuned for, how, and the chip's network before.
    """

    real: Network
    folded: Network
    passes: tuple[dict[str, Any], ...]
    chips: tuple[ChipNetwork, ...]
    refused: dict[str, tuple[Issue, ...]]
    tuned: Mapping[str, TunedChip]

    def variants(self) -> dict[str, Network]:
        """Every network to be run: as it came, and each chip's integers, those from before a tuning first."""
        found = {"real": self.real}
        for one in self.chips:
            if one.chip.name in self.tuned:
                found[f"{one.chip.name}.before"] = self.tuned[one.chip.name].before
            found[one.chip.name] = one.integer
        return found

    def counted(self) -> dict[str, Network]:
        """The networks whose operations are counted: folded, and each chip's."""
        return {"folded": self.folded} | {name: one for name, one in self.variants().items() if name != "real"}

    def refusal(self, written: str = "") -> UnsupportedError | None:
        """The error with the reasons of all chips that refuse; None where none does."""
        if not self.refused:
            return None
        if not self.tuned and any(issue.rule in TUNABLE for found in self.refused.values() for issue in found):
            written = "; ".join(part for part in (written, ADAPT) if part)
        issues = [
            replace(issue, where=f"{name}: {issue.where}") for name, found in self.refused.items() for issue in found
        ]
        names = ", ".join(self.refused)
        return UnsupportedError(f"the network does not fit {names}", issues=issues, hint=written)


def fitted(
    network: Network,
    chips: Sequence[str],
    clips: ClipSet | None,
    calibration: np.ndarray | None,
    tuning: Tuning | None = None,
) -> Fitted:
    """The network folded, and in each chip's integers where the chip takes it.

    Args:
        network: real.
        chips: names of the targets.
        clips: on the first of which each fold is proven; None: nothing is proven.
        calibration: training frames for the search of the scales.
        tuning: tunes it to the chips that lack its neurons.

    Raises:
        ConfigError: no chip, or an unknown one.
        DataError: the clips do not fit the network.
        UnsupportedError: the network cannot be folded.
        MismatchError: a fold changed a spike by more than rounding can.
    """
    targets = [chip_named(name) for name in dict.fromkeys(chips)]
    if not targets:
        raise ConfigError("no chip to export to", where="--chip")
    proven = None
    if clips is not None:
        network = bounded(network, clips)
        proven = clips.first(CHECKS.parity_clips).frames
    folded, proofs = _folded(network, proven)
    made, refused, tuned = [], {}, {}
    for chip in targets:
        try:
            found = None if tuning is None else _tuned(folded, chip, calibration, proven, tuning)
            one = _on_chip(folded, chip, calibration, proven) if found is None else found[0]
            issues = tuple(chip.violations(one.integer))
        except UnsupportedError as error:
            issues = issues_of(error)
        if issues:
            refused[chip.name] = issues
            continue
        made.append(one)
        if found is not None:
            tuned[chip.name] = found[1]
    return Fitted(network, folded, tuple(proofs), tuple(made), refused, tuned)


def _on_chip(folded: Network, chip: Chip, calibration: np.ndarray | None, proven: np.ndarray | None) -> ChipNetwork:
    # nothing is left to do but for thresholds that no chip can have, which this refuses
    return chip_network(uniform_thresholds(folded), chip, calibration, proven)


def _tuned(
    folded: Network, chip: Chip, calibration: np.ndarray | None, proven: np.ndarray | None, tuning: Tuning
) -> tuple[ChipNetwork, TunedChip] | None:
    """The chip's network tuned, and how; None where it has all neurons, and is taken as it is."""
    found = tuning.tune(folded, chip)
    if found is None:
        return None
    before = chip_network(found.before, chip, calibration, proven)
    made = replace(chip_network(found.network, chip, calibration, proven), passes=before.passes)
    return made, TunedChip(before.integer, found.told, tuning.quoted(made.real, chip))


def bounded(network: Network, clips: ClipSet) -> Network:
    """The network with the most events an input that these clips hold, where it did not say.

    Raises:
        DataError: clips of another shape, more events than the network allows, labels without a class.
    """
    spec, shape = network.input, clips.frames.shape
    if not len(clips) or (shape[0], *shape[2:]) != (spec.steps, *spec.shape):
        raise DataError(
            f"clips {shape} do not fit {spec.steps} steps of {spec.shape}", hint="bin them for this network"
        )
    most, labels = int(clips.frames.max()), clips.labels
    if spec.max_count is not None and most > spec.max_count:
        raise DataError(f"clips with {most} events an input and step, max_count is {spec.max_count}", hint="raise it")
    if labels.min() < 0 or labels.max() >= network.classes:
        raise DataError(
            f"labels {labels.min()} to {labels.max()} for {network.classes} classes",
            where="labels",
            hint="say classes=N where several output neurons vote for a class",
        )
    return replace(network, input=replace(spec, max_count=spec.max_count or max(most, 1)))


def _folded(network: Network, frames: np.ndarray | None) -> tuple[Network, list[dict[str, Any]]]:
    proofs: list[dict[str, Any]] = []
    for step in (*FOLDS, _level):
        after = step(network)
        if after is not network:
            proof = {"proof": NOT_PROVEN} if frames is None else proof_of(network, after, frames)
            proofs.append(pass_entry(after.history[-1], network, after, proof))
            network = after
    return network, proofs


def _level(network: Network) -> Network:
    """One threshold a layer, where that is exact; else each chip refuses it, or it is tuned."""
    try:
        return uniform_thresholds(network)
    except UnsupportedError:
        return network


def issues_of(error: UnsupportedError) -> tuple[Issue, ...]:
    """The reasons of a refusal, one at least."""
    return tuple(error.issues) or (Issue(error.what, error.where, "as said", "none", error.hint),)
