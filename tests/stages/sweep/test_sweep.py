# SPDX-License-Identifier: Apache-2.0
"""A sweep by a stand-in for the run: names, resuming, failures as rows, the front, the picture, and its command."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from spikefold.commands.sweeping import one_design
from spikefold.config import load_config
from spikefold.errors import ConfigError, DataError, EnvironmentLacksError
from spikefold.pipeline import app
from spikefold.stages.sweep.front import front
from spikefold.stages.sweep.make import ToMake, make_designs, points
from spikefold.stages.sweep.outcome import Outcome
from spikefold.stages.sweep.space import read_space

SPACE = """
[base]
data.source = "digits"
train.epochs = 2

[axes]
model.channels = [[8, 8, 8], [16, 32, 32]]
"model.attention" = ["none", "asa1"]
adapt.synops_budget = ["none", 1e6, 2e6]
"""


class Told:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, task: str, done: int, of: int, note: str = "") -> None:
        raise AssertionError("a sweep without workers tells lines")


def _report(accuracy: float, energy_uj: float, cores: int, *, chips: tuple[str, ...] = ("chip",)) -> dict[str, Any]:
    """What a sweep reads of a report; `test_energy_commands` holds it against a real one."""
    counts = {"clips": 4, "layers": [{"events": 400}, {"events": 8}]}
    network = {"counts": counts, "budget": {"energy_pj_per_clip": 2e6}}
    return {
        "on_chip": {chip: {"variant": f"{chip}.events"} for chip in chips},
        "fit": {chip: {"cores": cores} for chip in chips},
        "accuracy_ladder": [
            {"name": name, "accuracy": accuracy, "interval": [0.0, 1.0], "spikes_per_clip": 11.0}
            for name in ("float", *(f"{chip}.events" for chip in chips))
        ],
        "energy": {
            "networks": {"float": network}
            | {f"{chip}.events": network | {"chip": {"power": {"total_uj": energy_uj}}} for chip in chips}
        },
    }


@dataclass
class StandIn:
    """Makes designs without training them.

    Attributes:
        made: names of what it made, in order.
        codes: exit code by name; 0 where it is not told.
        stop_before: number of designs after which Ctrl-C comes.
    """

    made: list[str] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    stop_before: int | None = None

    def __call__(self, given: ToMake) -> Outcome:
        if len(self.made) == self.stop_before:
            given.run.mkdir()  # begun, and not done
            raise KeyboardInterrupt
        self.made.append(given.name)
        config = load_config(given.config)
        code = self.codes.get(given.name, 0)
        if code in (0, 1):
            wide = config.model.channels[0] == 16
            given.run.mkdir(exist_ok=True)
            content = _report(0.9 if wide else 0.7, 30.0 if wide else 20.0, 5 if wide else 4)
            (given.run / "report.json").write_text(json.dumps(content))
            (given.run / "report.html").write_text("<html>")
        outcome = Outcome(code=code, error="" if code == 0 else f"E-SOMETHING: exit {code}\n  to do: nothing")
        outcome.write(given.outcome)
        return outcome


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "space.toml"
    path.write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    return path


def test_designs_are_every_combination_and_keep_their_names_when_values_are_added(space: Path) -> None:
    found = read_space(space)
    assert len(found) == len({one.name for one in found}) == 12
    assert found[0].config.adapt.synops_budget is None
    assert found[0].config.model.attention == "none", "a word of the key itself, not nothing"
    assert found[0].config.train.epochs == found[-1].config.train.epochs == 2
    assert found[-1].described() == "channels 16-32-32, attention asa1, synops_budget 2000000.0"
    space.write_text(SPACE.replace('["none", "asa1"]', '["asa1", "sa", "none"]'))
    assert {one.name for one in found} < {one.name for one in read_space(space)}


def test_draws_are_some_of_the_combinations_and_hang_on_the_seed(space: Path) -> None:
    whole = [one.name for one in read_space(space)]
    drawn = {}
    for seed in (0, 1):
        space.write_text(f'how = "random"\ndraws = 5\nseed = {seed}\n' + SPACE)
        drawn[seed] = [one.name for one in read_space(space)]
        assert drawn[seed] == [one.name for one in read_space(space)]
        assert len(set(drawn[seed])) == 5
        assert set(drawn[seed]) < set(whole)
    assert drawn[0] != drawn[1]


def test_the_space_of_the_documentation_is_one(space: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "scale.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```toml\n(# space.*?)^```", page, re.DOTALL | re.MULTILINE)
    space.write_text(text)
    assert len(read_space(space)) == 2**5
    space.write_text(re.sub(r"^# (how|draws|seed)", r"\1", text, flags=re.MULTILINE))
    assert len(read_space(space)) == 12


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[axes]\n", "no axis"),
        ("[axes]\nseed = 3\n", "seed: a list of values, not 3"),
        ("[axes]\nseed = []\n", "seed: a list of values"),
        ("draws = 3\n[axes]\nseed = [1]\n", 'how = "random"'),
        ('how = "random"\n[axes]\nseed = [1]\n', "draws"),
        ("[axes]\ntrain.epoch = [1]\nmodel.neuron = ['if', 'fi']\n", "unknown key 'train.epoch'"),
        ("[axes]\nmodel.neuron = ['if', 'fi']\n", "model.neuron"),
        ("[axis]\nseed = [1]\n", "axis"),
        (f"[axes]\nseed = {list(range(200))}\ntrain.epochs = {list(range(1, 200))}\n", "39,800 designs"),
        ("axes = [", "cannot read the space"),
    ],
)
def test_a_space_that_cannot_be_is_told_before_anything_runs(space: Path, text: str, said: str) -> None:
    space.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_space(space)
    assert said in str(caught.value)


def test_a_sweep_goes_on_where_it_was_and_tries_again_what_the_environment_did(space: Path, tmp_path: Path) -> None:
    found, folder, told = read_space(space), tmp_path / "out", Told()
    names = [one.name for one in found]
    stopped = StandIn(stop_before=5, codes={names[1]: 3, names[2]: 4, names[3]: 1})
    with pytest.raises(KeyboardInterrupt):
        make_designs(found, folder, stopped, told)
    assert stopped.made == names[:5]
    assert [one.code for one in points(found, folder)] == [0, 3, 4, 1, 0, *[None] * 7]
    again = StandIn()
    make_designs(found, folder, again, told)
    assert again.made == [names[2], *names[5:]], "a report that stands, and a design that does not fit, are done"
    assert f"{len(found)} designs, 4 of them made before" in told.lines
    assert [one.code for one in points(found, folder)] == [0, 3, 0, 1, *[0] * 8]
    last = StandIn()
    make_designs(found, folder, last, told)
    assert not last.made
    make_designs(found, folder, last, told, retry=True)
    assert last.made == [names[1]]


def test_a_folder_of_something_else_is_left_alone(space: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years")
    with pytest.raises(DataError, match="something else is there"):
        make_designs(read_space(space), tmp_path / "out", StandIn(), Told())


def test_a_report_that_cannot_be_read_is_a_row(space: Path, tmp_path: Path) -> None:
    found, folder = read_space(space), tmp_path / "out"
    make_designs(found, folder, StandIn(), Told())
    (found[0].run(folder) / "report.json").write_text("{")
    (found[1].run(folder) / "report.json").write_text('{"on_chip": 3}')
    for point in points(found, folder)[:2]:
        assert point.code == DataError.exit_code
        assert "report.json" in point.error
    assert points(found, folder)[2].code == 0


def test_the_front_is_what_nothing_dominates() -> None:
    costs = np.random.default_rng(0).integers(0, 4, (60, 3)).astype(float)
    dominated = [
        any((other <= one).all() and (other < one).any() for other in costs)  # the definition, row by row
        for one in costs
    ]
    assert 3 < sum(dominated) < 60
    np.testing.assert_array_equal(front(costs), ~np.array(dominated))


def test_the_command_writes_table_picture_and_json_and_its_exit_code_is_the_worst(
    space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_space(space)
    stand_in = StandIn(codes={found[2].name: 3, found[7].name: 1})
    monkeypatch.setattr(one_design, "made_apart", stand_in)
    done = CliRunner().invoke(app, ["sweep", str(space), "--json"])
    assert done.exit_code == 1, done.output
    content = json.loads(done.stdout)
    assert content["folder"] == str(Path("sweeps/space"))
    assert [one["name"] for one in content["designs"]] == stand_in.made == [one.name for one in found]
    assert {one["code"] for one in content["designs"]} == {0, 1, 3}
    on_front = [one["chips"]["chip"]["on_front"] for one in content["designs"] if one["chips"]]
    assert on_front == [True] * 11, "wide ones are more accurate, narrow ones cheaper, and equal ones stand together"
    assert content["designs"][0]["chips"]["chip"]["synops"] == 102
    folder = Path("sweeps/space")
    page = (folder / "sweep.html").read_text(encoding="utf-8")
    for one in found:
        assert (f'href="{one.name}/report.html"' in page) == (one.name != found[2].name)
    assert "E-SOMETHING: exit 3" in page
    drawing = (folder / "front.svg").read_text(encoding="utf-8")
    assert drawing.startswith("<svg")
    assert len(set(re.findall(r'id="point-chip-(\w+)"', drawing))) == 11
    (folder / "designs" / f"{found[7].name}.json").unlink()
    assert CliRunner().invoke(app, ["sweep", str(space)]).exit_code == 0, "that one does not fit is an answer"
    assert len(stand_in.made) == 12, "every report stands"


def test_an_interrupted_sweep_says_how_far_it_came(space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = StandIn(stop_before=4)
    monkeypatch.setattr(one_design, "made_apart", stand_in)
    done = CliRunner().invoke(app, ["sweep", str(space), "--out", "mine"])
    assert done.exit_code == 130
    assert "interrupted: 4 of 12 designs are made; the same command goes on" in done.output
    assert sum(one["code"] is None for one in json.loads(Path("mine/sweep.json").read_text())["designs"]) == 8


def test_a_design_is_made_by_run_and_what_it_said_is_kept(
    space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.toml").write_text('data.source = "npz:nowhere"\n')
    given = ToMake("bad", tmp_path / "bad.toml", tmp_path / "bad", tmp_path / "bad.json", tmp_path)
    outcome = one_design.made(given)
    assert outcome.code == DataError.exit_code
    assert outcome.error.startswith("E-DATA")
    assert "nowhere" in outcome.error

    def died(*_: Any, **__: Any) -> Any:
        raise EnvironmentLacksError("the process of a design died of SIGKILL", where="bad", hint="memory")

    monkeypatch.setattr(one_design, "worker_pool", died)
    killed = one_design.made_apart(given)
    assert killed.may_change
    assert json.loads((tmp_path / "bad.json").read_text())["code"] == EnvironmentLacksError.exit_code
