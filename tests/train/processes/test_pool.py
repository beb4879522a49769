# SPDX-License-Identifier: Apache-2.0
"""A worker process that dies is an error of the environment, with the signal that ended it."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from spikefold.config import DataConfig
from spikefold.errors import ConfigError, EnvironmentLacksError
from spikefold.train.data import datasets
from spikefold.train.processes.pool import worker_pool


def _square(number: int) -> int:
    return number**2


def _fails(where: str) -> None:
    raise ConfigError("this task is wrong", where=where)


def _dies(way: int) -> None:
    if way == 0:
        os._exit(3)
    signal.raise_signal(way)


def _among_others(way: int) -> None:
    with worker_pool(2, "a test's process", where="here", hint="try again") as pool:
        futures: list[Future[Any]] = [pool.submit(_square, 3), pool.submit(_dies, way), pool.submit(_square, 4)]
        for future in futures:
            future.result()


def _generation_dies(kind: str, split: str, start: int, count: int, seed: int) -> None:
    signal.raise_signal(signal.SIGKILL)


def _is_deaf_to_ctrl_c(_: int) -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_results_and_errors_of_the_work_come_back() -> None:
    with worker_pool(2, "a process", where="here", hint="try again") as pool:
        assert [future.result() for future in [pool.submit(_square, n) for n in range(5)]] == [0, 1, 4, 9, 16]
        with pytest.raises(ConfigError, match="this task is wrong"):
            pool.submit(_fails, "there").result()
        assert pool.submit(_is_deaf_to_ctrl_c, 0).result(), "the terminal's signal is for the process that started it"
    assert not _is_deaf_to_ctrl_c(0)
    assert len(pool.started) in (1, 2)


def test_an_interruption_does_not_wait_for_the_work_nor_leave_a_process_behind() -> None:
    with pytest.raises(KeyboardInterrupt), worker_pool(1, "a process", where="here", hint="try again") as pool:  # noqa: PT012
        assert pool.submit(_square, 3).result() == 9  # it has started
        pool.submit(time.sleep, 300)
        raise KeyboardInterrupt
    (process,) = pool.started
    process.join(60)
    assert process.exitcode == -signal.SIGTERM


@pytest.mark.parametrize(
    ("way", "how"),
    [(int(signal.SIGSEGV), "died of SIGSEGV"), (int(signal.SIGKILL), "died of SIGKILL"), (0, "code 3")],
)
def test_a_process_that_dies_is_named_with_its_end(way: int, how: str) -> None:
    with pytest.raises(EnvironmentLacksError, match=f"a test's process .*{how}") as caught:
        _among_others(way)
    assert (caught.value.where, caught.value.hint) == ("here", "try again")


def test_a_process_that_dies_while_it_generates_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEFOLD_CACHE", str(tmp_path))
    monkeypatch.setattr(datasets, "_chunk", _generation_dies)
    with pytest.raises(EnvironmentLacksError, match="generates recordings died of SIGKILL") as caught:
        datasets.load_dataset(DataConfig(source="digits", train=12, test=3), 0, lambda task, done, of: None)
    assert caught.value.where == "data.train"
    assert not list(tmp_path.rglob("*.npz")), "nothing unfinished is kept"
