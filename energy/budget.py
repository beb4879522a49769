# SPDX-License-Identifier: Apache-2.0
"""`Budget`: counts under one rule, times a sourced technology profile.

Counts are exact. Joules are estimates of the arithmetic alone, and the profile says what they cover. Profiles and the
cost of attention can be imported from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from spikefold.energy.counts import rules
from spikefold.energy.counts.attention import AttentionCost, attention_cost
from spikefold.energy.counts.count import Counts
from spikefold.energy.counts.input_rates import Rates
from spikefold.energy.prices.load import Price, TechnologyProfile, load_profile, refuse_mixing

__all__ = [
    "AttentionCost", "Budget", "LayerEnergy", "Price", "TechnologyProfile", "attention_cost", "budget",
    "load_profile", "side_by_side",
]  # fmt: skip
_LARGEST_JSON_INTEGER = 2**53


@dataclass(frozen=True)
class LayerEnergy:
    """MAC, AC and picojoules of one layer, mean over clips.

    Attributes:
        mac: of the whole run, exactly; the mean is rounded to a float.
        ac: likewise.
    """

    name: str
    mac_per_clip: float
    ac_per_clip: float
    energy_pj_per_clip: float
    mac: Fraction = Fraction(0)
    ac: Fraction = Fraction(0)

    def to_json(self) -> dict[str, object]:
        """Plain values for a report; a number that is not whole, or that most readers would round, as a string."""
        return vars(self) | {"mac": _exact(self.mac), "ac": _exact(self.ac)}


@dataclass(frozen=True)
class Budget:
    """One network's operations and their energy, mean over clips; parts sum to the totals.

    Attributes:
        profile: name of the technology.
        layers: rows of the network.
        attention_macs_per_clip: multiplications of dynamic attention, in the total but in no row.
        mac_per_clip: all multiply-accumulates, attention included.
        ac_per_clip: all accumulates.
        energy_pj_per_clip: all of them priced.
        rule: what was counted, in words.
        rule_name: the rule's name.
        clips: of the run.
        attention: the same multiplications over the run, by origin.
    """

    profile: str
    layers: tuple[LayerEnergy, ...]
    attention_macs_per_clip: float
    mac_per_clip: float
    ac_per_clip: float
    energy_pj_per_clip: float
    rule: str = rules.RULES[rules.DEFAULT].text
    rule_name: str = rules.DEFAULT
    clips: int = 1
    attention: AttentionCost = field(default_factory=AttentionCost)

    @property
    def mac(self) -> Fraction:
        """All multiply-accumulates of the run, exactly."""
        return sum((layer.mac for layer in self.layers), Fraction(self.attention.macs))

    @property
    def ac(self) -> Fraction:
        """All accumulates of the run, exactly."""
        return sum((layer.ac for layer in self.layers), Fraction(0))

    @property
    def operations(self) -> Mapping[str, float]:
        """Operations a clip by the name of the constant that prices them, for `sensitivity.tornado`."""
        return {"mac": self.mac_per_clip, "ac": self.ac_per_clip}

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        return vars(self) | {
            "layers": [layer.to_json() for layer in self.layers],
            "attention": vars(self.attention) | {"macs": self.attention.macs},
            "mac": _exact(self.mac),
            "ac": _exact(self.ac),
        }


def budget(
    counts: Counts,
    profile: TechnologyProfile,
    attention: AttentionCost | None = None,
    *,
    rule: str = rules.DEFAULT,
    rates: Rates | None = None,
) -> Budget:
    """Price a run. Parts sum to the totals.

    Args:
        counts: of `counts.count`.
        profile: of `load_profile`.
        attention: multiplications of dynamic attention over the run; None where it is folded or absent.
        rule: name of the counting rule, one of `rules.RULES`.
        rates: of `input_rates`; only rules that multiply with rates need them.

    Raises:
        ConfigError: an unknown rule, missing rates, a price that nobody knows, or prices of kinds that do not add.
    """
    chosen = rules.rule_named(rule)
    operations = chosen.operations(counts, rates or {})
    extra = attention if attention is not None and chosen.dynamic_attention else AttentionCost()
    mac_price, ac_price = profile.energy_pj.mac, profile.energy_pj.ac
    multiplied = bool(extra.macs) or any(one.mac for one in operations)
    accumulated = any(one.ac for one in operations)
    refuse_mixing([mac_price] * multiplied + [ac_price] * accumulated)
    layers = []
    for one in operations:
        mac, ac = float(one.mac / counts.clips), float(one.ac / counts.clips)
        energy_pj = _cost(mac, mac_price) + _cost(ac, ac_price)
        layers.append(LayerEnergy(one.name, mac, ac, energy_pj, one.mac, one.ac))
    extra_per_clip = float(Fraction(extra.macs, counts.clips))
    return Budget(
        profile.name,
        tuple(layers),
        extra_per_clip,
        mac_per_clip=sum(layer.mac_per_clip for layer in layers) + extra_per_clip,
        ac_per_clip=sum(layer.ac_per_clip for layer in layers),
        energy_pj_per_clip=sum(layer.energy_pj_per_clip for layer in layers) + _cost(extra_per_clip, mac_price),
        rule=chosen.text,
        rule_name=chosen.name,
        clips=counts.clips,
        attention=extra,
    )


def side_by_side(
    counts: Counts, profile: TechnologyProfile, rates: Rates, attention: AttentionCost | None = None
) -> dict[str, Budget]:
    """The same run under every rule, by the rule's name.

    Raises:
        ConfigError: as `budget`.
    """
    return {name: budget(counts, profile, attention, rule=name, rates=rates) for name in rules.RULES}


def _cost(operations: float, price: Price) -> float:
    """Energy in pJ; what does not happen costs nothing, also where its price is unknown."""
    return operations * price.amount if operations else 0.0


def _exact(number: Fraction) -> int | str:
    if number.denominator == 1 and abs(number.numerator) <= _LARGEST_JSON_INTEGER:
        return number.numerator
    return str(number)
