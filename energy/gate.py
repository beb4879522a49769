# SPDX-License-Identifier: Apache-2.0
"""Gates: ``--gate "speck2f.energy_uj<50"``. A limit on a number of the report, which a build may fail on.

Without a network's name a gate holds for every network that it is asked about. What is unknown passes no gate; where
it is known what would make it known, the failure says so.
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
_FORM = re.compile(r"\s*(?:(?P<network>[^\s<>=]+)\.)?(?P<name>[^\s<>=.]+)\s*(?P<op><=|>=|==|<|>)\s*(?P<limit>\S+)\s*")


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
    """A limit: ``network`` None for every network, ``op`` one of ``< <= == >= >``."""

    text: str
    network: str | None
    name: str
    op: str
    limit: float

    def holds(self, value: Value) -> bool:
        """Whether a value passes; an unknown one does not."""
        if value is None or isinstance(value, Unknown) or math.isnan(value):
            return False
        return _OPERATORS[self.op](value, self.limit)


@dataclass(frozen=True)
class Failure:
    """A gate that one network did not pass; ``got`` None where the number is unknown, for the reason ``why``."""

    gate: ReportGate
    network: str
    got: float | None
    why: str = ""

    @property
    def issue(self) -> Issue:
        """For an error message."""
        got = "unknown" if self.got is None else f"{self.got:,.6g}"
        hint = f"gate {self.gate.text!r}"
        if self.got is None:
            hint = f"an unknown number passes no gate{self.why and f': {self.why}'}"
        return Issue(self.gate.name, self.network, got, f"{self.gate.op} {self.gate.limit:,.6g}", hint)

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return {
            "gate": self.gate.text,
            "network": self.network,
            "name": self.gate.name,
            "got": self.got,
            "op": self.gate.op,
            "limit": self.gate.limit,
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
    try:
        limit = float(match["limit"])
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        return Issue(
            "finite number",
            "--gate",
            repr(match["limit"]),
            "a number without a unit",
            "the unit is in the name: energy_uj is microjoules a clip, accuracy is from 0 to 1",
        )
    return ReportGate(text.strip(), match["network"], match["name"], match["op"], limit)


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
    asked = {*(gate.network for gate in gates), *deployed} - {None}
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
        judged = [gate.network] if gate.network else list(deployed) or known
        for network in judged:
            got = networks[network].get(gate.name)
            if not gate.holds(got):
                why = got.how if isinstance(got, Unknown) else ""
                failures.append(Failure(gate, network, None if isinstance(got, Unknown) else got, why))
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
