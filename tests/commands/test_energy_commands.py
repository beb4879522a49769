# SPDX-License-Identifier: Apache-2.0
"""``spikefold energy`` with gates and on measurements of a board, and ``diff``, as a user calls them."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from typer.testing import CliRunner

import spikefold.energy.prices.load
from spikefold.energy.budget import load_profile
from spikefold.energy.chip.sources import numbers_of
from spikefold.energy.outputs import read_energy
from spikefold.export.io import load_network
from spikefold.files import read_json
from spikefold.hardware.speck.board.options import Clock
from spikefold.pipeline import app
from spikefold.session import keep_config, open_session
from spikefold.stages.sweep.point import on_chips
from tests.hardware.speck.board.samna_chip import EVENT_W, IDLE_W, Board, Faults, Time
from tests.hardware.speck.board.samna_strict import samna

PROFILES = Path(spikefold.energy.prices.load.__file__).parent / "profiles"


def _call(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the small run, which the test may write into."""
    shutil.copytree(finished_run, tmp_path / "run")
    return tmp_path / "run"


def test_a_gate_decides_the_exit_code(run: Path) -> None:
    found = read_energy(run / "7_energy" / "energy.json")["networks"]["speck2f"]
    spikes = sum(layer["spikes"] for layer in found["counts"]["layers"]) / found["counts"]["clips"]
    assert spikes > 10
    code, _, err = _call("energy", str(run), "--gate", f"speck2f.spikes<{spikes + 1}", "--gate", "uncounted==0")
    assert code == 0, err
    code, _, err = _call("energy", str(run), "--gate", f"speck2f.spikes<{spikes - 1}")
    assert code == 1
    assert "speck2f: spikes" in err
    assert err.splitlines()[0] == "energy: unchanged", "a gate alone counts nothing anew"
    code, _, err = _call("energy", str(run), "--gate", "spikse<3")
    assert code == 2
    assert "spikes" in err


def test_a_run_is_inspected_as_a_file_is(run: Path) -> None:
    code, out, err = _call("inspect", str(run), "--json")
    assert code == 0, err
    folded = load_network(run / "2_fold" / "folded")
    assert [layer["name"] for layer in json.loads(out)["layers"]] == [layer.name for layer in folded]
    assert json.loads(out)["parameters"] == sum(layer.op.weight.size for layer in folded.weights) + sum(
        0 if layer.op.bias is None else layer.op.bias.size for layer in folded.weights
    )
    code, _, err = _call("inspect", str(run / "2_fold"))
    assert (code, "no run there" in err) == (6, True)


def test_a_sweep_reads_what_a_report_says(run: Path) -> None:
    report = read_json(run / "report.json")
    found = on_chips(run)
    assert list(found) == ["speck2f", "loihi2"]
    for chip, one in found.items():
        variant = report["on_chip"][chip]["variant"]
        (step,) = [step for step in report["accuracy_ladder"] if step["name"] == variant]
        assert (one.accuracy, one.spikes) == (step["accuracy"], step["spikes_per_clip"])
        assert one.spikes > 10
        assert one.cores == report["fit"][chip]["cores"] > 1
        assert one.energy_of == "chip"
        assert one.energy_uj == report["energy"]["networks"][variant]["chip"]["power"]["total_uj"] > 1


class Silent:
    """Hears what a stage says, and passes it on to nobody."""

    def line(self, text: str) -> None:
        """A finished fact."""

    def progress(self, task: str, done: int, of: int, note: str = "") -> None:
        """A step."""


