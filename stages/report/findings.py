# SPDX-License-Identifier: Apache-2.0
"""What a reader of a report should know before the tables: what is wrong with a run, and what to do about it.

Every finding is read off files that the stages wrote. None of them stops a run: the exit code is that of the stage
that compares spikes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from spikefold.stages.files.simulate import FLOAT, VariantForm
from spikefold.stages.report.verdicts import LOSES, MAY_LOSE, Tone, Verdict, by_chance, quoted

FIRES_MORE = (1.5, 3.0)
"""Spikes on a chip over those of the float network from which a report warns, and from which it shouts."""
SATURATED = 0.5
"""Share of the most spikes that output neurons can fire, over all classes: most classes fire with all then."""
TIES = 0.1
"""Share of clips with a tie from which a report warns; 1.6 to 2.2 % were seen in networks that work."""
_LONGER = "train longer (train.epochs) or on more recordings, or lower model.threshold"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, the verdict that it belongs to, and what to do; ``link`` is where it is shown."""

    about: str
    tone: Tone
    what: str
    to_do: str
    link: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        return asdict(self)


def findings(
    chips: list[str],
    variants: Mapping[str, VariantForm],
    verdicts: Mapping[str, Verdict],
    classes: int,
    allowed: float,
    caps: Mapping[str, int | None],
    chosen_by_events: Collection[str] = (),
) -> tuple[Finding, ...]:
    """Everything that should be said first, the worst on top.

    Args:
        chips: of the run.
        variants: by name, from ``simulate.json``.
        verdicts: by key.
        classes: of the data.
        allowed: accuracy that a chip may lose.
        caps: by chip the most spikes of an output neuron in a step; None where as many as its input allows.
        chosen_by_events: chips for which recordings held out chose a network event by event: how it does in steps
            is not what it was adapted for.
    """
    found = [
        *_broken(verdicts),
        *_untrained(variants, classes),
        *_silent(chips, variants),
        *(one for chip in chips for one in _of_chip(chip, variants, caps[chip])),
        *(
            one
            for chip in chips
            if chip not in chosen_by_events
            for one in _worse(f"{chip}.adapted", variants, allowed)
        ),
        *_lost(verdicts["accuracy"]),
    ]
    return tuple(sorted(found, key=lambda one: one.tone != "bad"))


def _broken(verdicts: Mapping[str, Verdict]) -> Iterator[Finding]:
    for line in verdicts["spikes"].lines:
        if line.word == "MISMATCH":
            yield Finding(
                "spikes",
                "bad",
                f"{line.chip}: {line.number} {line.text}",
                "do not deploy this network; 6_validate/validate.json has the first mismatch with both states",
                line.link,
            )
    for line in verdicts["fit"].lines:
        if line.tone == "bad":
            yield Finding("fit", "bad", f"{line.chip}: {line.text}", "`spikefold fit RUN --apply`", line.link)


def _untrained(variants: Mapping[str, VariantForm], classes: int) -> Iterator[Finding]:
    trained = variants[FLOAT]
    if by_chance(trained, classes):
        low, high = trained.interval
        yield Finding(
            "accuracy",
            "bad",
            f"the trained network is no better than chance: {trained.accuracy:.3f} ({low:.2f} to {high:.2f}) with "
            f"{classes} classes",
            _LONGER,
            "#accuracy_ladder",
        )


def _silent(chips: list[str], variants: Mapping[str, VariantForm]) -> Iterator[Finding]:
    where: dict[str, list[str]] = {}
    for name in (FLOAT, *(quoted(chip, variants) for chip in chips), *chips):
        for layer, spikes in variants[name].layers.items():
            if not spikes.spikes and name not in where.setdefault(layer, []):
                where[layer].append(name)
    for names in dict.fromkeys(tuple(names) for names in where.values() if names):
        layers = [layer for layer, found in where.items() if tuple(found) == names]
        what = f"{', '.join(layers)} never fire{'s' * (len(layers) == 1)} in {', '.join(names)}: NOT COMPARED there"
        yield Finding("spikes", "bad", what, _LONGER, "#spikes")


def _of_chip(chip: str, variants: Mapping[str, VariantForm], cap: int | None) -> Iterator[Finding]:
    name = quoted(chip, variants)
    found, trained = variants[name], variants[FLOAT]
    if trained.spikes:
        times = found.spikes * trained.clips / (trained.spikes * found.clips)
        if times >= FIRES_MORE[0]:
            yield Finding(
                "energy",
                "bad" if times >= FIRES_MORE[1] else "warn",
                f"{name} fires {times:.1f} times as often as the float network",
                "tune within a budget: `spikefold adapt RUN --synops-budget OPERATIONS`; or train.synops_penalty",
                "#spikes",
            )
    yield from _undecided(name, found, cap)


def _undecided(name: str, found: VariantForm, cap: int | None) -> Iterator[Finding]:
    """Whether the counts of the output can tell classes apart; ``cap`` is the most spikes of a neuron and step."""
    layer, output = list(found.layers.items())[-1]
    advice = "its counts cannot tell classes apart: lower adapt.lr, or adapt.epochs = 0, or more data.steps"
    if cap is not None and output.rate >= SATURATED * cap:
        what = (
            f"{name}: the output is saturated, {output.rate:.2f} of {cap} spikes a neuron and step over all classes"
        )
        yield Finding("accuracy", "bad", f"{what} ({layer})", advice, "#clip")
    elif output.spikes and found.ties >= TIES * found.clips:
        what = f"{name}: in {found.ties} of {found.clips} clips the most spikes are those of several classes"
        yield Finding("accuracy", "warn", what, advice, "#accuracy_ladder")


def _worse(name: str, variants: Mapping[str, VariantForm], allowed: float) -> Iterator[Finding]:
    """Whether the adaptation lost accuracy."""
    after = variants.get(name)
    if after is None or after.before is None:
        return
    before = variants[after.before]
    lost = before.accuracy - after.accuracy
    if round(lost, 9) > allowed:
        yield Finding(
            "accuracy",
            "bad",
            f"adaptation made it worse: {name} {after.accuracy:.3f}, {after.before} {before.accuracy:.3f} before it",
            "run it again with a lower adapt.lr, or without: `spikefold adapt RUN --set adapt.epochs=0`",
            "#accuracy_ladder",
        )


def _lost(accuracy: Verdict) -> Iterator[Finding]:
    for line in accuracy.lines:
        if line.word in (LOSES, MAY_LOSE):
            more = "test on more clips: so few cannot tell"
            if line.tone == "bad":
                more = "look in the ladder at which step it goes; then adapt.epochs, adapt.lr, or a wider network"
            what = f"{line.chip} {line.word}: {line.number} {line.text}"
            yield Finding("accuracy", line.tone, what, more, line.link)
