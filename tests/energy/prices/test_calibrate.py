# SPDX-License-Identifier: Apache-2.0
"""Calibration: the line that was drawn is found, errors cover the truth, what is no line is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikefold.energy.budget import budget
from spikefold.energy.chip.power import chip_power
from spikefold.energy.counts.count import Counts, LayerCounts
from spikefold.energy.prices.calibrate import Fit, fit, fit_terms, write_profile
from spikefold.energy.prices.calibration_data import (
    Point,
    devkit_points,
    read_measurements,
    read_points,
)
from spikefold.energy.prices.load import load_profile
from spikefold.errors import ConfigError, DataError
from spikefold.files import write_json
from spikefold.hardware.speck.board.power import OFFSET_W, RAILS, rail_powers
from spikefold.session import BOARD, CONFIG
from spikefold.stage_table import VALIDATE

DAY = date(2026, 11, 21)
CLEAN = tuple(Point(rate, 0.45 + rate * 12e-9) for rate in (0.0, 1e6, 5e6, 2e7))


@given(st.floats(0.01, 50), st.floats(0.5, 500), st.lists(st.integers(0, 10**8), min_size=3, max_size=9, unique=True))
def test_a_line_is_found_again(rest_mw: float, pj: float, rates: list[int]) -> None:
    if max(rates) - min(rates) < 10**6:
        rates = [rate + i * 10**6 for i, rate in enumerate(sorted(rates))]
    found = fit([Point(rate, rest_mw + rate * pj * 1e-9) for rate in rates])
    scale = rest_mw + max(rates) * pj * 1e-9
    assert found.static_mw == pytest.approx(rest_mw, abs=1e-7 * scale)
    assert found.energy_pj == pytest.approx(pj, rel=1e-6, abs=1e-8 * scale / (max(rates) - min(rates)) * 1e9)
    assert found.points == len(rates)
    assert found.r2 == pytest.approx(1)


def test_standard_errors_are_those_of_the_textbook() -> None:
    x = np.array([0.0, 1e6, 2e6, 4e6, 8e6])
    y = 0.42 + 20e-9 * x + np.array([0.01, -0.02, 0.015, -0.01, 0.005])
    found = fit([Point(*pair) for pair in zip(x.tolist(), y.tolist(), strict=True)])
    design = np.stack([np.ones_like(x), x / 1e6], axis=1)
    (rest, slope), *_ = np.linalg.lstsq(design, y, rcond=None)
    residual = y - design @ [rest, slope]
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * (residual @ residual) / 3)
    assert (found.static_mw, found.energy_pj) == pytest.approx((rest, slope * 1e3), rel=1e-9)
    assert (found.static_se_mw, found.energy_se_pj) == pytest.approx((errors[0], errors[1] * 1e3), rel=1e-9)
    assert found.r2 == pytest.approx(1 - residual @ residual / ((y - y.mean()) ** 2).sum(), rel=1e-9)
    assert found.t == pytest.approx(3.18245, abs=1e-5)  # 3 degrees of freedom, 95 % two-sided


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    rates = np.linspace(0, 2e7, 8)
    hits = 0
    for _ in range(400):
        powers = 0.42 + 20e-9 * rates + random.normal(0, 0.02, rates.size)
        low, high = fit(
            [Point(*pair) for pair in zip(rates.tolist(), powers.tolist(), strict=True)]
        ).energy_interval_pj
        hits += low <= 20 <= high
    assert 0.92 <= hits / 400 <= 0.98


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ((), "0 different rates"),
        (CLEAN[:2], "2 different rates"),
        ((CLEAN[0], CLEAN[0], CLEAN[1], CLEAN[1]), "2 different rates"),
        (tuple(Point(5.0, 0.4 + i) for i in range(4)), "1 different rates"),
        (tuple(replace(p, power_mw=2 - p.power_mw) for p in CLEAN), "does not grow"),
        (tuple(replace(p, power_mw=0.5) for p in CLEAN), "does not grow"),
        (tuple(replace(p, power_mw=p.power_mw - 0.46) for p in CLEAN), "no chip delivers power"),
    ],
)
def test_what_is_no_line_is_refused(points: tuple[Point, ...], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        fit(points)
    assert caught.value.hint


def _counts() -> Counts:
    layer = LayerCounts("conv1", "binary", 9999, 8888, 4000, 4000, 50, 200, 64, neuron_updates=64 * 108)
    return Counts(2, 54, (layer,), 10_000)


def test_the_written_profile_prices_what_speck_could_not(tmp_path: Path) -> None:
    found = fit(CLEAN)
    made = write_profile(found, tmp_path / "my-board.toml", device='Speck2f, "no. 7"', when=DAY, chip="speck")
    again = load_profile(str(tmp_path / "my-board.toml"))
    assert made == again
    assert again.name == "my-board"
    ac = again.energy_pj.ac
    assert (ac.amount, ac.evidence, ac.kind) == (found.energy_pj, "measured", "marginal")
    for said in ("2026-11-21", 'Speck2f, "no. 7"', "4 points"):
        assert said in ac.source
    assert ac.where.startswith("my-board.toml:")
    made_budget = budget(_counts(), again, rule="chip")
    assert made_budget.energy_pj_per_clip == pytest.approx(2000 * 12, rel=1e-6)
    assert chip_power(_counts(), again).static_uj == pytest.approx(0.45 * 540, rel=1e-6)
    with pytest.raises(ConfigError, match="no number is known"):
        _ = again.energy_pj.mac.amount


def test_the_offset_of_the_meter_widens_rest_and_not_the_slope(tmp_path: Path) -> None:
    noisy = Fit(0.42, 0.01, 20.0, 2.0, 0.99, 5, 3.0, {"io": (0.06, 0.05, 0.08), "pixel_analog": (0.6, 0.6, 0.6)})
    found = write_profile(noisy, tmp_path / "b.toml", device="x", when=DAY, offset_mw=0.1, chip="speck")
    assert found.power_mw is not None
    assert found.power_mw.static.bounds == pytest.approx((0.29, 0.55))
    assert found.energy_pj.ac.bounds == pytest.approx((14, 26))
    assert "0.1 mW offset" in found.power_mw.static.band
    assert found.power_mw.rails["io"].bounds == (0.05, 0.08)
    assert found.power_mw.sensor["pixel_analog"].amount == 0.6
    wide = replace(noisy, energy_se_pj=9.0)
    assert wide.energy_interval_pj == (0, 47)


@pytest.mark.parametrize(
    ("name", "device", "offset"),
    [("b.txt", "x", 0.0), ("b.toml", " ", 0.0), ("b.toml", "x\n", 0.0), ("b.toml", "x", -1.0)],
)
def test_a_profile_without_a_name_is_not_written(name: str, device: str, offset: float, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no profile can be written"):
        write_profile(fit(CLEAN), tmp_path / name, device=device, when=DAY, offset_mw=offset, chip="speck")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="cannot write the profile"):
        write_profile(fit(CLEAN), tmp_path / "none" / "b.toml", device="x", when=DAY, chip="speck")


def _csv(tmp_path: Path, text: str) -> Path:
    (tmp_path / "power.csv").write_text(text, encoding="utf-8")
    return tmp_path / "power.csv"


def test_measurements_of_a_file(tmp_path: Path) -> None:
    plain = read_points(_csv(tmp_path, "synops_per_s,power_mw\n0,0.42\n\n1e6, 0.44\n"))
    assert plain == (Point(0.0, 0.42), Point(1e6, 0.44))
    rails = read_points(_csv(tmp_path, "\ufeffsynops_per_s, ram_mw,logic_mw,io_mw\n5,0.05,0.37,0.06\n"))
    total: Any = pytest.approx(0.42)
    assert rails == (Point(5.0, total, {"ram": 0.05, "logic": 0.37, "io": 0.06}),)
    both = read_points(_csv(tmp_path, "power_mw,synops_per_s,ram_mw\n0.5,7,0.05\n"))
    assert both == (Point(7.0, 0.5, {"ram": 0.05}),)
    # a power that was measured is not replaced by a sum
    whole = read_points(_csv(tmp_path, "synops_per_s,power_mw,ram_mw,logic_mw\n7,0.5,0.05,0.37\n"))
    assert whole == (Point(7.0, 0.5, {"ram": 0.05, "logic": 0.37}),)


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("synops_per_s,power_w\n1,2\n", ["known columns", "a power"]),
        ("rate,power_mw,power_mw\n1,2,3\n", ["known columns", "columns once", "a rate"]),
        ("synops_per_s,ram_mw\n1,2\n", ["a power"]),
        ("synops_per_s,power_mw\n1\n2,x\n-1,nan\ninf,1\n", ["one value a column", *["numbers of 0 or more"] * 4]),
    ],
)
def test_every_wrong_column_and_row_is_named(text: str, rules: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not usable") as caught:
        read_points(_csv(tmp_path, text))
    assert [issue.rule for issue in caught.value.issues] == rules
    if "one value a column" in rules:
        assert [issue.where for issue in caught.value.issues[:2]] == ["line 2", "line 3, power_mw"]


def test_an_empty_or_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the measurements"):
        read_points(_csv(tmp_path, ""))
    with pytest.raises(DataError, match="cannot read the measurements"):
        read_points(tmp_path / "none.csv")
    assert read_points(_csv(tmp_path, "synops_per_s,power_mw\n")) == ()


def _run(**changes: Any) -> dict[str, Any]:
    """What ``board.json`` says of power: two clips of 10 and 5 million operations a second, and rails in watts."""
    idle = [(0, 60e-6), (1, 50e-6), (2, 360e-6), (2, 380e-6), (4, 600e-6)]
    power = [vars(rail) for rail in rail_powers(idle, [])]
    clips = [[(0, 70e-6), (1, 90e-6), (2, 770e-6)], [(1, 70e-6), (2, 570e-6)]]
    assert {rail["rail"] for rail in power} < set(RAILS.values())
    return {
        "target": "speck2fdevkit:0",
        "synops": [20_000_000, 5_000_000],
        "replayed_us": [2_000_000, 1_000_000],
        "problems": [],
        "power_missing": None,
        "power": power,
        "clip_power": [[vars(rail) for rail in rail_powers((), clip)] for clip in clips],
    } | changes


def test_a_devkit_run_is_a_point_at_rest_and_one_for_each_clip() -> None:
    rest, busy, half = devkit_points(_run())
    assert (rest.synops_per_s, busy.synops_per_s) == (0, pytest.approx(1e7))
    assert (rest.power_mw, busy.power_mw) == pytest.approx((0.42, 0.86))
    assert rest.rails_mw == pytest.approx({"io": 0.06, "ram": 0.05, "logic": 0.37, "pixel_analog": 0.6})
    assert set(busy.rails_mw) == {"io", "ram", "logic"}
    found = fit([rest, busy, half])
    assert (found.static_mw, found.energy_pj) == pytest.approx((0.42, 44), rel=1e-9)
    assert found.rails_mw["ram"] == pytest.approx((0.07, 0.05, 0.09))


def test_a_clip_without_a_sample_of_both_rails_is_left_out() -> None:
    whole = _run()
    short = [whole["clip_power"][0], whole["clip_power"][1][:1]]
    assert devkit_points(_run(clip_power=short)) == devkit_points(whole)[:2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"problems": ["clip 3: cut"]}, "no evidence: clip 3: cut"),
        ({"power_missing": "not asked for"}, "no power: not asked for"),
        ({"power": []}, "rails ram, logic"),
        ({"clip_power": [[], []]}, "rails ram, logic"),
        ({"clip_power": [[]]}, "no result of a devkit run"),
        ({"replayed_us": [0, 0]}, "no activity"),
        ({"synops": [5, 0]}, "no activity"),
        ({"synops": [float("nan"), 1]}, "no activity"),
        ({"not_run": "samna is not installed"}, "NOT RUN on speck2fdevkit:0: samna is not installed"),
        ({"power": None}, "no result of a devkit run"),
        ({"synops": None}, "no result of a devkit run"),
        ({"replayed_us": ["long", 1]}, "no result of a devkit run"),
    ],
)
def test_a_run_that_is_no_evidence_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        devkit_points(_run(**changes))
    assert caught.value.hint


@pytest.mark.parametrize("content", [{}, [], 3, None])
def test_a_file_that_no_board_wrote_is_refused(content: Any) -> None:
    with pytest.raises(DataError, match="no result of a devkit run"):
        devkit_points(content)


def _folder(tmp_path: Path, **changes: Any) -> Path:
    """A run folder with the result of a board."""
    write_json(tmp_path / "run" / VALIDATE.folder / BOARD, _run(**changes))
    (tmp_path / "run" / CONFIG).write_text("", encoding="utf-8")
    return tmp_path / "run"


def test_sources_of_every_kind_go_into_one_fit(tmp_path: Path) -> None:
    (tmp_path / "run" / VALIDATE.folder).mkdir(parents=True)
    folder, file = _folder(tmp_path), tmp_path / "half.json"
    write_json(file, _run(synops=[2_000_000, 500_000], replayed_us=[200_000, 100_000]))
    plain = _csv(tmp_path, "synops_per_s,power_mw\n2e7,1.3\n")
    found = read_measurements([folder, file, plain])
    assert [point.synops_per_s for point in found.points] == pytest.approx([0, 1e7, 5e6, 0, 1e7, 5e6, 2e7])
    assert found.offset_mw == 2 * OFFSET_W * 1e3 == pytest.approx(0.1)  # two rails of 50 uW
    assert fit(found.points).energy_pj == pytest.approx(44, rel=1e-9)
    assert read_measurements([plain]).offset_mw == 0  # nobody knows the meter of a file
    assert read_measurements([folder, plain]) == read_measurements([folder / VALIDATE.folder / BOARD, plain])


def test_a_run_without_a_board_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run there"):
        read_measurements([tmp_path])
    (tmp_path / CONFIG).write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="no board has run") as caught:
        read_measurements([tmp_path])
    assert caught.value.hint == f"spikefold validate {tmp_path} --on speck2fdevkit:0"
    with pytest.raises(DataError, match=r"cannot read none\.json"):
        read_measurements([tmp_path / "none.json"])


@given(st.floats(0.1, 50), st.floats(0.0, 100), st.floats(1.0, 500), st.integers(3, 8))
def test_the_three_terms_of_a_board_are_found_again(rest_mw: float, running_mw: float, pj: float, rates: int) -> None:
    busy = [Point(rate * 1e7, rest_mw + running_mw + rate * 1e7 * pj * 1e-9) for rate in range(1, rates + 1)]
    found = fit_terms([Point(0.0, rest_mw), Point(0.0, rest_mw), *busy])
    scale = 1e-9 * (rest_mw + running_mw + rates * pj)
    assert found.static_mw == pytest.approx(rest_mw, rel=1e-12)
    assert found.running_mw == pytest.approx(running_mw, abs=max(scale, 1e-9))
    assert found.energy_pj == pytest.approx(pj, rel=1e-6)
    assert found.points == rates + 2


def test_points_that_cannot_tell_the_terms_apart_are_refused() -> None:
    busy = tuple(Point(rate, 30 + 76.5 + rate * 1e-7) for rate in (1e6, 2e6, 3e6))
    for points in (busy, (Point(0.0, 30.0), *busy[:2]), (Point(0.0, 30.0), busy[0], busy[0], busy[0])):
        with pytest.raises(DataError, match="do not tell apart"):
            fit_terms(points)
    with pytest.raises(DataError, match="less than rest"):
        fit_terms([Point(0.0, 200.0), *busy])
    found = fit_terms([Point(0.0, 30.0), *busy])
    assert (found.static_mw, found.running_mw, found.energy_pj) == pytest.approx((30.0, 76.5, 100.0))


def test_the_eight_networks_of_loihi_1_give_the_published_line() -> None:
    # copies stand for rates: a copy a second is one operation a second here
    idle = [Point(0.0, mw) for mw in (29.7, 29.5, 29.8, 29.5, 29.6, 29.5, 29.5, 29.5)]
    running = {1: 107.9, 2: 110.0, 4: 113.5, 6: 117.3, 8: 120.9, 10: 124.8}
    found = fit_terms([*idle, *(Point(float(copies), mw) for copies, mw in running.items())])
    assert found.static_mw == pytest.approx(29.575)
    assert found.running_mw == pytest.approx(76.5, abs=0.2)
    assert found.energy_pj * 1e-9 == pytest.approx(1.876, abs=0.02)
    assert found.r2 > 0.999


def test_the_third_term_goes_into_the_profile(tmp_path: Path) -> None:
    points = [Point(0.0, 30.0), *(Point(rate, 106.5 + rate * 1e-7) for rate in (1e6, 2e6, 3e6))]
    made = write_profile(fit_terms(points), tmp_path / "b.toml", device="a board", when=DAY, chip="speck")
    assert made.power_mw is not None
    assert made.power_mw.running is not None
    assert made.power_mw.running.amount == pytest.approx(76.5)
    found = chip_power(_counts(), made)
    assert found.running_uj == pytest.approx(76.5 * 540, rel=1e-6)
    assert found.total_uj == pytest.approx(found.static_uj + found.running_uj + found.dynamic_uj)
