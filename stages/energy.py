# SPDX-License-Identifier: Apache-2.0
"""``7_energy``: count and price the operations of every simulated variant, and apply Eq. 11 against the baseline.

It holds ``energy.json`` (counts, prices, spread over the clips, sensitivity, chips), ``clips.npz`` (the same clip by
clip, for `spikefold diff`), ``layers.csv`` and ``energy.md``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from spikefold.energy.budget import Budget, TechnologyProfile, budget, load_profile, side_by_side
from spikefold.energy.chip.budget import ChipBudget, chip_budget
from spikefold.energy.chip.sources import Numbers, numbers_of
from spikefold.energy.counts.attention import AttentionCost, cost_of, labelled_macs
from spikefold.energy.counts.count import Counts
from spikefold.energy.equation_11 import YAN, equation_11
from spikefold.energy.outputs import energy_json, layers_csv, markdown, read_energy
from spikefold.energy.prices.constants import constants_used
from spikefold.energy.prices.load import profile_names
from spikefold.energy.statistics.clips import FILE, NetworkClips, network_clips, writing_clips
from spikefold.energy.statistics.difference import compare
from spikefold.energy.statistics.sensitivity import Constant, constants, tornado
from spikefold.errors import ConfigError
from spikefold.export.network import Network
from spikefold.export.ops import Gate
from spikefold.files import write_text
from spikefold.hardware.registry import chip_named
from spikefold.session import BASELINE, EVENTS, RESULTS, Session
from spikefold.stage_table import ENERGY, FOLD
from spikefold.stages.files.counts import STATIC_UNFOLDED, VariantCounts, counts_of_run
from spikefold.stages.files.export import ExportFile
from spikefold.stages.files.networks import network_at, network_of_run
from spikefold.stages.files.simulate import FLOAT, FOLDED, SimulateFile, VariantForm


def energy_stage(session: Session) -> None:
    """Write counts and budgets by variant; only the trained network pays for dynamic attention."""
    profile, others = load_profile(session.config.energy_profile), list(_other_profiles(session))
    sources = numbers_of(session.config.chips.names, session.config.chips.power)
    simulated = SimulateFile.of_run(session)
    variants, unfolded = simulated.variants, network_of_run(session, FOLD, "unfolded")
    pricing = Pricing(profile, others, session.config.energy_rule, session.config.seed)
    networks, budgets, compared, pairs = {}, {}, {}, dict(_pairs(variants))
    with session.writing(ENERGY) as folder:
        with writing_clips(folder / FILE, simulated.frames, simulated.labels) as writer:
            for name, variant in variants.items():
                found = counts_of_run(session, name, variant)
                kind = session.config.model.attention if name == FLOAT else "none"
                cost, one = (_attention_cost(session, unfolded, kind, number) for number in (found.counts.clips, 1))
                budgets[name], clips, networks[name] = pricing.priced(found, cost, one)
                if (on := name.removesuffix(f".{EVENTS}").removesuffix(f".{BASELINE}")) in sources:
                    network = network_at(session, variant.network)
                    taken = _on_chip(session, on, network, found.counts, sources[on])
                    networks[name]["chip"] = taken.to_json()
                    session.reporter.line(f"{name}: {taken.describe()}")
                writer.add(name, clips)
                if name in pairs or name in pairs.values():
                    compared[name] = clips
        results: dict[str, Any] = {"profile": profile.model_dump(mode="json"), "networks": networks}
        if BASELINE in budgets:
            static = _same_geometry(session, variants[FOLDED], profile)
            results["eq11"] = {
                "dynamic": equation_11(budgets[FLOAT], budgets[BASELINE], profile).to_json(),
                "static": equation_11(static, budgets[BASELINE], profile).to_json(),
            }
            results["paired"] = compare(compared[BASELINE], compared[FLOAT], paired=True)
        results["paired_on_chips"] = {
            name: compare(compared[baseline], compared[name], paired=True)
            for name, baseline in pairs.items()
            if name != FLOAT
        }
        rate, clip_steps = networks[FLOAT]["counts"]["nasfr"], networks[FLOAT]["counts"]["steps"]
        results["firing_break_even"] = vars(YAN) | {"verdict": YAN.verdict(clip_steps, rate)}
        if (kind := session.config.model.attention) != "none":
            ratio = session.config.model.reduction_ratio
            results["attention_macs"] = labelled_macs(kind, _gated(unfolded), unfolded.input.steps, ratio)
        results["constants"] = constants_used(results, [profile, *others, *_profiles(sources)])
        write_text(folder / RESULTS, energy_json(results))
        written = read_energy(folder / RESULTS)
        write_text(folder / "layers.csv", layers_csv(written))
        write_text(
            folder / "energy.md", markdown(written, {name: variant.accuracy for name, variant in variants.items()})
        )
    for name, priced in budgets.items():
        nasfr = networks[name]["counts"]["nasfr"]
        session.reporter.line(f"{name}: {priced.energy_pj_per_clip / 1e6:.3f} uJ per clip, NASFR {nasfr:.4f}")


@dataclass(frozen=True)
class Pricing:
    """How a variant's operations are priced.

    Attributes:
        profile: the technology.
        others: those that its sensitivity is told beside.
        rule: what is booked as an operation.
        seed: of the spread over clips.
    """

    profile: TechnologyProfile
    others: list[TechnologyProfile]
    rule: str
    seed: int

    def priced(
        self, found: VariantCounts, cost: AttentionCost, one: AttentionCost
    ) -> tuple[Budget, NetworkClips, dict[str, Any]]:
        """A variant's budget, the costs of its clips, and its part of ``energy.json``.

        Args:
            found: its operations.
            cost: dynamic attention over all clips.
            one: the same of one clip.
        """
        counts, rates, profile = found.counts, found.rates, self.profile
        priced = budget(counts, profile, cost, rule=self.rule, rates=rates)
        clips = network_clips(counts, found.right, _price_of_a_clip(profile, one, self.rule))
        sides = side_by_side(counts, profile, rates, cost)
        elsewhere = dict(_elsewhere(counts, self.others, cost))
        operations = {key: side.operations for key, side in sides.items()}
        swings = tornado(operations, priced.rule_name, _known(profile), elsewhere)
        content = {
            "counts": counts.to_json(), "budget": priced.to_json(),
            "rules": {key: {"mac": side.mac_per_clip, "ac": side.ac_per_clip, "energy_pj": side.energy_pj_per_clip,
                            "rule": side.rule} for key, side in sides.items()},
            "uncertainty": {key: spread.to_json() for key, spread in clips.distributions(self.seed).items()},
            "sensitivity": swings.to_json(),
        }  # fmt: skip
        return priced, clips, content


def _pairs(variants: Collection[str]) -> Iterator[tuple[str, str]]:
    """Each network that has a baseline beside it, with the name of that."""
    for name in variants:
        if name == FLOAT:
            baseline = BASELINE
        else:
            stem = name.removesuffix(f".{EVENTS}")
            baseline = f"{stem}.{BASELINE}{name[len(stem) :]}"
        if baseline in variants:
            yield name, baseline


def _on_chip(session: Session, name: str, network: Network, counts: Counts, numbers: Numbers) -> ChipBudget:
    """The budget of a chip, on the cores on which the export placed it."""
    placement = ExportFile.of_run(session).chips[name].placement
    limit = session.config.chips.core_limit
    nominal = session.config.data.bins == "count"
    return chip_budget(
        chip_named(name), network, counts, numbers, limit_per_s=limit, placement=placement, nominal_dt=nominal
    )


def _profiles(sources: dict[str, Numbers]) -> Iterator[TechnologyProfile]:
    for numbers in sources.values():
        yield from (one for one in (numbers.own, numbers.other) if one is not None)


def _other_profiles(session: Session) -> Iterator[TechnologyProfile]:
    yield from (load_profile(name) for name in profile_names() if name != session.config.energy_profile)


def _known(profile: TechnologyProfile) -> tuple[Constant, ...]:
    return constants({"mac": profile.energy_pj.mac, "ac": profile.energy_pj.ac})


def _price_of_a_clip(profile: TechnologyProfile, attention: AttentionCost, rule: str) -> Any:
    """What prices one clip; None where the rule multiplies with rates, which a clip alone has not."""
    if rule in ("paper", "rate-flops"):
        return None
    return lambda one: budget(one, profile, attention, rule=rule).energy_pj_per_clip


def _elsewhere(counts: Counts, profiles: list[TechnologyProfile], cost: AttentionCost) -> Iterator[tuple[str, float]]:
    """The same operations under other profiles; those that lack a number or mix kinds are left out."""
    for profile in profiles:
        try:
            yield profile.name, budget(counts, profile, cost).energy_pj_per_clip
        except ConfigError:
            continue


def _same_geometry(session: Session, folded: VariantForm, profile: TechnologyProfile) -> Budget:
    """The static network's spikes on the unfolded connections: Eq. 11 is to see attention alone, not folding."""
    found = counts_of_run(session, FOLDED, folded, STATIC_UNFOLDED)
    return budget(found.counts, profile, rule=session.config.energy_rule, rates=found.rates)


def _attention_cost(session: Session, unfolded: Network, kind: str, clips: int) -> AttentionCost:
    return cost_of(kind, _gated(unfolded), unfolded.input.steps, clips, session.config.model.reduction_ratio)


def _gated(unfolded: Network) -> dict[str, tuple[int, int, int]]:
    """What each gate multiplies, ``(C, H, W)``."""
    return {layer.name: unfolded.shapes[layer.name] for layer in unfolded if isinstance(layer.op, Gate)}