def test_a_gate_on_what_nobody_knows_fails_and_says_what_would_make_it_known(run: Path, tmp_path: Path) -> None:
    found = read_energy(run / "7_energy" / "energy.json")["networks"]
    rest = found["speck2f"]["chip"]["numbers"]["static_uj"]
    assert rest > 1
    code, _, err = _call(
        "energy",
        str(run),
        "--gate",
        f"speck2f.static_uj<{rest * 1.001}",
        "--gate",
        "peak_core_synops_per_s>0",
        "--gate",
        "speck2f.chip_energy_uj<1e9",
        "--gate",
        "break_even>0",
        "--gate",
        "loihi2.step_time_us<1e9",
        "--gate",
        "speck2f.events.sensor_uj>0",
    )
    assert code == 0, err
    unknown = (
        "speck2f.smallest_dt_us<1e9",
        "loihi2.sensor_uj>0",
        "float.static_uj<1e9",
    )
    code, _, err = _call(
        "energy",
        str(run),
        *(part for gate in unknown for part in ("--gate", gate)),
        "--gate",
        f"speck2f.static_uj<{rest * 0.999}",
    )
    assert code == 1
    assert "4 gates do not hold" in err
    for told in (
        "chips.core_limit",
        "no sensor in loihi2",
        "only a chip's network has it",
    ):
        assert told in err, told
    # what the user then gives makes each of them known
    csv = tmp_path / "board.csv"
    csv.write_text("synops_per_s,power_mw\n0,0.42\n1e6,0.44\n2e6,0.46\n5e6,0.52\n", encoding="utf-8")
    out = tmp_path / "mine.toml"
    assert _call("energy", "calibrate", str(csv), "--out", str(out), "--device", "speck2f no. 7")[0] == 0
    sets = (f"chips.power.speck2f={out}", "chips.power.loihi2=loihi1-presilicon", "chips.core_limit=500000")
    keep_config(open_session(run, Silent(), sets, ("chips",)))
    code, _, err = _call("energy", str(run), *(part for gate in unknown[:1] for part in ("--gate", gate)))
    assert code == 0, err
    chip = read_energy(run / "7_energy" / "energy.json")["networks"]["speck2f"]["chip"]
    counts = found["speck2f"]["counts"]
    synops = sum(layer["events"] for layer in counts["layers"]) / counts["clips"]
    assert synops > 10_000
    assert chip["numbers"]["event_energy_uj"] == pytest.approx(20e-6 * synops)
    peak = max(core["peak_per_s"] for core in chip["cores"])
    assert chip["numbers"]["smallest_dt_us"] == pytest.approx(peak * counts["dt_us"] / 500_000, abs=1)
    assert {core["light"] for core in chip["cores"]} >= {"amber", "green"}


def test_every_chip_network_has_its_budget_on_the_cores_of_its_export(finished_run: Path) -> None:
    networks = read_energy(finished_run / "7_energy" / "energy.json")["networks"]
    exported = read_json(finished_run / "4_export" / "export.json")["chips"]
    simulated = read_json(finished_run / "5_simulate" / "simulate.json")["variants"]
    quoted = ["speck2f", "speck2f.events", "loihi2"]
    beside = ["speck2f.vanilla", "speck2f.vanilla.events", "loihi2.vanilla"]
    assert {name for name, one in networks.items() if one.get("chip")} == {*quoted, *beside}
    for name in (*quoted[:2], *beside[:2]):
        cores = [number for core in networks[name]["chip"]["cores"] for number in core["numbers"]]
        assert sorted(cores) == sorted(exported["speck2f"]["placement"].values())
        assert len(cores) == 3
    # what the event-driven simulator saw on each core is what the fan-out of the spikes gives
    loads = {load["layer"]: load for load in simulated["speck2f.events"]["loads"]}
    for core in networks["speck2f.events"]["chip"]["cores"]:
        load = loads[core["layer"]]
        assert core["peak_per_s"] == pytest.approx(load["peak_synops_per_s"], rel=1e-12)
        assert core["mean_per_s"] == pytest.approx(load["mean_synops_per_s"], rel=1e-12)
        assert core["peak_per_s"] > core["mean_per_s"] > 10_000


