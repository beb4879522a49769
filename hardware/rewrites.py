# SPDX-License-Identifier: Apache-2.0
"""Makes of what a chip lacks what it has, by the exact rewrites that the chip names, one after the other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import Network
from spikefold.hardware.chip import Chip


@dataclass(frozen=True, eq=False)
class Rewritten:
    """A network in the form that a chip can carry, and the way there.

    Attributes:
        network: after all steps.
        steps: the rewrites that changed something: name, network before it and behind it.
        issues: what a rewrite cannot do; the network then still holds it.
    """

    network: Network
    steps: tuple[tuple[str, Network, Network], ...]
    issues: tuple[Issue, ...]


def rewritten(network: Network, chip: Chip, *, without: Collection[str] = ()) -> Rewritten:
    """The network with the chip's rewrites applied as far as they go.

    Args:
        network: real or integer, folded.
        chip: the target.
        without: passes that are left out, by their entry in the history.
    """
    steps: list[tuple[str, Network, Network]] = []
    issues: list[Issue] = []
    for rewrite in chip.rewrites:
        before = network
        try:
            network = rewrite(before)
        except UnsupportedError as error:
            found = error.issues or [Issue(error.what, error.where, "as it is", "a rewrite", error.hint)]
            issues += [issue for issue in found if issue.rule not in without]
            continue
        added = network.history[len(before.history) :]
        if any(step in without for step in added):
            network = before
        elif network is not before:
            steps.append((added[0], before, network))
    return Rewritten(network, tuple(steps), tuple(issues))
