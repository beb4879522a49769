# SPDX-License-Identifier: Apache-2.0
"""Gates: ``--gate "speck2f.energy_uj<50"``. A limit on a number of the report, which a build may fail on.

The limit is a number, or the same number of another network of the run, with a number added, subtracted or
multiplied: ``speck2f.events.accuracy>=float-0.01``, ``speck2f.events.spikes<=float*1.3``. Without a network's name a
gate holds for every network that it is asked about. What is unknown passes no gate; where it is known what would make
it known, the failure says so.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spikefold.energy.chip.budget import NUMBERS as ON_CHIP
from spikefold.errors import ConfigError, Issue, nearest

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM = re.compile(
    r"\s*(?:(?P<network>[^\s<>=]+)\.)?(?P<name>[^\s<>=.]+)\s*(?P<op><=|>=|==|<|>)\s*(?P<limit>\S(?:.*\S)?)\s*"
)
_RELATIVE = re.compile(r"(?P<to>[^\s<>=*+]+?)(?:\s*(?P<sign>[-+*])\s*(?P<by>[0-9.]+(?:[eE][-+]?[0-9]+)?))?")
_DECIMALS = 12
_CHANGES: dict[str, Callable[[float, float], float]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}


@dataclass(frozen=True)
class Unknown:
    """A number that nobody has, and what would make it known."""

    how: str


Value = float | Unknown | None
Scalars = Mapping[str, Value]
Number = Callable[[dict[str, Any]], Value]
_SUMS = (
    "input_events", "spikes", "pairs", "dense", "dense_padded", "bias_adds", "neuron_updates", "active_updates",
    "idle_updates", "weight_reads", "state_accesses",
)  # fmt: skip
_SPREAD = {"synops": 1.0, "spikes": 1.0, "energy_pj": 1.0, "energy_uj": 1e-6}
"""Quantities with a distribution over clips, and the factor from the one in the file."""


@dataclass(frozen=True)
class ReportGate:
    """A limit on a number.

    Attributes:
        text: as it was given.
        network: whose number; None for every network.
        name: of the number.
        op: one of ``< <= == >= >``.
        limit: the limit; where there is another network, what its number is changed by.
        to: another network, whose number of the same name is the limit; None for the limit alone.
        sign: how its number is changed: ``+``, ``-`` or ``*``.
    """

    text: str
    network: str | None
    name: str
    op: str
    limit: float
    to: str | None = None
    sign: str = "+"

    def holds(self, value: Value, limit: float | None = None) -> bool:
        """Whether a value passes; an unknown one does not, nor does any where the limit is unknown.

        Args:
            value: the number that is asked about.
            limit: of `limit_of`; by default the number of the gate itself.
        """
        limit = self.limit if limit is None and self.to is None else limit
        if value is None or limit is None or isinstance(value, Unknown) or math.isnan(value):
            return False
        return _OPERATORS[self.op](value, limit)

    def limit_of(self, networks: Mapping[str, Scalars]) -> float | None:
        """The limit among these networks; None where the other network's number is unknown."""
        if self.to is None:
            return self.limit
        found = networks[self.to].get(self.name)
        if found is None or isinstance(found, Unknown) or math.isnan(found):
            return None
        # 0.3 - 0.1 is meant, not 0.19999999999999998
        return round(_CHANGES[self.sign](found, self.limit), _DECIMALS)


@dataclass(frozen=True)
class Failure:
    """A gate that one network did not pass.

    Attributes:
        gate: the gate.
        network: whose number did not pass.
        got: the number; None where it is unknown, for the reason ``why``.
        why: it is unknown; empty where it is known, or where nobody can say.
        limit: what it was held against; None where that is unknown.
    """

    gate: ReportGate
    network: str
    got: float | None
    why: str = ""
    limit: float | None = None

    @property
    def issue(self) -> Issue:
        """For an error message."""
        got = "unknown" if self.got is None else f"{self.got:,.6g}"
        hint = f"gate {self.gate.text!r}"
        if self.got is None:
            hint = f"an unknown number passes no gate{self.why and f': {self.why}'}"
        limit = f"{self.gate.op} {'unknown' if self.limit is None else f'{self.limit:,.6g}'}"
        return Issue(self.gate.name, self.network, got, limit, hint)

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return {
            "gate": self.gate.text,
            "network": self.network,
            "name": self.gate.name,
            "got": self.got,
            "op": self.gate.op,
            "limit": self.limit,
            "why": self.why,
        }


def parse(texts: Iterable[str]) -> tuple[ReportGate, ...]:
    """Read gates; names are checked at once, before anything runs.

    Raises:
        ConfigError: every text that is no ``name op number``, every unknown name.
    """
    found = [_parsed(text) for text in texts]
    if issues := [one for one in found if isinstance(one, Issue)]:
        raise ConfigError(
            "a gate cannot be read",
            where="--gate",
            issues=issues,
            hint='for example --gate "energy_uj<50" --gate "speck2f.accuracy>=0.9"',
        )
    return tuple(one for one in found if isinstance(one, ReportGate))


