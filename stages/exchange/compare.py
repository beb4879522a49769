# SPDX-License-Identifier: Apache-2.0
"""Every runner of each chip on a network trained elsewhere, spike for spike, without writing any file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from spikefold.errors import MismatchError, UnsupportedError
from spikefold.export.network import Network
from spikefold.session import Reporter
from spikefold.stages.chip_files import compare_runners
from spikefold.stages.exchange.fitted import CHECKS, bounded, fitted
from spikefold.stages.exchange.foreign import Foreign, Recorded


def compare_network(
    found: Foreign,
    chips: Sequence[str],
    clips: Recorded,
    reporter: Reporter,
    tell: Callable[[dict[str, dict[str, Any]]], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """What was compared, by chip.

    Args:
        found: the network.
        chips: names of the targets.
        clips: recordings.
        reporter: told each comparison.
        tell: given what was compared, before any error that comes of it.

    Raises:
        ConfigError: no chip, or an unknown one.
        DataError: clips that do not fit the network.
        UnsupportedError: a chip does not take it; those that do were compared before.
        MismatchError: spikes differ, or a layer never fires.
    """
    networks, refusal = networks_to_compare(found, chips, clips)
    frames = clips.test.first(CHECKS.parity_clips).frames
    compared = compare_runners(networks, frames, CHECKS.vendor_clips, reporter)
    content = {name: parity.to_json() for name, parity in compared.items()}
    if tell is not None:
        tell(content)
    if failures := [failure for parity in compared.values() for failure in parity.failures()]:
        raise MismatchError("; ".join(failures), where=found.name, hint="spikefold export keeps the evidence")
    if refusal is not None:
        raise refusal
    return content


def networks_to_compare(
    found: Foreign, chips: Sequence[str], clips: Recorded
) -> tuple[dict[str, tuple[Network, Network]], UnsupportedError | None]:
    """By chip the real network and its integers, and the refusal of the chips that do not take it.

    Raises:
        ConfigError, DataError: as `compare_network`.
    """
    if found.chip is not None:
        network = bounded(found.network, clips.test)
        return {found.chip: (network, network)}, None
    made = fitted(found.network, chips, clips.test, clips.calibration)
    return {one.chip.name: (one.real, one.integer) for one in made.chips}, made.refusal()
