# SPDX-License-Identifier: Apache-2.0
"""Two gloo processes on a CPU, started by torchrun, give the loss curve and the weights of one process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from spikefold.train.loop import train
from spikefold.train.processes.main_process import is_main_process, world
from spikefold.train.processes.parallel import ALONE, Ranks, joined
from spikefold.train.state import Epoch
from tests.programs import environment
from tests.train.training_cases import GATED, SHARES, gated, shared_by_ranks

PROGRAM = Path(__file__).with_name("ranks_program.py")
CASES = tuple(shared_by_ranks())


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what both processes wrote."""
    out = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(PROGRAM), str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_as_one_with_the_same_batch(both: Path, name: str) -> None:
    config, clips = shared_by_ranks()[name]
    alone: list[Epoch] = []
    model = train(config, clips, 2, alone.append)
    told = json.loads((both / f"{name}.0.json").read_text())
    assert len(told) == len(alone) == config.train.epochs
    for epoch, (loss, accuracy) in zip(alone, told, strict=True):
        assert loss == pytest.approx(epoch.loss, abs=1e-5)
        assert accuracy == epoch.accuracy
    assert alone[-1].loss < alone[0].loss * 0.7, "something was learned"
    shared = load_file(both / f"{name}.0.safetensors")
    assert set(shared) == set(model.state_dict())
    for key, value in model.state_dict().items():
        torch.testing.assert_close(shared[key], value, atol=1e-5, rtol=1e-5, msg=key)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", GATED)
def test_an_attention_sees_the_batch_of_both_processes(both: Path, name: str, share: str) -> None:
    sizes = SHARES[share]
    alone = gated(name, sizes, ALONE)
    parts = [load_file(both / f"{name}, {share}.{rank}.safetensors") for rank in range(2)]
    assert [part["y"].shape[1] for part in parts] == list(sizes)
    assert all(set(part) == set(alone) for part in parts)
    assert ("alpha" in alone) == ("learns" in name)
    for key, value in alone.items():
        # clips side by side, gradients of weights added up
        found = torch.cat([p[key] for p in parts], dim=1) if key in ("x", "y") else parts[0][key] + parts[1][key]
        torch.testing.assert_close(found, value, atol=1e-12, rtol=1e-10, msg=key)
        assert bool(value.any())


@pytest.mark.parametrize("name", CASES)
def test_every_process_ends_with_the_same_weights_bit_for_bit(both: Path, name: str) -> None:
    first, second = (load_file(both / f"{name}.{rank}.safetensors") for rank in range(2))
    assert len(first) > 5
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert (both / f"{name}.0.json").read_text() == (both / f"{name}.1.json").read_text()


def test_going_on_with_two_processes_is_going_on_bit_for_bit(both: Path) -> None:
    stopped, whole = (load_file(both / f"{name}.0.safetensors") for name in ("resumed", "vanilla"))
    assert all(torch.equal(stopped[key], whole[key]) for key in whole)
    assert (both / "resumed.0.json").read_text() == (both / "vanilla.0.json").read_text()


def test_alone_everything_is_passed_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    value = torch.arange(5)
    with joined() as ranks:
        assert ranks == ALONE
        assert ranks.share(value) is value
        assert ranks.agreed(value) is value
        assert ranks.everyones(value)[0] is value
        assert ranks.total(1.5, 2) == (1.5, 2)
        assert ranks.bytes_of_first(b"ab") == b"ab"
    assert (world(), is_main_process()) == (1, True)


def test_shares_are_a_batch_cut_in_order() -> None:
    value = torch.arange(5)
    shares = [Ranks(rank, 3).share(value).tolist() for rank in range(3)]
    assert shares == [[0, 1], [2, 3], [4]]
    assert [Ranks(rank, 3).first for rank in range(3)] == [True, False, False]


def test_torchrun_says_which_process_is_the_main_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "2")
    assert (world(), is_main_process()) == (4, False)