def _parsed(text: str) -> ReportGate | Issue:
    match = _FORM.fullmatch(text)
    if match is None:
        return Issue(
            "NAME OP NUMBER",
            "--gate",
            repr(text),
            f"OP one of {' '.join(_OPERATORS)}",
            "quote it: a shell takes < and > for itself",
        )
    if match["name"] not in NUMBERS:
        return Issue(
            "known name", "--gate", repr(match["name"]), f"{len(NUMBERS)} names", nearest(match["name"], NUMBERS)
        )
    limit = _number(match["limit"])
    if limit is not None and math.isfinite(limit):
        return ReportGate(text.strip(), match["network"], match["name"], match["op"], limit)
    relative = _RELATIVE.fullmatch(match["limit"])
    by = None if relative is None else _number(relative["by"] or "0")
    # nan, inf and numbers with a unit are no networks
    if limit is not None or relative is None or by is None or not math.isfinite(by) or relative["to"][0].isdigit():
        return Issue(
            "finite number",
            "--gate",
            repr(match["limit"]),
            "a number without a unit, or a network of the run, as float-0.01 or float*1.3",
            "the unit is in the name: energy_uj is microjoules a clip, accuracy is from 0 to 1",
        )
    return ReportGate(
        text.strip(), match["network"], match["name"], match["op"], by, relative["to"], relative["sign"] or "+"
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def evaluate(
    gates: Sequence[ReportGate], networks: Mapping[str, Scalars], deployed: Sequence[str] = ()
) -> list[Failure]:
    """Judge networks.

    Args:
        gates: from `parse`.
        networks: numbers of each network, from `scalars`.
        deployed: networks that a gate without a network's name is for; empty for all.

    Raises:
        ConfigError: a gate names a network that this run has not, or there is none to ask.
    """
    known = list(networks)
    asked = {*(gate.network for gate in gates), *(gate.to for gate in gates), *deployed} - {None}
    wrong = sorted(str(name) for name in asked if name not in networks)
    if wrong or not known:
        issues = [
            Issue("known network", "--gate", repr(name), f"one of {known}", nearest(name, known)) for name in wrong
        ]
        raise ConfigError(
            "a gate is for a network that this run has not",
            where="--gate",
            issues=issues,
            hint="name one of the run's networks, or none to ask all",
        )
    failures = []
    for gate in gates:
        limit = gate.limit_of(networks)
        judged = [gate.network] if gate.network else list(deployed) or known
        for network in judged:
            got = networks[network].get(gate.name)
            if not gate.holds(got, limit):
                why = got.how if isinstance(got, Unknown) else ""
                failures.append(Failure(gate, network, None if isinstance(got, Unknown) else got, why, limit))
    return failures


def scalars(network: Mapping[str, Any], accuracy: float | None = None) -> dict[str, Value]:
    """Every number a gate may name, of one network of ``energy.json``; a clip's unless the name says otherwise.

    Args:
        network: its ``counts``, ``budget``, ``uncertainty`` and, of a chip's network, ``chip``.
        accuracy: share of right clips, from the simulation.
    """
    content = {"uncertainty": {}, "budget": {}, **network, "accuracy": accuracy}
    return {name: number(content) for name, number in NUMBERS.items()}


def _per_clip(content: dict[str, Any], field: str) -> float:
    return float(sum(layer[field] for layer in content["counts"]["layers"]) / content["counts"]["clips"])


def _sum(field: str) -> Number:
    return lambda content: _per_clip(content, field)


def _budget(field: str, factor: float = 1.0) -> Number:
    def number(content: dict[str, Any]) -> float | None:
        found = content["budget"].get(field)
        return None if found is None else found * factor

    return number


def _spread(quantity: str, key: str, factor: float) -> Number:
    def number(content: dict[str, Any]) -> float | None:
        found = content["uncertainty"].get(quantity)
        value = None if found is None else found["interval"] if key in ("low", "high") else found[key]
        if isinstance(value, list | tuple):
            value = value[key == "high"]
        return None if value is None else value * factor

    return number


def _on_chip(name: str) -> Number:
    def number(content: dict[str, Any]) -> Value:
        found = content.get("chip")
        if found is None:
            return Unknown(f"only a chip's network has it, as speck2f.{name}, in a run of this version")
        value: float | None = found["numbers"][name]
        return Unknown(found["unknown"][name]) if value is None else value

    return number


def _rate(content: dict[str, Any], events: float | None) -> float | None:
    dt_us = content["counts"]["dt_us"]
    return None if dt_us is None or events is None else events / (dt_us * 1e-6)


def _mean_rate(content: dict[str, Any]) -> float | None:
    return _rate(content, _per_clip(content, "events") / content["counts"]["steps"])


def _peak_rate(content: dict[str, Any]) -> float | None:
    return _rate(content, content["counts"]["peak_events"])


NUMBERS: dict[str, Number] = {
    "accuracy": lambda content: content["accuracy"],
    "energy_uj": _budget("energy_pj_per_clip", 1e-6),
    "energy_pj": _budget("energy_pj_per_clip"),
    "mac": _budget("mac_per_clip"),
    "ac": _budget("ac_per_clip"),
    "synops": _sum("events"),
    "synops_per_s": _mean_rate,
    "peak_synops_per_s": _peak_rate,
    "nasfr": lambda content: content["counts"]["nasfr"],
    "uncounted": lambda content: len(content["counts"]["uncounted"]),
    **{field: _sum(field) for field in _SUMS},
    **{name: _on_chip(name) for name in ON_CHIP},
    **{
        f"{name}_{key}": _spread("energy_pj" if name == "energy_uj" else name, key, factor)
        for name, factor in _SPREAD.items()
        for key in ("low", "high", "p95", "worst", "sd")
    },
}
"""Names of gates. ``_low`` and ``_high``: the ends of the mean's interval; other endings are of single clips."""
