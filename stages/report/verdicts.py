# SPDX-License-Identifier: Apache-2.0
"""The four questions that a report answers first: does it fit, is every spike right, how accurate, how much energy?

Each verdict has a tone (how a reader should take it), a word, one number to quote, and a line a chip. A chip is
quoted as it works: an event-driven one event by event, any other in clocked steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from spikefold.energy.statistics.clips import NetworkClips
from spikefold.energy.statistics.difference import AccuracyDifference, accuracy_difference
from spikefold.hardware.fit import FitReport
from spikefold.session import BASELINE, EVENTS
from spikefold.stages.files.simulate import FLOAT, VariantForm
from spikefold.stages.files.validate import ParityForm

Tone = Literal["good", "warn", "bad", "plain"]
WORST: tuple[Tone, ...] = ("bad", "warn", "good", "plain")
"""Tones, the one that a reader must see first in front."""
LOSES, MAY_LOSE, HOLDS, CHANCE = "loses accuracy", "may lose", "holds", "no better than chance"
UJ = 1e6
"""Picojoules of a microjoule."""
QUESTIONS = {
    "fit": "Does it fit?",
    "spikes": "Is every spike right?",
    "accuracy": "How accurate on the chip?",
    "energy": "How much energy?",
}
"""By key, as a reader asks them and in the order of a page."""


@dataclass(frozen=True)
class Line:
    """One chip's part of a verdict; ``link`` is where the page shows the evidence."""

    chip: str
    tone: Tone
    word: str
    number: str
    text: str
    link: str


@dataclass(frozen=True)
class Verdict:
    """The answer to one question.

    Attributes:
        key: its name in ``report.json``.
        question: as a reader would ask.
        tone: the worst of its lines.
        word: the answer in one or two words.
        lines: one a chip.
    """

    key: str
    question: str
    tone: Tone
    word: str
    lines: tuple[Line, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        return asdict(self) | {"lines": [asdict(line) for line in self.lines]}


def quoted(chip: str, variants: Mapping[str, VariantForm]) -> str:
    """The variant that is quoted for a chip: as it works, event by event where it does."""
    by_events = f"{chip}.{EVENTS}"
    return by_events if by_events in variants else chip


def baseline_of(variant: str, variants: Mapping[str, VariantForm]) -> str | None:
    """The baseline without attention that ran the same way as a quoted variant; None where none did."""
    chip, _, how = variant.partition(".")
    names = (
        (f"{chip}.{BASELINE}.{how}", f"{BASELINE}.{variant}") if how else (f"{chip}.{BASELINE}", f"{BASELINE}.{chip}")
    )
    return next((name for name in names if name in variants), None)


def _verdict(key: str, lines: list[Line], nothing: str) -> Verdict:
    question = QUESTIONS[key]
    if not lines:
        return Verdict(key, question, "plain", nothing, ())
    tone = min((line.tone for line in lines), key=WORST.index)
    word = next(line.word for line in lines if line.tone == tone)
    return Verdict(key, question, tone, word, tuple(lines))


def fit_verdict(reports: Mapping[str, FitReport], cores: Mapping[str, int | None]) -> Verdict:
    """Does it fit? Cores used, and the memory that is fullest.

    Args:
        reports: what each chip says to its integer network.
        cores: how many cores a chip has; None where they are not told one by one.
    """
    return _verdict("fit", [_fits(one, cores[chip]) for chip, one in reports.items()], "no chip")


def _fits(report: FitReport, cores: int | None) -> Line:
    link = f"#fit-{report.chip}"
    if not report.fits:
        broken = report.violations[0]
        text = f"{broken.where}: {broken.rule}: {broken.got}, allowed {broken.limit}"
        return Line(report.chip, "bad", "does not fit", f"{len(report.violations)} rules broken", text, link)
    found = report.resources
    if found is None:
        return Line(report.chip, "good", "fits", "every rule kept", "its cores are not counted here", link)
    whole = f" of {cores}" if cores else f" on {found.chips} chip{'s' * (found.chips > 1)}"
    number = f"{found.cores}{whole} {'core' if cores is None and found.cores == 1 else 'cores'}"
    if cores is None:
        number = f"{found.cores} core{'s' * (found.cores != 1)}{whole}"
    shares = [(used / allowed, layer.layer, name) for layer in found.layers
              for name, (used, allowed) in layer.memory.items() if allowed]  # fmt: skip
    text = "an estimate: the vendor's placement is not public" if found.estimate else ""
    if shares:
        share, layer, name = max(shares)
        fullest = f"fullest: {name.replace('_', ' ')} of {layer}, {share:.0%}"
        text = f"{fullest}; {text}" if text else fullest
    return Line(report.chip, "good", "fits", number, text, link)


def spikes_verdict(parities: Mapping[str, ParityForm]) -> Verdict:
    """Is every spike right? Mismatches, and how much was compared."""
    return _verdict("spikes", [_equal(*one) for one in parities.items()], "nothing compared")


def _equal(chip: str, parity: ParityForm) -> Line:
    link, runners = "#parity", " = ".join(parity.runners)
    compared = f"{parity.spikes:,} spikes of {parity.neurons:,} neurons; {runners}"
    if parity.mismatches:
        number = f"{parity.mismatches:,} mismatch{'es' * (parity.mismatches > 1)}"
        return Line(chip, "bad", "MISMATCH", number, f"in {compared}", link)
    silent = list(dict.fromkeys(name for one in parity.comparisons for name in one.silent))
    if silent:
        text = f"{', '.join(silent)} never fires; equal in {compared}"
        return Line(chip, "bad", "NOT COMPARED", f"{len(silent)} silent layer{'s' * (len(silent) > 1)}", text, link)
    return Line(chip, "good", "yes", "0 mismatches", f"in {compared}", link)


def by_chance(trained: VariantForm, classes: int) -> bool:
    """Whether a trained network may as well be guessing: chance lies in its 95 % interval, or above it."""
    return trained.interval[0] <= 1 / classes


def accuracy_verdict(
    chips: list[str],
    variants: Mapping[str, VariantForm],
    clips: Mapping[str, NetworkClips],
    allowed: float,
    classes: int,
) -> tuple[Verdict, dict[str, dict[str, Any]]]:
    """How accurate on the chip, against the float network on the same clips?

    Returns:
        The verdict, and by chip the paired differences to the float network and to the baseline on the same chip.
    """
    lines, differences = [], {}
    for chip in chips:
        name = quoted(chip, variants)
        against = accuracy_difference(clips[FLOAT].right, clips[name].right, paired=True)
        other = baseline_of(name, variants)
        beside = None if other is None else accuracy_difference(clips[other].right, clips[name].right, paired=True)
        differences[chip] = {
            "variant": name,
            "allowed": allowed,
            "float": against.to_json(),
            "baseline": None if beside is None else beside.to_json() | {"variant": other},
        }
        verdict: tuple[Tone, str] = (
            ("bad", CHANCE) if by_chance(variants[FLOAT], classes) else judged(against, allowed)
        )
        lines.append(_accurate(chip, name, variants, against, (other, beside), verdict))
    return _verdict("accuracy", lines, "no chip"), differences


def _accurate(
    chip: str,
    name: str,
    variants: Mapping[str, VariantForm],
    found: AccuracyDifference,
    baseline: tuple[str | None, AccuracyDifference | None],
    verdict: tuple[Tone, str],
) -> Line:
    low, high = found.interval
    tone, word = verdict
    how = "by events" if name != chip else "in clocked steps"
    text = (
        f"{how}, {found.difference:+.3f} to float's {variants[FLOAT].accuracy:.3f} "
        f"(95 % paired {low:+.3f} to {high:+.3f}, {found.clips[0]} clips)"
    )
    other, beside = baseline
    if other is not None and beside is not None:
        text += f"; {beside.difference:+.3f} to the baseline's {variants[other].accuracy:.3f} on the same chip"
    return Line(chip, tone, word, f"{variants[name].accuracy:.3f}", text, "#accuracy_ladder")


def judged(found: AccuracyDifference, allowed: float) -> tuple[Tone, str]:
    """What a paired difference to the float network says.

    - *loses accuracy*: below by more than is allowed, and the interval leaves no doubt that something is lost.
    - *may lose*: below by more than is allowed, but so few clips could show that by chance.
    - *holds*: not below by more than is allowed.
    """
    # a difference of shares: 0.94 - 0.96 is meant as -0.02, not as -0.020000000000000018
    if round(found.difference, 9) >= -allowed:
        return "good", HOLDS
    return ("bad", LOSES) if found.interval[1] < 0 else ("warn", MAY_LOSE)


def _short(value: float) -> str:
    """Three digits that count; whole numbers from 100 on."""
    return f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:.3g}"


