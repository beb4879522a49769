# SPDX-License-Identifier: Apache-2.0
"""Tasks on workers: results in order, each task at most twice, errors as in one process; by a stand-in and by Ray."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from spikefold.errors import ConfigError, DataError, EnvironmentLacksError
from spikefold.stages.spread.engine import Cluster, Task, cluster_of, spread
from tests.stages.spread.stand_in import StandIn

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: pip install 'spikefold[ray]'")


class Told:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[int, int]] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, task: str, done: int, of: int, note: str = "") -> None:
        self.steps.append((done, of))


def _square(number: int) -> int:
    return number**2


def _refuses(number: int) -> int:
    if number == 3:
        raise DataError("the third is bad", where="file 3", hint="leave it out")
    return number


def _waits_for_a_child(number: int) -> int:
    return subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True).returncode + number


def _dies_once(marker: Path) -> str:
    if not marker.exists():
        marker.write_text("")
        os._exit(1)
    return marker.name


def _dies(marker: Path) -> None:
    os._exit(1)


TASKS = [Task(f"task {number}", number, size=2) for number in range(7)]


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = StandIn()
    monkeypatch.setitem(sys.modules, "ray", found)
    return found


def test_processors_of_child_processes_are_counted(ray: StandIn) -> None:
    told, used = Told(), sum(os.times()[2:4])
    assert spread(_waits_for_a_child, TASKS[:2], Cluster(1), told, "designs") == [0, 1]
    used = sum(os.times()[2:4]) - used
    assert used > 0.02
    said = re.fullmatch(r"2 tasks on 1 workers: ([0-9.]+) s of processors in [0-9.]+ s of the clock", told.lines[-1])
    assert said is not None
    assert float(said[1]) >= used - 0.05  # it is told in tenths


@pytest.mark.parametrize("workers", [1, 2, 3, 20])
def test_results_come_in_order_whoever_is_done_first(ray: StandIn, workers: int) -> None:
    told = Told()
    assert spread(_square, TASKS, Cluster(workers), told, "squares") == [n**2 for n in range(7)]
    assert ray.most == min(workers, 7)
    assert told.steps == [(2 * n, 14) for n in range(1, 8)]
    assert f"7 tasks on {workers} workers" in told.lines[-1]
    assert not ray.is_up
    assert ray.options["num_cpus"] == workers


def test_a_worker_that_dies_is_replaced_once(ray: StandIn) -> None:
    told = Told()
    ray.deaths = {2: 1, 5: 1}
    assert spread(_square, TASKS, Cluster(2), told, "squares") == [n**2 for n in range(7)]
    assert sum("it is done again" in line for line in told.lines) == 2
    assert any("the worker of task 5 died" in line for line in told.lines)


def test_a_task_whose_workers_die_is_named(ray: StandIn) -> None:
    ray.deaths = {4: 2}
    with pytest.raises(EnvironmentLacksError, match="the worker of task 4 died 2 times") as caught:
        spread(_square, TASKS, Cluster(2), Told(), "squares")
    assert caught.value.where == "task 4"
    assert not ray.is_up


def test_what_a_task_refuses_is_the_error_of_one_process(ray: StandIn) -> None:
    with pytest.raises(DataError, match="the third is bad") as caught:
        spread(_refuses, TASKS, Cluster(2), Told(), "tasks")
    assert (caught.value.where, caught.value.hint) == ("file 3", "leave it out")


def test_an_address_is_passed_on_and_one_that_nobody_answers_is_said(ray: StandIn) -> None:
    spread(_square, TASKS, Cluster(2, "auto"), Told(), "squares")
    assert ray.options["address"] == "auto"
    for address, said in (("nowhere:1", "nobody answers"), ("loaded:1", "timed out during startup")):
        with pytest.raises(EnvironmentLacksError, match=said) as caught:
            spread(_square, TASKS, Cluster(2, address), Told(), "squares")
        assert caught.value.where == address


def test_without_ray_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EnvironmentLacksError, match="Ray is not installed") as caught:
        spread(_square, TASKS, Cluster(2), Told(), "squares")
    assert "spikefold[ray]" in caught.value.hint


def test_what_the_options_ask_for() -> None:
    assert cluster_of(None, None) is None
    assert cluster_of(3, "auto") == Cluster(3, "auto")
    with pytest.raises(ConfigError, match="an address without workers"):
        cluster_of(None, "auto")
    with pytest.raises(ConfigError, match="0 workers"):
        cluster_of(0, None)


@needs_ray
def test_real_workers_are_replaced_and_named(tmp_path: Path) -> None:
    told = Told()
    tasks = [Task(f"task {n}", tmp_path / f"marker {n}") for n in range(3)]
    assert spread(_dies_once, tasks, Cluster(2), told, "tasks") == ["marker 0", "marker 1", "marker 2"]
    assert sum("it is done again" in line for line in told.lines) == 3
    with pytest.raises(EnvironmentLacksError, match="the worker of task 0 died 2 times"):
        spread(_dies, tasks[:1], Cluster(1), told, "tasks")
    with pytest.raises(DataError, match="the third is bad"):
        spread(_refuses, TASKS, Cluster(2), Told(), "tasks")
