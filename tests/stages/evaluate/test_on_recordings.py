# SPDX-License-Identifier: Apache-2.0
"""A run on other recordings: its own figures on its own test set, the same bytes twice, ranges that add up."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from spikefold.errors import ConfigError, DataError
from spikefold.pipeline import app
from spikefold.session import Session, open_session
from spikefold.stages.evaluate import on_recordings
from spikefold.stages.evaluate.form import FILE, PAGE, EvaluationForm
from spikefold.stages.evaluate.merge import merged
from spikefold.stages.evaluate.on_recordings import Asked, evaluate
from spikefold.stages.evaluate.write import out_folder, write_evaluation
from spikefold.train.data.datasets import load_dataset
from spikefold.train.data.events import save_packed
from tests.silent import Silent

ENGINES = {"float", "vanilla", "speck2f", "speck2f.events", "loihi2"}
"""What every such run has; others may stand beside them."""


def _hash(folder: Path) -> str:
    """Of every name and byte in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


@pytest.fixture(scope="module")
def session(finished_run: Path) -> Session:
    return open_session(finished_run, Silent())


@pytest.fixture(scope="module")
def own(session: Session) -> EvaluationForm:
    """The run on its own test set."""
    return evaluate(session, Asked("digits"))


def test_on_its_own_test_set_a_run_has_the_figures_of_its_report(finished_run: Path, own: EvaluationForm) -> None:
    report = json.loads((finished_run / "report.json").read_text(encoding="utf-8"))
    ladder = {step["name"]: step for step in report["accuracy_ladder"]}
    assert set(own.results) >= ENGINES
    for name, found in own.results.items():
        step, energy = ladder[name], report["energy"]["networks"][name]
        assert (found["accuracy"], found["interval"]) == (step["accuracy"], step["interval"])
        assert found["nasfr"] == step["nasfr"] > 0
        assert found["spikes"] == energy["uncertainty"]["spikes"]
        assert found["synops"] == energy["uncertainty"]["synops"]
        assert found["energy_pj_per_clip"] == energy["budget"]["energy_pj_per_clip"] > 0
        assert own.engines[name].what == step["what"]
        assert found["chip"] is None or found["chip"]["numbers"] == energy["chip"]["numbers"]
    assert "in the order of their times" in own.engines["speck2f.events"].what
    against = own.results["vanilla"]["against_float"]["accuracy"]
    assert against["difference"] == -report["energy"]["paired"]["accuracy"]["difference"]
    assert own.results["float"]["against_float"] is None
    assert {"speck2f", "speck2f.events", "loihi2"} <= {name for name, found in own.results.items() if found["chip"]}


def test_sums_agree_with_each_other(own: EvaluationForm) -> None:
    labels = np.array(own.labels)
    assert own.recordings.count == own.recordings.all == len(labels) == 30
    for engine in own.engines.values():
        confusion, predicted = np.array(engine.confusion), np.array(engine.predicted)
        assert confusion.shape == (10, 10)
        assert confusion.sum(axis=1).tolist() == np.bincount(labels, minlength=10).tolist()
        assert confusion.trace() == engine.right == (predicted == labels).sum()
        assert (
            sum(engine.spikes) == sum(engine.layers.values()) == sum(la.spikes for la in engine.totals.layers) > 1000
        )
        assert sum(engine.synops) == sum(layer.events for layer in engine.totals.layers) > 10_000


def test_two_evaluations_are_the_same_bytes_and_the_run_is_as_it_was(
    session: Session, own: EvaluationForm, tmp_path: Path
) -> None:
    before = _hash(session.folder)
    write_evaluation(own, tmp_path / "one")
    write_evaluation(evaluate(open_session(session.folder, Silent()), Asked("digits")), tmp_path / "two")
    assert _hash(session.folder) == before
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [PAGE, FILE]
    for name in (FILE, PAGE):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    page = (tmp_path / "one" / PAGE).read_text(encoding="utf-8")
    assert str(tmp_path) not in page + (tmp_path / "one" / FILE).read_text(encoding="utf-8")
    assert all(f"<h3>{name}</h3>" in page for name in ENGINES)
    assert "<script" not in page


def test_ranges_add_up_to_the_whole_bit_for_bit(
    session: Session, own: EvaluationForm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_recordings, "clips_at_once", lambda config: 8)
    whole = evaluate(session, Asked("digits", chips=["loihi2"]))
    assert whole.engines["loihi2"] == own.engines["loihi2"], "how many are at once changes nothing"
    for number in (1, 2, 3):
        part = evaluate(session, Asked("digits", chips=["loihi2"], shard=(number, 3)))
        write_evaluation(part, tmp_path / str(number))
    assert part.recordings.count < 30
    places = [tmp_path / number for number in "312"]
    together = merged(session, places)
    assert together.model_dump_json() == whole.model_dump_json()
    with pytest.raises(DataError, match="not the ranges of one evaluation") as told:
        merged(session, [places[0], places[1]])
    assert "range" in {issue.rule for issue in told.value.issues}
    with pytest.raises(DataError):
        merged(session, [*places, places[1]])
    with pytest.raises(ConfigError, match="too few for 5 shards"):
        evaluate(session, Asked("digits", shard=(1, 5)))


def test_a_path_may_hold_whatever_a_path_may_hold(session: Session, tmp_path: Path) -> None:
    """Quotes, spaces and line ends: once they were read as TOML."""
    folder = tmp_path / "a \"path\" with\n'all' = [of it]"
    folder.mkdir()
    test = load_dataset(session.config.data, session.config.seed, Silent().progress, splits=("test",)).test
    save_packed(folder / "test.npz", test[:6])
    arguments = ["evaluate", str(session.folder), "--data", f"npz:{folder}", "--chip", "loihi2", "--json", "--quiet"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["recordings"]["source"] == f"npz:{folder}"
    assert {"float", "vanilla", "loihi2"} <= set(told["results"])
    assert not [name for name in told["results"] if name.startswith("speck")]
    assert told["recordings"]["absent"] == ["6", "7", "8", "9"]
    assert (tmp_path / "out" / PAGE).is_file()


def test_what_is_the_runs_cannot_be_set_and_nothing_is_written_into_it(session: Session, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.steps cannot be set"):
        evaluate(session, Asked("digits", settings=("data.steps=3",)))
    with pytest.raises(ConfigError, match="the run was not made for akida"):
        evaluate(session, Asked("digits", chips=["akida"]))
    for folder in (session.folder, session.folder / "evaluation", session.folder.parent):
        with pytest.raises(ConfigError, match="not written into a run"):
            out_folder(session, "digits", folder)
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(ConfigError, match="something else"):
        out_folder(session, "digits", tmp_path)
    assert out_folder(session, "npz:/a/b", None) == Path("evaluations") / f"{session.folder.name}-npz"
