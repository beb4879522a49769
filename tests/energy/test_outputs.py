# SPDX-License-Identifier: Apache-2.0
"""Files of the energy stage: read back exactly, checked against their form, sums of columns equal to totals."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefold.energy.budget import AttentionCost, budget, load_profile
from spikefold.energy.chip.budget import chip_budget
from spikefold.energy.chip.sources import numbers_of
from spikefold.energy.counts.count import Counts, count
from spikefold.energy.outputs import COLUMNS, energy_json, layers_csv, markdown, read_energy
from spikefold.energy.prices.constants import constants_used
from spikefold.energy.schema import exact, json_schema, validated
from spikefold.energy.schema_base import LARGEST_EXACT
from spikefold.energy.statistics.sensitivity import Constant, tornado
from spikefold.energy.statistics.uncertainty import distribution
from spikefold.errors import DataError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.registry import chip_named
from spikefold.hardware.simulators.trace import LayerTrace, Trace
from tests.norms import batch_norm

PROFILE = load_profile("horowitz45-fp32")


def _counts() -> Counts:
    norm = batch_norm(np.full(3, v) for v in (1.0, 0.0, 0.0, 1.0))
    one = Neuron(np.array(1.0))
    network = Network(
        InputSpec((2, 6, 6), 1000, 4),
        (
            Layer("conv|1", Conv2d(np.ones((3, 2, 3, 3)), np.ones(3), (1, 1), (1, 1))),
            Layer("bn", norm),
            Layer("sn", one),
            Layer("fc", Dense(np.ones((5, 108)))),
            Layer("out", one),
        ),
        5,
    )
    rng = np.random.default_rng(0)
    frames = rng.poisson(0.4, (4, 7, 2, 6, 6)).astype(np.uint16)
    rasters = {
        name: (rng.random((4, 7, *shape)) < 0.3).astype(np.uint16)
        for name, shape in (("sn", (3, 6, 6)), ("out", (5, 1, 1)))
    }
    return count(network, frames, Trace("x", {name: LayerTrace(raster) for name, raster in rasters.items()}))


COUNTS = _counts()


def _results() -> dict[str, Any]:
    priced = budget(COUNTS, PROFILE, AttentionCost(gate_macs=700))
    operations = {"chip": {"mac": priced.mac_per_clip, "ac": priced.ac_per_clip}}
    known = (Constant("mac", 3.0, 4.6, 5.0, "mine.toml:4"), Constant("ac", 0.9, 0.9, 0.9, "mine.toml:9"))
    network = {
        "counts": COUNTS.to_json(),
        "budget": priced.to_json(),
        "uncertainty": {"synops": distribution(COUNTS.by_clip("events")).to_json()},
        "sensitivity": tornado(operations, "chip", known).to_json(),
        "something_new": {"a": 1},
    }
    return {"profile": PROFILE.model_dump(mode="json"), "networks": {"speck2f": network}, "eq11": {}}


def _with_chip() -> dict[str, Any]:
    """The same counts as of a network on Loihi 1, whose every number is known."""
    one = Neuron(np.array(1))
    network = Network(
        InputSpec((2, 6, 6), 1000, 4),
        (
            Layer("conv|1", Conv2d(np.ones((3, 2, 3, 3), int), None, (1, 1), (1, 1))),
            Layer("sn", one),
            Layer("fc", Dense(np.ones((5, 108), int))),
            Layer("out", one),
        ),
        5,
    )
    found = chip_budget(chip_named("loihi1"), network, COUNTS, numbers_of(["loihi1"], {})["loihi1"])
    results = _results()
    results["networks"]["speck2f"]["chip"] = found.to_json()
    results["networks"]["other"] = _results()["networks"]["speck2f"]
    results["constants"] = constants_used(results["networks"]["speck2f"]["chip"], [load_profile("loihi1-presilicon")])
    return results


def test_a_chips_budget_is_read_back_and_held_to_its_form(tmp_path: Path) -> None:
    results, path = _with_chip(), tmp_path / "energy.json"
    path.write_text(energy_json(results), encoding="utf-8")
    back = read_energy(path)
    assert back["networks"]["speck2f"]["chip"] == json.loads(json.dumps(results["networks"]["speck2f"]["chip"]))
    assert len(back["constants"]) == 9  # six of power, three of time
    assert "chip" not in back["networks"]["other"]
    for break_it in (
        lambda chip: chip.update(surprise=1),
        lambda chip: chip.pop("numbers"),
        lambda chip: chip["power"]["static"][0].update(energy_uj="1"),
        lambda chip: chip["step_time"].update(light="unknown"),
        lambda chip: chip["cores"][0].update(cores=-1),
    ):
        broken = _with_chip()
        break_it(broken["networks"]["speck2f"]["chip"])
        with pytest.raises(DataError, match=r"no energy\.json") as told:
            energy_json(broken)
        assert all(issue.where.startswith("networks.speck2f.chip.") for issue in told.value.issues)


def test_cores_stand_in_the_csv_and_the_markdown() -> None:
    results = _with_chip()
    chip = results["networks"]["speck2f"]["chip"]
    rows = list(csv.DictReader(io.StringIO(layers_csv(results))))
    for row, core in zip(rows[:2], chip["cores"], strict=True):
        assert (row["layer"], int(row["cores"])) == (core["layer"], core["cores"])
        assert float(row["core_peak_synops_per_s"]) == core["peak_per_s"] > float(row["core_mean_synops_per_s"]) > 0
    assert {row["cores"] for row in rows if row["network"] == "other" or row["layer"] == "attention"} == {""}
    text = markdown(results)
    assert text.count("Intel Loihi 1") == 1
    for term in (*chip["power"]["static"], *chip["power"]["dynamic"]):
        line = next(one for one in text.splitlines() if one.startswith(f"| {term['name']} |"))
        assert f"| *{term['energy_uj']:,.3f}* |" in line
        assert line.endswith(f"| {term['where']} |")
    assert f"| chip |  |  | *{chip['power']['total_uj']:,.3f}* |" in text
    for core in chip["cores"]:
        assert f"*{core['peak_per_s']:,.0f}*" in text  # over cores that are an estimate
    assert ", ".join(chip["step_time"]["where"]) in text
    # no table is broken by a name
    for table in text.split("\n\n"):
        lines = [line.replace("\\|", "") for line in table.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1


def test_what_is_written_is_read_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "energy.json"
    path.write_text(energy_json(_results()), encoding="utf-8")
    back = read_energy(path)
    # through JSON once, for tuples are lists there
    assert back == json.loads(json.dumps({"schema": "spikefold.energy/1", **_results()}))
    assert back["networks"]["speck2f"]["counts"]["layers"][0]["events"] == COUNTS.layers[0].events > 1000


@pytest.mark.parametrize("number", [LARGEST_EXACT, LARGEST_EXACT + 1, 2**63 + 1, 10**40 + 7])
def test_whole_numbers_of_any_size_survive(tmp_path: Path, number: int) -> None:
    results = _results()
    results["networks"]["speck2f"]["counts"]["layers"][0]["dense"] = number
    text = energy_json(results)
    assert (f'"dense": "{number}"' in text) == (number > LARGEST_EXACT)
    assert (f'"dense": {number}' in text) == (number <= LARGEST_EXACT)
    path = tmp_path / "energy.json"
    path.write_text(text, encoding="utf-8")
    assert read_energy(path)["networks"]["speck2f"]["counts"]["layers"][0]["dense"] == number


def test_strings_only_where_float64_would_round() -> None:
    values = {"a": [2**53, 2**53 + 1, -(2**60)], "b": (True, 0.5, None, "x")}
    assert exact(values) == {"a": [2**53, str(2**53 + 1), str(-(2**60))], "b": [True, 0.5, None, "x"]}
    assert exact(True) is True


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("events",), 3.5),
        (("events",), True),
        (("events",), -1),
        (("events",), "12a"),
        (("events",), "-5"),
        (("input_kind",), "analog"),
        (("surprise",), 1),
    ],
)
def test_another_form_is_refused_by_place(place: tuple[str, ...], value: object) -> None:
    results = {"schema": "spikefold.energy/1", **_results()}
    results["networks"]["speck2f"]["counts"]["layers"][1][place[0]] = value
    with pytest.raises(DataError, match=r"no energy\.json") as told:
        validated(results)
    assert {issue.where for issue in told.value.issues} == {f"networks.speck2f.counts.layers.1.{place[0]}"}


def test_a_missing_part_another_schema_and_no_file_are_refused(tmp_path: Path) -> None:
    whole = {"schema": "spikefold.energy/1", **_results()}
    for broken in (
        whole | {"schema": "spikefold.energy/9"},
        whole | {"networks": {}},
        {"networks": whole["networks"]},
    ):
        with pytest.raises(DataError):
            validated(broken)
    del whole["networks"]["speck2f"]["counts"]["nasfr"]
    with pytest.raises(DataError) as told:
        validated(whole)
    assert told.value.issues[0].where.endswith("counts.nasfr")
    for text in (None, "", "[1]", "{", "[" * 100_000):
        path = tmp_path / "energy.json"
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        with pytest.raises(DataError):
            read_energy(path)
    with pytest.raises(DataError):
        energy_json({"profile": {}, "networks": {"a": {}}})


def test_the_json_schema_names_every_field_and_both_forms_of_whole_numbers() -> None:
    schema = json_schema()
    assert schema["$schema"].endswith("2020-12/schema")
    layer = schema["$defs"]["LayerForm"]
    assert set(layer["properties"]) == set(COUNTS.layers[0].to_json())
    assert layer["additionalProperties"] is False
    integer, string = layer["properties"]["events"]["anyOf"]
    assert (integer["type"], integer["maximum"]) == ("integer", 2**53)
    for number in (2**53 + 1, 10**40):
        assert re.search(string["pattern"], exact(number))
    for wrong in ("12", "-9007199254740993", "09007199254740993", "1e20"):
        assert not re.search(string["pattern"], wrong)
    assert set(schema["$defs"]["CountsForm"]["properties"]) == set(COUNTS.to_json())
    json.dumps(schema)


def test_columns_of_the_csv_add_up_to_the_totals() -> None:
    rows = list(csv.DictReader(io.StringIO(layers_csv(_results()))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["layer"] for row in rows] == ["conv|1", "fc", "attention"]
    fields = ("dense_padded", "dense", "pairs", "events", "spikes", "neuron_updates", "active_updates", "bias_adds")
    for field in (*fields, "state_accesses"):
        assert sum(int(row[field] or 0) for row in rows) == COUNTS.total(field) > 0
    made = _results()["networks"]["speck2f"]["budget"]
    for field in ("mac_per_clip", "ac_per_clip", "energy_pj_per_clip"):
        assert sum(float(row[field]) for row in rows) == pytest.approx(made[field], rel=1e-12)
    assert float(rows[2]["energy_pj_per_clip"]) == pytest.approx(700 / 7 * 4.6)


def test_the_csv_has_every_digit() -> None:
    results = _results()
    results["networks"]["speck2f"]["counts"]["layers"][0]["events"] = 10**30 + 1
    assert f",{10**30 + 1}," in layers_csv(results)


def test_markdown_has_every_layer_and_estimates_in_italics() -> None:
    text = markdown(_results(), {"speck2f": 0.875})
    assert "| speck2f | 0.875 |" in text
    assert "conv\\|1" in text
    assert f"| {COUNTS.layers[1].events:,} |" in text
    widths = {line.replace("\\|", "").count("|") for line in text.split("\n\n")[0].splitlines()}
    assert len(widths) == 1
    energies = re.findall(r"\*[\d,.]+\*", text)
    assert len(energies) == 4
    assert "every operation has a rule." in text
    results = _results()
    results["networks"]["speck2f"]["budget"]["energy_pj_per_clip"] = None
    assert "*unknown*" in markdown(results)
    assert "accuracy |  |" not in markdown(results)
