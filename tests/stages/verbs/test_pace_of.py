# SPDX-License-Identifier: Apache-2.0
"""What `spikefold fit` proposes for the layer that holds a network back: of a run and of a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikefold.errors import EnvironmentLacksError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Fire, Neuron, Overflow
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.loihi.chip import LOIHI2
from spikefold.hardware.loihi.lava.provision import carried_network
from spikefold.hardware.loihi.to_netx import write_net
from spikefold.hardware.registry import chip_named
from spikefold.hardware.simulators.silent_input import run_silent
from spikefold.session import open_session
from spikefold.stage_table import SIMULATE
from spikefold.stages.files.networks import network_at
from spikefold.stages.files.simulate import SimulateFile
from spikefold.stages.verbs.pace_of import pace_of_net, pace_of_run
from tests.silent import Silent


def _if(threshold: float) -> Neuron:
    return Neuron(np.array(threshold), fire=Fire.GE, overflow=Overflow.FORBID)


def _file(folder: Path, bias: float) -> Path:
    """Three convolutions: without input the second one spikes by its bias alone, and the third reads those spikes."""
    random = np.random.default_rng(0)
    layers = (
        Layer("first", Conv2d(random.normal(0.1, 0.2, (4, 2, 3, 3)), bias=np.full(4, 0.5), padding=(1, 1))),
        Layer("n1", _if(1.0)),
        Layer("second", Conv2d(random.normal(0.1, 0.2, (4, 4, 3, 3)), bias=np.full(4, bias), padding=(1, 1))),
        Layer("n2", _if(1.0)),
        Layer("third", Conv2d(random.normal(0.1, 0.2, (8, 4, 3, 3)), padding=(1, 1))),
        Layer("n3", _if(1.0)),
    )
    path = folder / "n.net"
    write_net(quantise(Network(InputSpec((2, 8, 8), 1000, 4, 1), layers, 1), LOIHI2.numbers)[0], path)
    return path


def test_a_file_is_run_with_a_silent_input(tmp_path: Path) -> None:
    found = pace_of_net(_file(tmp_path, 0.4), LOIHI2)
    assert found is not None
    assert found.slowest is not None
    assert (
        found.slowest.layer == "conv3"
    )  # as the file numbers them; the first is silent, so the second reads nothing
    assert found.slowest.operations > 1000
    assert "biases alone" in found.describe()
    still = pace_of_net(_file(tmp_path, 0.0), LOIHI2)
    assert still is not None
    assert (still.slowest, still.proposal) == (None, None)
    assert "nothing spikes" in still.describe()
    assert still.to_json()["slowest"] is None


def test_a_silent_input_leaves_the_biases_behind() -> None:
    weight = np.ones((1, 1), np.int64)
    layers = (
        Layer("a", Dense(weight, bias=np.array([5]))),
        Layer("n1", Neuron(np.array(5))),
        Layer("b", Dense(weight, bias=np.array([5]))),
        Layer("n2", Neuron(np.array(5))),
    )
    ran = run_silent(Network(InputSpec((1, 1, 1), 1000, 3, 1), layers, 1))
    assert {name: trace.spikes for name, trace in ran.trace.layers.items()} == {"n1": 0, "n2": 3}


def test_a_run_is_asked_by_the_spikes_of_its_test_clips(finished_run: Path) -> None:
    session = open_session(finished_run, Silent())
    found = pace_of_run(session, chip_named("loihi2"))
    assert found is not None
    assert found.slowest is not None
    assert found.slowest.operations > 0
    network = network_at(session, SimulateFile.of_run(session).variants["loihi2"].network)
    assert found.slowest.layer in {layer.name for layer in network if isinstance(layer.op, Conv2d | Dense)}
    low, nominal, high = found.slowest.time_us
    assert low <= nominal <= high
    assert pace_of_run(session, chip_named("speck2f")) is None


def test_a_run_without_spikes_says_what_to_do(finished_run: Path, tmp_path: Path) -> None:
    for one in finished_run.iterdir():
        if one.name != SIMULATE.folder:
            (tmp_path / one.name).symlink_to(one)
    found = pace_of_run(open_session(tmp_path, Silent()), chip_named("loihi2"))
    assert found is not None
    assert found.proposal is None
    assert "spikefold simulate" in found.why


@pytest.mark.lava
def test_pilotnet_is_told_to_give_conv3_one_more_core() -> None:
    try:
        file = carried_network("pilotnet_lif.net")
    except EnvironmentLacksError as error:
        pytest.skip(f"PilotNet's file could not be had: {error.what}")
    found = pace_of_net(file, LOIHI2)
    assert found is not None
    assert found.proposal is not None
    assert (found.proposal.layer, found.proposal.cores, found.proposal.then) == ("conv3", (3, 4), "conv2")
    assert found.proposal.slowest_us == pytest.approx((199.006, 156.672), abs=1e-3)
    assert found.to_json()["proposal"]["all_cores"] == 75
    assert "75 cores in all" in found.describe()