def test_parts_sum_to_totals_exactly(finished_run: Path) -> None:
    results = read_energy(finished_run / "7_energy" / "energy.json")
    powers = []
    for network in results["networks"].values():
        budget, counts, mac_pj = network["budget"], network["counts"], results["profile"]["energy_pj"]["mac"]["value"]
        assert (
            sum(layer["energy_pj_per_clip"] for layer in budget["layers"])
            + (budget["attention_macs_per_clip"] * mac_pj)
            == budget["energy_pj_per_clip"]
            > 0
        )
        assert sum(layer["ac"] for layer in budget["layers"]) == budget["ac"]
        if (chip := network.get("chip")) is None:
            continue
        powers.append((chip["power"], counts, "events" if chip["event_driven"] else "weighted"))
        if chip["beside"] is not None:
            powers.append((chip["beside"]["power"], counts, "pairs"))
    assert len(powers) == 8  # three of the network, three of its baseline, and Loihi 1 beside Loihi 2 twice
    for power, counts, field in powers:
        assert power["dynamic"][0]["name"].startswith("synaptic operations")
        assert power["dynamic"][0]["per_clip"] * counts["clips"] == pytest.approx(
            sum(layer[field] for layer in counts["layers"]), rel=1e-15
        )
        for part in ("static", "dynamic"):
            energies = [term["energy_uj"] for term in power[part]]
            assert power[f"{part}_uj"] == (None if None in energies else sum(energies))
            for end, total in zip(("low_uj", "high_uj"), power["bands_uj"][part] or (), strict=False):
                assert total == sum(term[end] for term in power[part])
        known = power["dynamic_uj"] is not None
        assert power["total_uj"] == (power["static_uj"] + power["dynamic_uj"] if known else None)
        assert power["static_uj"] > 1
    assert all(power["dynamic_uj"] is not None for power, _, _ in powers)  # known, or bounded by published power


def test_every_constant_of_the_report_links_to_the_line_that_it_stands_on(finished_run: Path) -> None:
    results = read_energy(finished_run / "7_energy" / "energy.json")
    page = (finished_run / "report.html").read_text(encoding="utf-8")
    constants = {one["where"]: one for one in results["constants"]}
    for where, one in constants.items():
        file, _, line = where.partition(":")
        written = (PROFILES / file).read_text(encoding="utf-8").splitlines()[int(line) - 1]
        assert tomllib.loads(written) == {"value": one["value"]}, where
    assert {"horowitz45-fp32.toml", "speck.toml", "loihi2.toml", "loihi1-presilicon.toml"} <= {
        where.partition(":")[0] for where in constants
    }
    links = [link for one in re.findall(r'<a href="#([^"]+)"', page) if ".toml" in (link := unquote(one))]
    anchors = re.findall(r'<tr id="([^"]+)"', page)
    assert sorted(anchors) == sorted(constants)
    # each link arrives, and each constant is linked from where it is used (of the profile: what is priced with)
    assert set(links) <= set(anchors)
    used = {
        term["where"]
        for network in results["networks"].values()
        if network.get("chip")
        for power in (network["chip"]["power"], (network["chip"]["beside"] or {}).get("power"))
        for part in ("static", "dynamic", "sensor")
        for term in (power or {part: []})[part]
    }
    used |= {swing["where"] for one in results["networks"].values() for swing in one["sensitivity"]["swings"]}
    used |= set(results["networks"]["loihi2"]["chip"]["beside"]["step_time"]["where"])
    assert len(used) > 15
    assert used - {""} <= set(links)
    # whatever stands in a table in the unit of a constant has a link in its row, or is the row that it links to
    constant = re.compile(r">(unknown|[\d.e+-]+) (pJ|mW|ns)</td>")
    rows = [row for row in re.findall(r"<tr[ >].*?</tr>", page, re.DOTALL) if constant.search(row)]
    assert len(rows) > len(anchors) + 15
    assert all('href="#' in row or '<tr id="' in row for row in rows)


