# SPDX-License-Identifier: Apache-2.0
"""The four verdicts and the findings: what is bad is said so, what cannot be told is not called either way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spikefold.energy.statistics.clips import NetworkClips
from spikefold.energy.statistics.difference import accuracy_difference
from spikefold.errors import Issue
from spikefold.hardware.fit import FitReport
from spikefold.hardware.simulators.accuracy import Accuracy
from spikefold.stages.files.simulate import LayerForm, VariantForm
from spikefold.stages.files.validate import ParityForm
from spikefold.stages.report.findings import Finding, findings
from spikefold.stages.report.verdicts import (
    Verdict,
    accuracy_verdict,
    energy_verdict,
    fit_verdict,
    judged,
    spikes_verdict,
)

CHIP = "chip"


def _right(clips: int, right: int, flipped: tuple[int, int] = (0, 0)) -> np.ndarray:
    """The first clips are right; then some of them are lost, and some others gained."""
    found = np.arange(clips) < right
    lost, gained = flipped
    found[:lost] = False
    found[clips - gained :] = True
    return found


def _clips(right: np.ndarray) -> NetworkClips:
    return NetworkClips(
        ("conv",), np.ones((1, 2, len(right)), np.int64), np.ones((1, 2, len(right)), np.int64), right
    )


def _variant(right: np.ndarray, before: str | None = None, spikes: int = 1000, rate: float = 0.1) -> VariantForm:
    found = Accuracy(int(right.sum()), len(right))
    layers = {
        "sn1": LayerForm(spikes=spikes, shown=0, rate=0.1, overflow=0, v_range=None),
        "out": LayerForm(spikes=10, shown=0, rate=rate, overflow=0, v_range=None),
    }
    return VariantForm(
        what="a variant", network="2_fold/folded", before=before, accuracy=found.share, interval=found.interval,
        ties=0, clips=len(right), spikes=spikes + 10, layers=layers, runner="x", changed=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("clips", "lost", "gained", "expected"),
    [
        (100, 0, 0, ("good", "holds")),
        (100, 2, 0, ("good", "holds")),  # exactly what is allowed
        (100, 3, 0, ("warn", "may lose")),  # three clips may be chance
        (100, 8, 5, ("warn", "may lose")),
        (100, 12, 0, ("bad", "loses accuracy")),
        (2000, 60, 0, ("bad", "loses accuracy")),
        (2000, 39, 0, ("good", "holds")),
        (2000, 0, 60, ("good", "holds")),
    ],
)
def test_a_loss_is_judged_by_the_paired_interval(
    clips: int, lost: int, gained: int, expected: tuple[str, str]
) -> None:
    before = _right(clips, int(0.9 * clips))
    after = _right(clips, int(0.9 * clips), (lost, gained))
    found = accuracy_difference(before, after, paired=True)
    assert found.difference == pytest.approx((gained - lost) / clips)
    assert judged(found, 0.02) == expected


def _accuracy(
    right: np.ndarray, more: dict[str, np.ndarray] | None = None, classes: int = 10
) -> tuple[Verdict, dict[str, VariantForm], dict[str, Any]]:
    trained = _right(100, 90)
    variants = {"float": _variant(trained), CHIP: _variant(right, "float")}
    more = more or {}
    variants |= {name: _variant(one, CHIP) for name, one in more.items()}
    clips = {name: _clips(one) for name, one in {"float": trained, CHIP: right, **more}.items()}
    verdict, told = accuracy_verdict([CHIP], variants, clips, 0.02, classes)
    return verdict, variants, told


def test_an_event_driven_chip_is_quoted_as_it_works_and_its_baseline_beside_it() -> None:
    by_events, baseline = _right(100, 90, (30, 0)), _right(100, 50)
    verdict, _, told = _accuracy(_right(100, 90), {f"{CHIP}.events": by_events, f"{CHIP}.vanilla.events": baseline})
    assert (verdict.tone, verdict.word) == ("bad", "loses accuracy")
    (line,) = verdict.lines
    assert line.number == "0.600"
    assert "by events, -0.300 to float's 0.900" in line.text
    assert "+0.100 to the baseline's 0.500" in line.text
    assert told[CHIP]["variant"] == f"{CHIP}.events"
    assert told[CHIP]["float"]["clips"] == [100, 100]
    assert told[CHIP]["baseline"]["variant"] == f"{CHIP}.vanilla.events"


def test_a_network_that_guesses_holds_nothing() -> None:
    verdict, _, _ = _accuracy(_right(100, 95), classes=1)
    assert (verdict.tone, verdict.word) == ("bad", "no better than chance")


def _parity(mismatches: int = 0, silent: tuple[str, ...] = ()) -> ParityForm:
    comparison = {
        "runners": ["reference", "torch"], "layers": 2, "steps": 4, "clips": 3, "neurons": 70, "spikes": 500,
        "mismatches": mismatches, "first": None, "silent": list(silent),
    }  # fmt: skip
    return ParityForm.model_validate(
        {key: comparison[key] for key in ("layers", "steps", "clips", "neurons", "spikes", "mismatches")}
        | {"runners": ["reference", "torch"], "comparisons": [comparison], "simulated": None},
        strict=False,
    )


@pytest.mark.parametrize(
    ("parity", "tone", "word", "number"),
    [
        (_parity(), "good", "yes", "0 mismatches"),
        (_parity(7), "bad", "MISMATCH", "7 mismatches"),
        (_parity(silent=("sn2",)), "bad", "NOT COMPARED", "1 silent layer"),
    ],
)
def test_spikes_are_right_wrong_or_not_compared(parity: ParityForm, tone: str, word: str, number: str) -> None:
    verdict = spikes_verdict({CHIP: parity})
    (line,) = verdict.lines
    assert (verdict.tone, verdict.word, line.number) == (tone, word, number)
    assert "500 spikes of 70 neurons" in line.text
    assert spikes_verdict({}).word == "nothing compared"


def test_the_worst_chip_decides() -> None:
    verdict = spikes_verdict({"one": _parity(), "other": _parity(1)})
    assert (verdict.tone, verdict.word) == ("bad", "MISMATCH")
    assert [line.tone for line in verdict.lines] == ["good", "bad"]


def test_what_does_not_fit_is_said_with_the_rule() -> None:
    broken = Issue("fan-out", "conv1", "3 layers", "2 layers", "split it")
    verdict = fit_verdict({CHIP: FitReport(CHIP, "net", (broken,), None)}, {CHIP: 9})
    assert (verdict.tone, verdict.word) == ("bad", "does not fit")
    assert verdict.lines[0].text == "conv1: fan-out: 3 layers, allowed 2 layers"


def _priced(band: list[float] | None, evidence: str = "bounded") -> dict[str, Any]:
    term = {"price": {"evidence": evidence}}
    power = {
        "static": [term], "dynamic": [term], "dynamic_uj": 4.0,
        "bands_uj": {"total": band, "dynamic": None if band is None else [3.4, 20.5]},
    }  # fmt: skip
    return {"budget": {"energy_pj_per_clip": 2.5e6}, "chip": {"power": power}}


def test_energy_is_an_interval_with_its_label_or_unknown() -> None:
    variants = {CHIP: _variant(_right(10, 9))}
    verdict = energy_verdict([CHIP], variants, {CHIP: _priced([104.8, 1124.0])})
    (line,) = verdict.lines
    assert (verdict.word, line.number) == ("bounded", "105 to 1,124 uJ a clip")
    assert line.text == "of it events 3.4 to 20.5 uJ; bounded by published power, not measured by operation"
    unknown = energy_verdict([CHIP], variants, {CHIP: _priced(None)})
    assert (unknown.tone, unknown.word, unknown.lines[0].number) == ("warn", "unknown", "2.500 uJ a clip")


def _found(
    variants: dict[str, VariantForm],
    verdict: Verdict,
    classes: int = 10,
    cap: int | None = 1,
    chosen_by_events: tuple[str, ...] = (),
) -> tuple[Finding, ...]:
    verdicts = {"accuracy": verdict, "spikes": spikes_verdict({CHIP: _parity()}), "fit": fit_verdict({}, {})}
    return findings([CHIP], variants, verdicts, classes, 0.02, {CHIP: cap}, chosen_by_events)


def test_a_run_in_which_nothing_is_wrong_has_no_findings() -> None:
    verdict, variants, _ = _accuracy(_right(100, 90))
    assert _found(variants, verdict) == ()


def test_what_is_bad_shouts_with_advice_the_worst_first() -> None:
    verdict, variants, _ = _accuracy(_right(100, 90, (12, 0)))
    whole = _right(100, 90)
    variants[f"{CHIP}.target"] = _variant(whole)
    variants[f"{CHIP}.adapted"] = _variant(_right(100, 80), f"{CHIP}.target")
    variants[CHIP] = _variant(_right(100, 78), spikes=2000, rate=0.8)
    found = _found(variants, verdict)
    told = [one.what for one in found]
    assert told[0] == f"{CHIP}: the output is saturated, 0.80 of 1 spikes a neuron and step over all classes (out)"
    assert told[1] == f"adaptation made it worse: {CHIP}.adapted 0.800, {CHIP}.target 0.900 before it"
    assert told[2].startswith(f"{CHIP} loses accuracy: 0.780")
    assert told[3] == f"{CHIP} fires 2.0 times as often as the float network"
    assert [one.tone for one in found] == ["bad", "bad", "bad", "warn"]
    by_events = [one.what for one in _found(variants, verdict, chosen_by_events=(CHIP,))]
    assert by_events == [what for what in told if "adaptation" not in what], "in steps it may be worse"
    assert all(one.to_do for one in found)
    assert not [one for one in _found(variants, verdict, cap=None) if "saturated" in one.what], "nothing caps it"
    tied = variants[CHIP].model_copy(update={"ties": 12})
    (told_tie,) = [one.what for one in _found(variants | {CHIP: tied}, verdict, cap=None) if "several" in one.what]
    assert told_tie.startswith(f"{CHIP}: in 12 of 100 clips")
    variants[CHIP] = _variant(_right(100, 78), spikes=7000)
    (shouted,) = [one for one in _found(variants, verdict) if "fires" in one.what]
    assert (shouted.tone, shouted.what) == ("bad", f"{CHIP} fires 6.9 times as often as the float network")


def test_a_layer_that_never_fires_is_a_finding_with_advice() -> None:
    verdict, variants, _ = _accuracy(_right(100, 90))
    layers = variants[CHIP].layers | {"out": variants[CHIP].layers["out"].model_copy(update={"spikes": 0})}
    variants[CHIP] = variants[CHIP].model_copy(update={"layers": layers})
    (found,) = _found(variants, verdict)
    assert found.what == f"out never fires in {CHIP}: NOT COMPARED there"
    assert "train longer" in found.to_do
    assert "model.threshold" in found.to_do
