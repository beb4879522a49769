# SPDX-License-Identifier: Apache-2.0
"""Asks a chip whether a network fits: every rule that it breaks, used and allowed, or what it takes of the chip."""

from __future__ import annotations

from dataclasses import dataclass

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import Network
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.chip import Chip, Resources
from spikefold.hardware.rewrites import rewritten


@dataclass(frozen=True)
class FitReport:
    """What a chip says to a network.

    Attributes:
        chip: its name.
        network: what was asked about, for people.
        violations: every broken rule; ``where`` is the layer, ``got`` what it uses, ``limit`` what is allowed.
        resources: what it takes; None for a chip that counts only what fits, and where it does not.
    """

    chip: str
    network: str
    violations: tuple[Issue, ...]
    resources: Resources | None

    @property
    def fits(self) -> bool:
        """Whether no rule is broken."""
        return not self.violations

    def to_json(self) -> dict[str, object]:
        """Plain values for a report; resource keys are there even where nothing was counted."""
        found = self.resources
        return {
            "chip": self.chip, "network": self.network, "fits": self.fits,
            "violations": [
                {"rule": issue.rule, "layer": issue.where, "used": issue.got, "allowed": issue.limit,
                 "hint": issue.hint}
                for issue in self.violations
            ],
            "placement": dict(found.placement) if found else {},
            "layers": [
                {"layer": use.layer, "cores": use.cores, "limited_by": use.limited_by,
                 "memory": {name: {"used": used, "allowed": allowed} for name, (used, allowed) in use.memory.items()}}
                for use in (found.layers if found else ())
            ],
            "cores": found.cores if found else None, "chips": found.chips if found else None,
            "limited_by": found.limited_by if found else None, "estimate": found.estimate if found else None,
        }  # fmt: skip


def fit_report(network: Network, chip: Chip, name: str = "", *, as_it_is: bool = False) -> FitReport:
    """Ask every rule of the chip.

    Args:
        network: real or integer, folded; a real one is quantised for the chip where that can be done.
        chip: the target.
        name: of the network, for people.
        as_it_is: whether it is exported so; else it will be trained for the chip first. An event-driven chip's
            neurons then fire as often as they can, and their max pools are no OR.
    """
    made = rewritten(network, chip, without=() if as_it_is else _untrained(chip))
    network = made.network
    integer, refused = _integer(network, chip)
    found = _joined(chip.violations(network if integer is None else integer), [*made.issues, *refused])
    counted = None
    if chip.resources and (chip.counts_any or (integer is not None and not found)):
        counted = chip.resources(network if integer is None else integer)
    return FitReport(chip.name, name, tuple(found), counted)


def broken_rules(network: Network, chip: Chip) -> list[Issue]:
    """The rules that a real network breaks, cheaply: rounding is tried only where everything else is kept."""
    network = rewritten(network, chip, without=_untrained(chip)).network
    if found := chip.violations(network):
        return found
    integer, refused = _integer(network, chip)
    return refused if integer is None else chip.violations(integer)


def _untrained(chip: Chip) -> tuple[str, ...]:
    """The rewrites that do not hold for a network that is trained for the chip."""
    return ("maxpool_to_or",) if chip.event_driven else ()


def _integer(network: Network, chip: Chip) -> tuple[Network | None, list[Issue]]:
    """The network in the chip's integers; or None, and why there are none."""
    if network.is_integer:
        return network, []
    try:
        return quantise(network, chip.numbers)[0], []
    except UnsupportedError as error:
        whole = Issue(error.what, error.where or "network", "as it is", "integers of the chip", error.hint)
        return None, list(error.issues) or [whole]


def _joined(found: list[Issue], more: list[Issue]) -> list[Issue]:
    """Both lists; what the quantiser refuses at a layer that breaks a rule of the chip already is the same fault."""
    named = {issue.where for issue in found}
    return found + [issue for issue in more if issue.where not in named]