def energy_verdict(chips: list[str], variants: Mapping[str, VariantForm], networks: Mapping[str, Any]) -> Verdict:
    """How much energy a clip? The chip's own budget with its interval, in uJ; what nobody knows is said."""
    lines = []
    for chip in chips:
        name = quoted(chip, variants)
        beside = networks.get(baseline_of(name, variants) or "")
        lines.append(_energy(chip, networks[name], beside, f"#chip-{name}"))
    return _verdict("energy", lines, "no chip")


def _energy(chip: str, network: Mapping[str, Any], baseline: Mapping[str, Any] | None, link: str) -> Line:
    arithmetic = network["budget"]["energy_pj_per_clip"] / UJ
    power = (network.get("chip") or {}).get("power")
    band = power and power["bands_uj"]["total"]
    if power is None or band is None:
        text = (
            f"of the chip itself; its arithmetic alone at {network['budget'].get('profile', 'the profile')}'s prices"
        )
        return Line(chip, "warn", "unknown", f"{arithmetic:,.3f} uJ a clip", text, "#energy")
    evidence = {
        term["price"]["evidence"] for term in [*power["static"], *power.get("running", []), *power["dynamic"]]
    }
    word = "bounded" if "bounded" in evidence else "estimated"
    label = "bounded by published power, not measured by operation" if word == "bounded" else "an estimate"
    number = f"{_short(band[0])} to {_short(band[1])} uJ a clip"
    events = power["bands_uj"]["dynamic"]
    text = label if events is None else f"of it events {_short(events[0])} to {_short(events[1])} uJ; {label}"
    before = baseline and ((baseline.get("chip") or {}).get("power") or {}).get("dynamic_uj")
    if before and power.get("dynamic_uj") is not None:
        text += f"; events {power['dynamic_uj'] / before - 1:+.0%} against the baseline"
    return Line(chip, "plain", word, number, text, link)
