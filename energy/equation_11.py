# SPDX-License-Identifier: Apache-2.0
"""Eq. 11 of the paper between a network with attention and its vanilla baseline: what attention costs and saves.

``dE = E_MAC * dMAC - E_AC * dAC``, with the MACs that attention adds and the ACs that it removes. **Negative means
that attention saves energy.** Whether it does hangs on the precision: the break-even is the number of removed ACs for
each added MAC at which nothing is gained, and it lies between 1.2 and 32.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

from spikefold.energy.budget import Budget
from spikefold.energy.prices.load import TechnologyProfile, load_profile
from spikefold.errors import MismatchError

ATTENTION = "attention"
"""Row of the multiplications of dynamic attention."""
PRECISIONS = ("horowitz45-fp32", "horowitz45-fp16", "horowitz45-int8", "horowitz45-int32")
WORDS = 3
"""Words of memory that an operation moves where memory is priced: input, weight and sum."""


@dataclass(frozen=True)
class LayerDifference:
    """One row of Eq. 11, over the whole run and exactly, and its energy in pJ per clip; negative saves."""

    name: str
    added_macs: Fraction
    removed_acs: Fraction
    energy_pj_per_clip: float


@dataclass(frozen=True)
class BreakEven:
    """Removed ACs for each added MAC at which nothing is gained.

    Attributes:
        profile: name of the technology.
        words: words of on-chip memory that each operation moves besides.
        ratio: the break-even.
        where: lines of the constants.
    """

    profile: str
    words: int
    ratio: float
    where: tuple[str, ...]


@dataclass(frozen=True)
class EnergyDifference:
    """Eq. 11: ``dE = E_MAC * dMAC - E_AC * dAC``; negative means that attention saves energy.

    Attributes:
        added_macs_per_clip: MACs of the attended network beyond its baseline's.
        removed_acs_per_clip: ACs that the baseline makes beyond the attended network's.
        energy_pj_per_clip: dE.
        relative: dE over the baseline's energy.
        break_even: removed ACs for each added MAC at which nothing is gained, with this profile.
        gate_macs_per_clip: of the added MACs, the products of the gate with every element, which most counters miss.
        without_gate_pj_per_clip: dE without them.
        layers: dE by layer and, last, of the attention itself.
        break_evens: the same by precision, and with memory.
    """

    added_macs_per_clip: float
    removed_acs_per_clip: float
    energy_pj_per_clip: float
    relative: float
    break_even: float
    gate_macs_per_clip: float = 0.0
    without_gate_pj_per_clip: float = 0.0
    layers: tuple[LayerDifference, ...] = ()
    break_evens: tuple[BreakEven, ...] = ()

    @property
    def verdict(self) -> str:
        """The sign in words, with the gate and without."""
        with_gate, without = _sign(self.energy_pj_per_clip), _sign(self.without_gate_pj_per_clip)
        if with_gate == without:
            return f"{with_gate}, with the element-wise gate and without"
        return f"{with_gate}; without its element-wise gate it {without}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report; the exact operations of the rows as strings."""
        return vars(self) | {
            "layers": [
                vars(row) | {"added_macs": str(row.added_macs), "removed_acs": str(row.removed_acs)}
                for row in self.layers
            ],
            "break_evens": [vars(one) | {"where": list(one.where)} for one in self.break_evens],
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class FiringBreakEven:
    """How often neurons may fire at most for a spiking network to win over its quantised counterpart.

    Attributes:
        steps: T for which it was published.
        most: the firing rate at which both cost the same, data movement included.
        source: where it stands.
    """

    steps: int
    most: float
    source: str

    def verdict(self, steps: int, rate: float) -> str:
        """A rate over ``steps`` steps in words; of another T nothing was published, and nothing is said."""
        if steps != self.steps:
            return f"published for T = {self.steps} only, not for T = {steps}"
        side = "at most" if rate <= self.most else "above"
        return f"a firing rate of {rate:.2%} is {side} the {self.most:.1%} at which both cost the same"


YAN = FiringBreakEven(
    5, 0.057, "Yan et al., arXiv 2409.08290, version 4: at most 5.7 % at T = 5, against ceil(log2(T + 1)) bits"
)
"""A break-even of the network against a network without spikes, beside Eq. 11, which is one of attention."""


def equation_11(attended: Budget, baseline: Budget, profile: TechnologyProfile) -> EnergyDifference:
    """Eq. 11 of the paper between a network and its vanilla baseline, in pJ per clip.

    Rows are matched by name; a layer that only one network has is compared with nothing.

    Raises:
        MismatchError: the two were not priced alike: other clips, another rule.
        ConfigError: a price that nobody knows.
    """
    ways = {(one.rule_name, one.clips) for one in (attended, baseline)}
    if len(ways) > 1:
        raise MismatchError(
            f"Eq. 11 compares one rule over as many clips, not {sorted(ways)}",
            hint="count both networks on the same clips and price them with one rule",
        )
    mac_pj, ac_pj = profile.energy_pj.mac.amount, profile.energy_pj.ac.amount
    added = attended.mac_per_clip - baseline.mac_per_clip
    removed = baseline.ac_per_clip - attended.ac_per_clip
    gate = float(Fraction(attended.attention.gate_macs - baseline.attention.gate_macs, attended.clips))
    energy_pj = mac_pj * added - ac_pj * removed

    def row(name: str, added_macs: Fraction, removed_acs: Fraction) -> LayerDifference:
        per_clip = mac_pj * float(added_macs / attended.clips) - ac_pj * float(removed_acs / attended.clips)
        return LayerDifference(name, added_macs, removed_acs, per_clip)

    ours, theirs = ({layer.name: (layer.mac, layer.ac) for layer in one.layers} for one in (attended, baseline))
    nothing = Fraction(0), Fraction(0)
    rows = [
        row(
            name,
            ours.get(name, nothing)[0] - theirs.get(name, nothing)[0],
            theirs.get(name, nothing)[1] - ours.get(name, nothing)[1],
        )
        for name in dict.fromkeys([*theirs, *ours])
    ]
    rows.append(row(ATTENTION, Fraction(attended.attention.macs - baseline.attention.macs), Fraction(0)))
    return EnergyDifference(
        added,
        removed,
        energy_pj,
        energy_pj / baseline.energy_pj_per_clip,
        mac_pj / ac_pj,
        gate,
        energy_pj - mac_pj * gate,
        tuple(rows),
        break_evens(),
    )


@cache
def break_evens() -> tuple[BreakEven, ...]:
    """Removed ACs for each added MAC at which nothing is gained: by precision, and in fp32 with memory.

    Of arithmetic alone it is E_MAC / E_AC. When every operation also moves words of an 8 KB memory, both cost nearly
    the same, and attention pays much sooner.
    """
    found = []
    for name, words in (*((name, 0) for name in PRECISIONS), (PRECISIONS[0], WORDS)):
        energy = load_profile(name).energy_pj
        memory = 0.0 if energy.sram_word is None else words * energy.sram_word.amount
        prices = (energy.mac, energy.ac, *((energy.sram_word,) if words and energy.sram_word else ()))
        ratio = (energy.mac.amount + memory) / (energy.ac.amount + memory)
        found.append(BreakEven(name, words, ratio, tuple(price.where for price in prices)))
    return tuple(found)


def _sign(energy_pj: float) -> str:
    return "saves energy" if energy_pj < 0 else "costs energy" if energy_pj > 0 else "changes nothing"