def test_the_page_shows_a_chips_budget_in_the_style_of_estimates(finished_run: Path) -> None:
    networks = read_energy(finished_run / "7_energy" / "energy.json")["networks"]
    page = (finished_run / "report.html").read_text(encoding="utf-8")
    parts = dict(re.findall(r'<h3 id="chip-([^"]+)">(.*?)(?=<h3)', page, re.DOTALL))
    assert set(parts) == {"speck2f", "speck2f.events", "loihi2"}
    for name, text in parts.items():
        chip = networks[name]["chip"]
        assert f'<span class="estimate">{chip["power"]["static_uj"]:,.3f}</span>' in text
        assert '<span class="estimate">unknown</span>' not in text  # the energy of the events is bounded
        low, high = chip["power"]["bands_uj"]["dynamic"]
        assert 0 <= low < chip["power"]["dynamic_uj"] <= high
        assert "bounded" in text
        for core in chip["cores"]:
            style = ' class="estimate"' if chip["estimate"] else ""
            assert f"<td{style}>{core['peak_per_s']:,.0f}</td>" in text
        assert all(key in text for key in chip["unknown"])
    assert "unknown: enter one" in parts["speck2f"]
    assert "sensor, in no sum: pixel_analog" in parts["speck2f"]
    assert "numbers of Loihi 1, pre-silicon" in parts["loihi2"]
    assert "A step takes at least" in parts["loihi2"]
    assert "A step takes" not in parts["speck2f"]


def test_the_energy_of_a_run_has_every_rule_and_its_sources(run: Path) -> None:
    found = read_energy(run / "7_energy" / "energy.json")
    assert found["profile"]["energy_pj"]["mac"]["where"].startswith("horowitz45-fp32.toml:")
    for name, network in found["networks"].items():
        assert set(network["rules"]) == {"mixed", "chip", "paper", "rate-flops", "ann", "qnn", "nonzero"}, name
        assert network["rules"]["ann"]["ac"] == 0
        layers = network["budget"]["layers"]
        assert sum(layer["ac_per_clip"] for layer in layers) == network["budget"]["ac_per_clip"]
        assert network["uncertainty"]["spikes"]["worst"] >= network["uncertainty"]["spikes"]["mean"] > 0
        assert network["counts"]["coverage"]
    assert (run / "7_energy" / "layers.csv").read_text(encoding="utf-8").count("\n") > len(found["networks"])
    assert "| speck2f |" in (run / "7_energy" / "energy.md").read_text(encoding="utf-8")


def test_added_macs_are_shown_by_the_papers_rule_and_as_executed(finished_run: Path) -> None:
    found = read_energy(finished_run / "7_energy" / "energy.json")
    added = found["attention_macs"]
    paper, executed = (added[which]["macs_per_clip"] for which in ("paper", "executed"))
    page = (finished_run / "report.html").read_text(encoding="utf-8")
    table = (finished_run / "7_energy" / "energy.md").read_text(encoding="utf-8")
    assert added["kind"].startswith("asa")
    assert paper > 0 < executed != paper
    dynamic = {network["budget"]["attention_macs_per_clip"] for network in found["networks"].values()} - {0}
    assert dynamic == {executed}
    assert f"{paper:,} MACs a clip by the paper's rule" in table
    assert f"{executed:,} as executed" in table
    assert f"{paper:,} MACs a clip by the paper&#39;s rule" in page
    assert f"{executed:,} as executed" in page


