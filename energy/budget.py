# SPDX-License-Identifier: Apache-2.0
"""`Budget`: exact counts times a sourced technology profile; and Eq. 11 of the paper between two networks.

Counts are exact. Joules are estimates of the arithmetic alone, and the profile says what they cover.
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from spikefold.energy.counts import Counts
from spikefold.errors import ConfigError, nearest

_FOLDER = Path(__file__).parent / "profiles"
_STRICT = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, str_min_length=1, allow_inf_nan=False)


class Price(BaseModel):
    """Energy of one operation, with its band, what it covers and on what evidence."""

    model_config = _STRICT
    value: float
    low: float
    high: float
    kind: Literal["marginal", "all-in"]
    covers: str
    evidence: Literal["measured", "simulated", "derived"]


class Prices(BaseModel):
    """What a multiply-accumulate and an accumulate cost, in picojoules."""

    model_config = _STRICT
    mac: Price
    ac: Price


class Profile(BaseModel):
    """A technology profile: a number without source, kind and coverage cannot be written down."""

    model_config = _STRICT
    name: str
    title: str
    node_nm: float
    voltage_v: float
    source: str
    energy_pj: Prices


def load_profile(name: str) -> Profile:
    """A profile of ``energy/profiles``.

    Raises:
        ConfigError: unknown name, or a profile that lacks a source, a kind or what it covers.
    """
    known = sorted(path.stem for path in _FOLDER.glob("*.toml"))
    if name not in known:
        raise ConfigError(f"unknown technology profile {name!r}", where="energy_profile", hint=nearest(name, known))
    try:
        return Profile.model_validate(tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(f"technology profile {name} is incomplete: {error}", where=f"{name}.toml") from error


@dataclass(frozen=True)
class AttentionCost:
    """Multiplications that dynamic attention adds over a run, counted as executed.

    Attributes:
        gate_macs: products of the gate with every element.
        map_macs: the spatial convolutions, once a clip.
        mlp_macs: the temporal mixing of ASA-1.
    """

    gate_macs: int = 0
    map_macs: int = 0
    mlp_macs: int = 0

    @property
    def macs(self) -> int:
        """All of them."""
        return self.gate_macs + self.map_macs + self.mlp_macs


@dataclass(frozen=True)
class LayerEnergy:
    """MAC, AC and picojoules of one layer, mean over clips."""

    name: str
    mac_per_clip: float
    ac_per_clip: float
    energy_pj_per_clip: float


@dataclass(frozen=True)
class Budget:
    """One network's operations and their energy, mean over clips.

    Rule: a layer that reads event counts above 1 is booked as one MAC for each synapse with an input other than zero;
    any other layer reads binary input or spikes and is booked as one AC for each event and synapse; batch norm is
    folded, biases, neuron updates and memory are not priced.
    """

    profile: str
    layers: tuple[LayerEnergy, ...]
    attention_macs_per_clip: float
    mac_per_clip: float
    ac_per_clip: float
    energy_pj_per_clip: float
    rule: str = (
        "input counts above 1: nonzero synapses as MAC; binary input and spikes: events x synapses as AC; "
        "BN folded; no memory, no bias"
    )

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return asdict(self)


def budget(counts: Counts, profile: Profile, attention: AttentionCost | None = None) -> Budget:
    """Price a run. Parts sum to the totals."""
    prices = profile.energy_pj
    extra = (attention or AttentionCost()).macs / counts.clips
    layers = []
    for layer in counts.layers:
        graded = layer.input_kind == "counts"
        mac, ac = (layer.pairs, 0) if graded else (0, layer.events)
        energy_pj = (mac * prices.mac.value + ac * prices.ac.value) / counts.clips
        layers.append(LayerEnergy(layer.name, mac / counts.clips, ac / counts.clips, energy_pj))
    return Budget(
        profile.name, tuple(layers), extra,
        mac_per_clip=sum(layer.mac_per_clip for layer in layers) + extra,
        ac_per_clip=sum(layer.ac_per_clip for layer in layers),
        energy_pj_per_clip=sum(layer.energy_pj_per_clip for layer in layers) + extra * prices.mac.value,
    )  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """Eq. 11: ``dE = E_MAC * dMAC - E_AC * dAC``; negative means that attention saves energy.

    Attributes:
        added_macs_per_clip: MACs of the attended network beyond its twin's.
        removed_acs_per_clip: ACs that the twin makes beyond the attended network's.
        break_even: removed ACs for each added MAC at which nothing is gained.
    """

    added_macs_per_clip: float
    removed_acs_per_clip: float
    energy_pj_per_clip: float
    relative: float
    break_even: float

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return asdict(self)


def equation_11(attended: Budget, twin: Budget, profile: Profile) -> Difference:
    """Eq. 11 of the paper between a network and its vanilla twin, in pJ per clip."""
    prices = profile.energy_pj
    added = attended.mac_per_clip - twin.mac_per_clip
    removed = twin.ac_per_clip - attended.ac_per_clip
    energy_pj = prices.mac.value * added - prices.ac.value * removed
    return Difference(
        added, removed, energy_pj, energy_pj / twin.energy_pj_per_clip, prices.mac.value / prices.ac.value
    )


def attention_cost(shapes: dict[str, tuple[int, int, int]], steps: int, clips: int, *, mlp: bool) -> AttentionCost:
    """MACs of dynamic ASA over a run, for attention layers of output shape ``(C, H, W)`` by name.

    For each layer and clip: ``T C H W`` gate products, two 3x3 convolutions of two maps (``2 * 18 * H * W``), and for
    ASA-1 the product of the importance with a ``T x T`` matrix for each channel.
    """
    gate = sum(steps * c * h * w for c, h, w in shapes.values()) * clips
    maps = sum(2 * 18 * h * w for _, h, w in shapes.values()) * clips
    mixing = sum(c * steps * steps for c, _, _ in shapes.values()) * clips if mlp else 0
    return AttentionCost(gate, maps, mixing)
