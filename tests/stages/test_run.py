# SPDX-License-Identifier: Apache-2.0
"""One whole run: what it writes, what the report says, and each verb alone on its files."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

CHIPS = {"speck2f": "sinabs discretised", "loihi2": "lava fixed-point"}


@pytest.fixture(scope="module")
def report(finished_run: Path) -> dict[str, Any]:
    return json.loads((finished_run / "report.json").read_text(encoding="utf-8"))


def test_accuracies_stand_at_their_keys(report: dict[str, Any]) -> None:
    assert {"float", "vanilla", "static", "folded", "speck2f", "loihi2"} <= set(report["accuracy"])
    assert all(0 <= accuracy <= 1 for accuracy in report["accuracy"].values())
    assert report["accuracy"]["float"] > 0.15  # ten classes: the training did something


@pytest.mark.parametrize("chip", CHIPS)
def test_parity_names_its_runners_and_how_much_it_compared(report: dict[str, Any], chip: str) -> None:
    parity = report["parity"][chip]
    assert parity["mismatches"] == 0
    assert parity["runners"] == ["reference", "torch", CHIPS[chip]]
    assert (parity["layers"], parity["steps"], parity["clips"]) == (3, 5, 6)
    assert parity["neurons"] == 6 * 17 * 17 + 8 * 8 * 8 + 40
    assert parity["spikes"] > 1000
    by_runner = {c["runners"][1]: c for c in parity["comparisons"]}
    assert by_runner["torch"]["clips"] == 6
    assert by_runner[CHIPS[chip]]["clips"] == 2
    assert by_runner[CHIPS[chip]]["spikes"] > 300


def test_every_fold_was_proven_on_spikes(report: dict[str, Any]) -> None:
    assert [p["pass"] for p in report["passes"]] == ["fold_batchnorm", "fold_attention"]
    for proof in report["passes"]:
        assert proof["spikes"] > 1000
        assert (proof["layers"], proof["clips"], proof["steps"]) == (3, 6, 5)
        assert all(max(root["distance"]) <= root["bound"] < 1e-9 for root in proof["roots"])


def test_the_ladder_has_every_variant_and_says_what_each_changed(report: dict[str, Any]) -> None:
    variants = {variant["name"]: variant for variant in report["accuracy_ladder"]}
    for chip in CHIPS:
        way = [name for name in variants if name.startswith(chip) and "vanilla" not in name]
        # Speck has no leak; Loihi has
        assert (f"{chip}.target" in way) == (chip == "speck2f") == bool(report["replaced_neurons"][chip])
        events = [f"{chip}.events"] if chip == "speck2f" else []
        assert way[-3 - len(events) :] == [f"{chip}.adapted", chip, f"{chip}.simulated", *events]
        assert variants[chip]["changed"]["since"] == f"{chip}.adapted"
        assert variants[f"{chip}.simulated"]["clips"] == 2
        assert report["adapted"][chip]["epochs"] == 2
    assert list(variants)[:5] == ["float", "vanilla", "constant", "static", "folded"]
    assert variants["static"]["changed"]["layers"]["sn1"]["flips"] > 0
    # folding is exact: what float32 and float64 round otherwise is all that may differ
    folded = variants["folded"]["changed"]
    assert (
        sum(layer["flips"] for layer in folded["layers"].values()) < 1e-3 * variants["folded"]["spikes_per_clip"] * 30
    )
    for variant in report["accuracy_ladder"]:
        low, high = variant["interval"]
        assert low <= variant["accuracy"] <= high
        assert variant["spikes_per_clip"] > 0


def test_the_baseline_stands_beside_the_network_on_each_chip(report: dict[str, Any], finished_run: Path) -> None:
    variants = {variant["name"]: variant for variant in report["accuracy_ladder"]}
    beside = {"speck2f": "speck2f.vanilla", "speck2f.events": "speck2f.vanilla.events", "loihi2": "loihi2.vanilla"}
    for name, baseline in beside.items():
        assert variants[baseline]["spikes_per_clip"] > 10
        assert variants[baseline]["synops_per_clip"] > 1000
        spikes = report["energy"]["paired_on_chips"][name]["spikes"]
        assert spikes["difference"] == pytest.approx(
            variants[name]["spikes_per_clip"] - variants[baseline]["spikes_per_clip"]
        )
        assert {"total_uj", "numbers"} & set(report["energy"]["networks"][baseline]["chip"])
    assert set(report["energy"]["paired_on_chips"]) == set(beside)
    assert set(report["adapted_baselines"]) == set(CHIPS)
    assert all((finished_run / "4_export" / chip / "vanilla.safetensors").is_file() for chip in CHIPS)


def test_the_report_says_what_of_the_saving_is_attentions(report: dict[str, Any]) -> None:
    found, variants = report["attention_share"], {one["name"]: one for one in report["accuracy_ladder"]}
    for name, variant in (("baseline", "vanilla"), ("constant", "constant"), ("attention", "float")):
        assert found[name]["spikes_per_clip"] == variants[variant]["spikes_per_clip"] > 0
    saved = variants["vanilla"]["spikes_per_clip"] - variants["float"]["spikes_per_clip"]
    assert found["saved_spikes_per_clip"] == saved
    assert variants["constant"]["changed"]["layers"]["sn1"]["flips"] > 0


def test_the_static_form_was_chosen_from_what_each_target_carries(report: dict[str, Any]) -> None:
    for target, choice in report["choices"].items():
        candidates = {c["form"]: c["loss"] for c in choice["candidates"]}
        assert candidates[choice["form"]] == min(candidates.values())
        assert set(candidates) == ({"mask", "channel"} if target in CHIPS else {"mask", "channel", "rank1", "neuron"})
    assert all(0 <= gate["shares"]["by_channel_and_position"] <= 1 for gate in report["gates"].values())


def test_energy_parts_sum_to_their_totals_and_equation_11_follows(report: dict[str, Any]) -> None:
    networks = report["energy"]["networks"]
    for network in networks.values():
        budget = network["budget"]
        assert sum(la["ac_per_clip"] for la in budget["layers"]) == budget["ac_per_clip"]
        mac = sum(la["mac_per_clip"] for la in budget["layers"]) + budget["attention_macs_per_clip"]
        assert mac == budget["mac_per_clip"]
    for name, attended in (("dynamic", networks["float"]["budget"]), ("static", None)):
        eq11 = report["energy"]["eq11"][name]
        expected = 4.6 * eq11["added_macs_per_clip"] - 0.9 * eq11["removed_acs_per_clip"]
        assert eq11["energy_pj_per_clip"] == pytest.approx(expected, rel=1e-12)
        if attended is not None:
            baseline = networks["vanilla"]["budget"]
            assert eq11["removed_acs_per_clip"] == baseline["ac_per_clip"] - attended["ac_per_clip"]


def test_what_was_not_run_is_said(report: dict[str, Any]) -> None:
    assert {item["what"] for item in report["not_run"]} == {"Speck2f devkit", "Loihi 2 hardware"}


def test_every_artefact_exists_and_the_configuration_is_resolved(finished_run: Path, report: dict[str, Any]) -> None:
    assert len(report["artefacts"]) >= 12
    for name in report["artefacts"]:
        assert (finished_run / "4_export" / name).stat().st_size > 0
    resolved = tomllib.loads((finished_run / "config.toml").read_text(encoding="utf-8"))
    assert resolved["data"]["source"] == "digits"
    assert resolved["model"]["channels"] == [6, 8]
    assert resolved["data"]["downsample"] == 1
    assert resolved["data"]["dt_us"] > 10_000
    assert (finished_run.parent / "latest").resolve() == finished_run.resolve()
    assert not [path for path in finished_run.rglob("*") if path.name.endswith(".part")]


def test_the_report_holds_no_path_of_this_machine(finished_run: Path) -> None:
    for name in ("report.json", "report.html"):
        text = (finished_run / name).read_text(encoding="utf-8")
        assert str(finished_run.parent) not in text
        assert str(Path.home()) not in text


def test_what_was_repaired_in_the_data_is_said(finished_run: Path, report: dict[str, Any]) -> None:
    assert report["training"]["repairs"]["what"] == "nothing"
    assert "repaired in it: nothing" in (finished_run / "report.html").read_text(encoding="utf-8")


def test_confusions_are_of_what_is_quoted_and_of_the_trained_network(report: dict[str, Any]) -> None:
    assert list(report["confusion"]) == ["speck2f.events", "loihi2", "float"]
    for name, matrix in report["confusion"].items():
        assert len(matrix) == len(report["classes"]) == len(matrix[0])
        assert sum(map(sum, matrix)) == report["clips"]
        right = sum(row[place] for place, row in enumerate(matrix))
        assert right == round(report["accuracy"][name] * report["clips"])


def test_the_page_is_self_contained(finished_run: Path) -> None:
    page = (finished_run / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg ") == 6 + 1 + 1 + 3, "pictures, energies of the chips, spread, tornados"
    for outside in ("src=", 'href="http', "url(http", "<link", "import("):
        assert outside not in page
    assert page.count("<script>") == page.count("<script") == 1, "the one that sorts tables"
    assert len(page) < 2_000_000


def test_each_stage_runs_alone_and_gives_the_same_files(program: Any, finished_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished_run, copy)
    before = {name: (copy / name).read_bytes() for name in ("report.json", "7_energy/energy.json")}
    for stage in ("2_fold", "3_adapt", "4_export", "5_simulate", "7_energy"):
        shutil.rmtree(copy / stage)
    for verb in ("fold", "adapt", "export", "simulate", "validate", "energy", "report"):
        done = program(verb, str(copy))
        assert done.returncode == 0, done.stderr
    report = json.loads((copy / "report.json").read_text(encoding="utf-8"))
    expected = json.loads(before["report.json"])
    assert report.pop("run") == "copy"
    expected.pop("run")
    assert report == expected
    assert (copy / "7_energy" / "energy.json").read_bytes() == before["7_energy/energy.json"]


def test_validate_fails_with_the_place_when_a_weight_of_the_chip_is_changed(
    program: Any, finished_run: Path, tmp_path: Path
) -> None:
    from spikefold.export.io import load_network, save_network
    from spikefold.export.ops import Conv2d

    copy = tmp_path / "copy"
    shutil.copytree(finished_run, copy)
    path = copy / "4_export" / "speck2f" / "network"
    network = load_network(path)
    layers = list(network.layers)
    conv = layers[0].op
    assert isinstance(conv, Conv2d)
    weight = conv.weight.copy()
    weight[0] = -weight[0]
    from dataclasses import replace

    layers[0] = replace(layers[0], op=replace(conv, weight=weight))
    save_network(network.rewritten(layers, "planted"), path)
    done = program("validate", str(copy))
    assert done.returncode == 1, done.stderr
    assert "reference = sinabs discretised" in done.stderr
    assert "layer sn1" in done.stderr
    assert "neuron (c, y, x) (0," in done.stderr
    evidence = json.loads((copy / "6_validate" / "validate.json").read_text(encoding="utf-8"))
    assert evidence["chips"]["speck2f"]["mismatches"] > 0
    assert evidence["chips"]["loihi2"]["mismatches"] == 0


def test_a_stage_without_its_predecessor_says_what_to_run(program: Any, finished_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished_run, copy)
    shutil.rmtree(copy / "5_simulate")
    done = program("energy", str(copy))
    assert done.returncode == 6
    assert "the stage 'simulate' has not run" in done.stderr
    assert f"spikefold simulate {copy}" in done.stderr


def test_progress_is_plain_lines_when_nobody_watches(program: Any, finished_run: Path) -> None:
    done = program("report", str(finished_run))
    assert "\x1b" not in done.stdout + done.stderr


def test_a_stage_takes_settings_that_only_later_stages_depend_on(
    program: Any, finished_run: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished_run, copy)
    refused = program("adapt", str(copy), "--set", "train.epochs=9")
    assert refused.returncode == 2
    assert "this stage does not depend on train.epochs=9" in refused.stderr
    assert (copy / "config.toml").read_bytes() == (finished_run / "config.toml").read_bytes()
    counts = json.loads((copy / "7_energy" / "energy.json").read_text(encoding="utf-8"))["networks"]["speck2f"][
        "counts"
    ]
    budget = 0.8 * sum(layer["events"] for layer in counts["layers"]) / counts["clips"]
    done = program("adapt", str(copy), "--set", "adapt.epochs=1", "--synops-budget", f"{budget:.0f}")
    assert done.returncode == 0, done.stderr
    adapted = json.loads((copy / "3_adapt" / "adapt.json").read_text(encoding="utf-8"))
    for chip in CHIPS:
        assert adapted["chips"][chip]["epochs"] == 1
        assert sum(kept for kept, _ in adapted["chips"][chip]["channels"].values()) < 6 + 8
    kept = tomllib.loads((copy / "config.toml").read_text(encoding="utf-8"))["adapt"]
    assert kept["epochs"] == 1
    assert kept["synops_budget"] == round(budget)
    assert not (copy / "4_export").exists(), "what was computed from the old adaptation is stale"
