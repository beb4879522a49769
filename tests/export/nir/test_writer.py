# SPDX-License-Identifier: Apache-2.0
"""Who wrote a graph is told from it or asked for; a step in another unit than the time constants is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import sinabs.layers as sl
import snntorch as snn
import torch
from sinabs.nir import from_nir as sinabs_from_nir
from torch import nn

from spikefold.errors import ConfigError
from spikefold.export.nir import to_nir
from spikefold.export.nir.from_nir import read, understood
from spikefold.export.nir.options import NirOptions
from spikefold.hardware.simulators import reference
from tests.came_in import Record, came_in
from tests.export.nir.nir_cases import chain_file, frames_of, graph_file, if_node, issues_of, lif_node, our_network

pytestmark = pytest.mark.usefixtures("in_this_process")


def _lif(tau: float, r: float, **more: Any) -> nir.LIF:
    return lif_node(3, tau=tau, r=r, **more)


@pytest.mark.parametrize(
    ("nodes", "convention"),
    [
        ((_lif(4.0, 4.0),), "spikefold"),
        ((if_node(3), nir.Linear(np.eye(3)), _lif(20.0, 1.0)), "sinabs"),
        ((nir.LIF(*(np.array(value) for value in (5e-4, 5.0, 0.0, 1.0))),), "snntorch"),
        ((if_node(3, r=1e4),), "spikingjelly"),
        ((if_node(3, r=1e4), nir.Linear(np.eye(3)), _lif(2e-4, 1.0)), "spikingjelly"),
        ((if_node(3),), None),
        ((_lif(0.02, 1.0),), None),
        ((_lif(0.02, 3.0),), None),
    ],
)
def test_the_numbers_of_the_neurons_tell_the_writer_or_nobody_does(
    tmp_path: Path, nodes: tuple[nir.NIRNode, ...], convention: str | None
) -> None:
    path = chain_file(tmp_path / "n.nir", 3, nir.Linear(np.eye(3)), *nodes)
    if convention is None:
        with pytest.raises(ConfigError, match="which tool wrote it") as caught:
            read(path)
        assert "--convention spikefold | sinabs | snntorch | spikingjelly | norse" in caught.value.hint
        assert read(path, NirOptions(convention="norse", gain="one", dt=1e-3, leak="exponential")).classes == 3
        return
    _, found, options = understood(path, NirOptions(reset="zero"))
    assert found.convention == options.convention == convention
    assert found.told_by
    assert understood(path, NirOptions(convention="norse", dt=1e-4, gain="one"))[1].told_by == "the option"


def test_our_own_files_and_those_with_sum_pools_say_so(tmp_path: Path) -> None:
    to_nir.write(our_network(), tmp_path / "ours.nir")
    assert understood(tmp_path / "ours.nir")[1].told_by == "the graph's metadata"
    first = nir.Input({"input": np.array([1, 4, 4])})
    pool = nir.SumPool2d(*(np.array(v) for v in ([2, 2], [2, 2], [0, 0])))
    nodes = {"in": first, "p": pool, "n": if_node(1, 2, 2), "out": nir.Output({"output": np.array([1, 2, 2])})}
    assert understood(graph_file(tmp_path / "sum.nir", nodes))[1].convention == "sinabs"


def test_snntorch_is_told_and_a_synaptic_fires_as_there(tmp_path: Path, record_property: Record) -> None:
    torch.manual_seed(0)
    options = {"init_hidden": True, "reset_mechanism": "zero", "reset_delay": False}
    synaptic = [snn.Synaptic(alpha=0.5, beta=0.8, output=last, **options) for last in (False, True)]
    linear = nn.Linear(6, 12, bias=False), nn.Linear(12, 4, bias=False)
    model = nn.Sequential(linear[0], synaptic[0], linear[1], synaptic[1])
    for part in linear:
        part.weight.data = 0.6 * torch.rand(part.weight.shape) - 0.15
    # as snnTorch writes them, whose own exporter needs a release of nir that sinabs does not allow
    cuba = [nir.CubaLIF(*(np.array([value]) for value in (2e-4, 5e-4, 5.0, 0.0, 1.0, 2.0))) for _ in synaptic]
    weights = [nir.Linear(part.weight.detach().numpy()) for part in linear]
    nodes = {"in": nir.Input({"input": np.array([6])}), "0": weights[0], "1": cuba[0], "2": weights[1], "3": cuba[1],
             "out": nir.Output({"output": np.array([4])})}  # fmt: skip
    path = tmp_path / "syn.nir"
    nir.write(str(path), nir.NIRGraph(nodes, list(pairwise(nodes))))
    assert issues_of(path, convention="snntorch", reset="zero").keys() == {
        "1 (CubaLIF): snnTorch's reset", "3 (CubaLIF): snnTorch's reset"
    }  # fmt: skip
    network, found, _ = understood(path, NirOptions(reset="zero", reset_delay=False, steps=30))
    assert found.convention == "snntorch"
    frames = frames_of((6, 1, 1), steps=30, clips=3)
    for part in synaptic:
        part.reset_mem()
    with torch.no_grad():
        theirs = torch.stack([model(torch.from_numpy(x.reshape(3, 6)).float())[0] for x in frames]).numpy()
    ours = reference.run(network, frames).layers["3"].raster.reshape(theirs.shape)
    assert theirs.sum() > 20
    # float32 states there, float64 here: none of them lies within rounding of a threshold in these clips
    assert (ours != theirs).sum() == 0
    came_in(record_property, [int(theirs.sum())])


def test_sinabs_convention_is_what_its_own_reader_computes(tmp_path: Path, record_property: Record) -> None:
    weight = np.random.default_rng(1).integers(-40, 36, (8, 6)) / 32
    path = chain_file(tmp_path / "n.nir", 6, nir.Linear(weight), if_node(8), out=8)
    graph = nir.read(str(path))
    graph.nodes["n0"] = nir.Affine(weight.astype(np.float32), np.zeros(8, np.float32))
    theirs_model = sinabs_from_nir(graph, batch_size=1)
    frames = frames_of((6, 1, 1), steps=40, clips=1)
    with torch.no_grad():
        theirs = theirs_model(torch.from_numpy(frames.reshape(40, 6)).float())[0].numpy()
    assert any(isinstance(part, sl.IAFSqueeze) for part in theirs_model.modules())
    ours = reference.run(read(path, NirOptions(convention="sinabs")), frames).layers["n1"].raster
    assert theirs.sum() > 20
    assert np.array_equal(ours.reshape(theirs.shape), theirs)
    came_in(record_property, [int(theirs.sum())])


def test_a_step_in_another_unit_is_refused_with_the_one_that_fits(tmp_path: Path) -> None:
    """The state of an exponential leak with dt = 1e-4, by hand: 0.1 / (1 - exp(-1/25)) = 2.55 spikes of weight 1."""
    node = nir.LIF(*(np.array([value]) for value in (0.0025, 1.0, 0.0, 0.1)))
    path = chain_file(tmp_path / "s.nir", 1, nir.Linear(np.ones((1, 1))), node)
    for convention, rule in (("sinabs", "a leak that leaves a memory"), ("spikefold", "leak")):
        found = issues_of(path, convention=convention)
        assert f"n1 (LIF): {rule}" in found
    with pytest.raises(Exception, match=r"--nir dt=0\.001"):
        read(path, NirOptions(convention="sinabs"))
    network = read(path, NirOptions(convention="sinabs", dt=1e-4, steps=15))
    spikes = reference.run(network, np.ones((15, 1, 1, 1, 1), np.int64)).layers["n1"].raster.ravel()
    assert np.flatnonzero(spikes).tolist() == [2, 5, 8, 10, 13]
    slow = chain_file(tmp_path / "d.nir", 1, nir.Linear(np.ones((1, 1))), lif_node(1, tau=1e6, r=1.0))
    assert "n1 (LIF): an input that moves the neuron" in issues_of(slow, convention="sinabs")
    assert "n1 (IF): an input that moves the neuron" in issues_of(
        chain_file(tmp_path / "i.nir", 1, nir.Linear(np.ones((1, 1))), if_node(1)), convention="spikingjelly"
    )


def test_a_flatten_that_counts_the_batch_is_whole_where_the_weights_take_the_map(tmp_path: Path) -> None:
    first, last = nir.Input({"input": np.array([2, 4, 4])}), nir.Output({"output": np.array([3])})
    flatten = nir.Flatten({"input": np.array([2, 4, 4])}, 1, -1)
    nodes = {"in": first, "f": flatten, "d": nir.Linear(np.ones((3, 32))), "o": if_node(3), "out": last}
    assert [layer.name for layer in read(graph_file(tmp_path / "n.nir", nodes), NirOptions(convention="sinabs"))] == [
        "d", "o"
    ]  # fmt: skip
    nodes["d"] = nir.Linear(np.ones((3, 16)))
    found = issues_of(graph_file(tmp_path / "m.nir", nodes))
    assert "f (Flatten): Flatten of everything" in found