def test_a_run_differs_from_itself_in_nothing(run: Path, finished_run: Path) -> None:
    code, out, err = _call("diff", str(finished_run), str(run), "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["paired"]
    assert {network["spikes"]["difference"] for network in found["networks"].values()} == {0}
    assert len(found["networks"]) > 5
    code, out, _ = _call("diff", str(finished_run), str(run))
    assert code == 0
    assert "; paired: equal frames and labels" in out.splitlines()[0]
    shutil.rmtree(run / "7_energy")
    code, _, err = _call("diff", str(finished_run), str(run))
    assert code == 6
    assert "spikefold energy" in err


def test_a_calibration_becomes_a_profile(tmp_path: Path) -> None:
    points = [(0.0, 0.42), (1e6, 0.44), (2e6, 0.46), (5e6, 0.52)]  # 20 pJ an operation above 0.42 mW
    csv = tmp_path / "board.csv"
    csv.write_text("synops_per_s,power_mw\n" + "".join(f"{x},{y}\n" for x, y in points), encoding="utf-8")
    out = tmp_path / "mine.toml"
    code, said, err = _call("energy", "calibrate", str(csv), "--out", str(out), "--device", "speck2f no. 7")
    assert code == 0, err
    assert str(out) in said
    assert load_profile(str(out)).energy_pj.ac.amount == pytest.approx(20.0)
    code, _, err = _call("energy", "calibrate", str(csv), "--out", str(out), "--device", "x")
    assert code == 2
    assert "would be lost" in err


class Metered(Board):
    """Counts synaptic operations, and draws `EVENT_W` for each: the board of the other tests, for each event."""

    synops = 0

    def _fired(self, number: int, core: Any, c: int, y: int, x: int) -> Iterator[tuple[int, int, int]]:
        dims = core.dimensions
        size, stride, padding = dims.output_shape.size, dims.stride, dims.padding
        taps = [
            sum(0 <= at + pad - out * step < dims.kernel_size for out in range(outputs))
            for at, pad, step, outputs in ((y, padding.y, stride.y, size.y), (x, padding.x, stride.x, size.x))
        ]
        synops = taps[0] * taps[1] * dims.output_shape.feature_count
        self.synops += synops
        self.busy += synops - 1
        return super()._fired(number, core, c, y, x)


def test_a_run_on_a_board_becomes_a_profile(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time()
    board = Metered(clock, Faults())
    monkeypatch.setattr("spikefold.hardware.speck.board.device.load", lambda: samna({"Speck2fDevKit": board}))
    monkeypatch.setattr("spikefold.hardware.speck.board.run.Clock", lambda: Clock(clock.now, clock.sleep))
    code, _, err = _call("validate", str(run), "--on", "speck2fdevkit:0", "--clips", "6", "--repeats", "2")
    assert code == 0, err
    # counted from the reported spikes as the chip itself counts them
    assert sum(read_json(run / "6_validate" / "board.json")["synops"]) == board.synops > 10_000
    out = tmp_path / "mine.toml"
    code, said, err = _call("energy", "calibrate", str(run), "--out", str(out), "--device", "stand-in")
    assert code == 0, err
    assert "7 points" in said
    profile = load_profile(str(out))
    # a sample is a mean over 10 ms: EVENT_W of it is so much energy; how many samples fall on a clip is rounded
    assert profile.energy_pj.ac.amount == pytest.approx(EVENT_W / 100 * 1e12, rel=0.1)
    assert profile.power_mw is not None
    most_mw = profile.power_mw.rails["logic"].bounds[1]
    assert profile.power_mw.static.amount == pytest.approx((IDLE_W[1] + IDLE_W[2]) * 1e3, abs=0.02 * most_mw)
    assert profile.power_mw.static.bounds[0] <= (IDLE_W[1] + IDLE_W[2]) * 1e3 <= profile.power_mw.static.bounds[1]
    assert "0.1 mW offset of the meter" in profile.power_mw.static.band
    assert numbers_of(("speck2f",), {"speck2f": str(out)})["speck2f"].own == profile  # as --set chips.power takes it


def test_one_run_on_a_board_is_no_line_and_no_run_is_none(run: Path, tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "mine.toml"), "--device", "x")
    code, _, err = _call("energy", "calibrate", str(run), *out)
    assert code == 6
    assert f"spikefold validate {run} --on speck2fdevkit:0" in err
    code, _, err = _call("energy", "calibrate", str(tmp_path / "nowhere"), *out)
    assert code == 6
    assert "cannot read the measurements" in err
    assert not (tmp_path / "mine.toml").exists()


def test_an_unknown_price_is_told_before_training(program: Any, tmp_path: Path) -> None:
    done = program("run", "--data", "digits", "--out", str(tmp_path / "r"), "--set", "energy_profile=speck",
                   "--set", "data.train=20", "--set", "data.test=10", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "calibrate" in done.stderr
    assert not (tmp_path / "r").exists()
