# SPDX-License-Identifier: Apache-2.0
"""Gates: what they read, what they judge, and that nothing unknown passes."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.energy.chip.budget import NUMBERS as ON_CHIP
from spikefold.energy.gate import NUMBERS, ReportGate, Unknown, evaluate, parse, scalars
from spikefold.errors import ConfigError


def _layer(name: str, scale: int) -> dict[str, Any]:
    fields = ("dense_padded", "dense", "pairs", "events", "input_events", "spikes", "bias_adds", "neuron_updates",
              "active_updates", "idle_updates", "weight_reads", "state_accesses")  # fmt: skip
    return {"name": name} | {field: scale * (index + 1) for index, field in enumerate(fields)}


NETWORK: dict[str, Any] = {
    "counts": {"clips": 4, "steps": 5, "dt_us": 1000, "layers": [_layer("conv", 100), _layer("fc", 20)],
               "uncounted": [], "nasfr": 0.05, "peak_events": 90},
    "budget": {"energy_pj_per_clip": 3e6, "mac_per_clip": 7.0, "ac_per_clip": 11.0},
    "uncertainty": {"energy_pj": {"interval": [2.5e6, 3.5e6], "p95": 4e6, "worst": 5e6, "sd": 1e5},
                    "synops": {"interval": None, "p95": 130.0, "worst": 140.0, "sd": None}},
}  # fmt: skip


def test_every_name_has_its_number() -> None:
    found = scalars(NETWORK, 0.9)
    assert set(found) == set(NUMBERS)
    expected = {
        "accuracy": 0.9, "energy_uj": 3.0, "energy_pj": 3e6, "mac": 7, "ac": 11, "nasfr": 0.05, "uncounted": 0,
        "synops": 480 / 4, "spikes": 720 / 4, "input_events": 150, "dense": 60, "state_accesses": 360,
        "synops_per_s": 480 / 4 / 5e-3, "peak_synops_per_s": 90_000,
        "energy_uj_low": 2.5, "energy_uj_high": 3.5, "energy_uj_p95": 4.0, "energy_pj_worst": 5e6,
        "synops_p95": 130, "synops_worst": 140,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    assert [found[name] for name in ("synops_low", "synops_sd", "spikes_p95")] == [None] * 3


def test_a_chips_number_is_there_or_says_what_would_make_it_known() -> None:
    found = scalars(NETWORK)
    for name in ON_CHIP:
        nothing = found[name]
        assert isinstance(nothing, Unknown)
        assert f"only a chip's network has it, as speck2f.{name}" in nothing.how
    numbers: dict[str, float | None] = dict.fromkeys(ON_CHIP, 2.5) | {"step_time_us": None}
    chip = {"numbers": numbers, "unknown": {"step_time_us": "it has no steps"}}
    found = scalars(NETWORK | {"chip": chip})
    assert {name: found[name] for name in ON_CHIP} == numbers | {"step_time_us": Unknown("it has no steps")}
    gates = parse(["step_time_us<9", "step_time_us>=0", "static_uj<2.6", "static_uj<2.5"])
    failed = evaluate(gates, {"speck2f": found})
    assert [(one.gate.text, one.got, one.why) for one in failed] == [
        ("step_time_us<9", None, "it has no steps"),
        ("step_time_us>=0", None, "it has no steps"),
        ("static_uj<2.5", 2.5, ""),
    ]
    assert str(failed[0].issue) == (
        "speck2f: step_time_us: got unknown, limit < 9. an unknown number passes no gate: it has no steps"
    )


def test_what_is_unknown_is_none() -> None:
    bare = {
        "counts": NETWORK["counts"] | {"dt_us": None, "peak_events": None},
        "budget": {"energy_pj_per_clip": None},
    }
    found = scalars(bare)
    assert [found[name] for name in ("accuracy", "energy_uj", "synops_per_s", "peak_synops_per_s", "mac")] == [
        None
    ] * 5
    assert found["synops"] == 120


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("energy_uj<50", (None, "energy_uj", "<", 50.0)),
        (" speck2f.energy_uj <= 5e1 ", ("speck2f", "energy_uj", "<=", 50.0)),
        ("speck2f.adapted.accuracy>=.9", ("speck2f.adapted", "accuracy", ">=", 0.9)),
        ("uncounted==0", (None, "uncounted", "==", 0.0)),
        ("peak_synops_per_s > -1", (None, "peak_synops_per_s", ">", -1.0)),
    ],
)
def test_gates_are_read(text: str, expected: tuple[Any, ...]) -> None:
    (gate,) = parse([text])
    assert (gate.network, gate.name, gate.op, gate.limit) == expected
    assert gate.text == text.strip()


def test_every_mistake_is_told_at_once() -> None:
    wrong = ["energy<50", "energy_uj=50", "energy_uj<50uJ", "spikes<nan", "", "energy_uj<", "<5", "a..b<1",
             "synops!=3", "energy_uj < 50 60"]  # fmt: skip
    with pytest.raises(ConfigError) as told:
        parse([*wrong, "energy_uj<50"])
    assert len(told.value.issues) == len(wrong)
    text = str(told.value)
    assert "energy_uj" in told.value.issues[0].hint or "energy_pj" in told.value.issues[0].hint
    assert "without a unit" in text
    assert "<= >= == < >" in text
    assert told.value.exit_code == 2


@settings(max_examples=150, derandomize=True)
@given(st.text(alphabet="speck2f.energy_uj<>= 5-e", max_size=25))
def test_any_text_is_a_gate_or_a_taught_mistake(text: str) -> None:
    try:
        gates = parse([text])
    except ConfigError:
        return
    assert gates[0].name in NUMBERS
    assert math.isfinite(gates[0].limit)


@pytest.mark.parametrize(
    ("op", "below", "equal", "above"),
    [
        ("<", True, False, False),
        ("<=", True, True, False),
        ("==", False, True, False),
        (">=", False, True, True),
        (">", False, False, True),
    ],
)
def test_each_operator_on_either_side_of_its_limit(op: str, below: bool, equal: bool, above: bool) -> None:
    gate = ReportGate("x", None, "synops", op, 5.0)
    assert [gate.holds(value) for value in (4.999, 5, 5.001)] == [below, equal, above]
    assert not gate.holds(None)
    assert not gate.holds(math.nan)


NETWORKS: dict[str, Any] = {
    "float": {"energy_uj": 60.0},
    "speck2f": {"energy_uj": 40.0},
    "loihi2": {"energy_uj": None},
}


def test_a_gate_without_a_network_is_for_all_or_for_the_deployed() -> None:
    gates = parse(["energy_uj<50"])
    assert [(f.network, f.got) for f in evaluate(gates, NETWORKS)] == [("float", 60.0), ("loihi2", None)]
    assert evaluate(gates, NETWORKS, ["speck2f"]) == []
    assert [f.network for f in evaluate(parse(["float.energy_uj<50"]), NETWORKS, ["speck2f"])] == ["float"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("speck2f.events.accuracy>=float-0.01", ("speck2f.events", "accuracy", ">=", 0.01, "float", "-")),
        ("speck2f.spikes <= float * 1.3", ("speck2f", "spikes", "<=", 1.3, "float", "*")),
        ("loihi2.accuracy>=speck2f.events", ("loihi2", "accuracy", ">=", 0.0, "speck2f.events", "+")),
        ("accuracy>=vanilla+1e-2", (None, "accuracy", ">=", 0.01, "vanilla", "+")),
    ],
)
def test_a_limit_may_be_another_networks_number(text: str, expected: tuple[Any, ...]) -> None:
    (gate,) = parse([text])
    assert (gate.network, gate.name, gate.op, gate.limit, gate.to, gate.sign) == expected


def test_a_gate_relative_to_another_network_holds_to_the_clip() -> None:
    numbers = {
        "float": {"accuracy": 0.95, "spikes": 1000.0},
        "speck2f": {"accuracy": 0.94, "spikes": 1300.0},
        "loihi2": {"accuracy": 0.93, "spikes": None},
    }
    gate = parse(["accuracy>=float-0.01", "spikes<=float*1.3"])
    failed = evaluate(gate, numbers, ["speck2f", "loihi2"])
    assert [(one.network, one.gate.name, one.got, one.limit) for one in failed] == [
        ("loihi2", "accuracy", 0.93, 0.94),
        ("loihi2", "spikes", None, 1300.0),
    ]
    assert str(failed[0].issue) == ("loihi2: accuracy: got 0.93, limit >= 0.94. gate 'accuracy>=float-0.01'")
    (unknown,) = evaluate(parse(["speck2f.spikes<=loihi2*2"]), numbers)
    assert (unknown.got, unknown.limit) == (1300.0, None), "what is held against something unknown does not pass"
    with pytest.raises(ConfigError, match="this run has not"):
        evaluate(parse(["speck2f.accuracy>=flaot-0.01"]), numbers)


def test_a_failure_says_what_it_got() -> None:
    known, unknown = evaluate(parse(["energy_uj<50"]), NETWORKS)
    assert str(known.issue) == "float: energy_uj: got 60, limit < 50. gate 'energy_uj<50'"
    assert "unknown" in str(unknown.issue)
    assert unknown.to_json() == {
        "gate": "energy_uj<50",
        "network": "loihi2",
        "name": "energy_uj",
        "got": None,
        "op": "<",
        "limit": 50.0,
        "why": "",
    }


def test_a_network_that_the_run_has_not_is_no_pass() -> None:
    with pytest.raises(ConfigError, match="this run has not") as told:
        evaluate(parse(["speck2.energy_uj<50"]), NETWORKS)
    assert "'speck2f'" in told.value.issues[0].hint
    with pytest.raises(ConfigError, match="this run has not"):
        evaluate(parse(["energy_uj<50"]), NETWORKS, ["speck3"])
    with pytest.raises(ConfigError, match="this run has not"):
        evaluate(parse(["energy_uj<50"]), {})
