# SPDX-License-Identifier: Apache-2.0
"""What a chip's network is made of: max pools of spikes become OR neurons where the chip has those, exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network, Op
from spikefold.export.neuron import Neuron
from spikefold.export.ops import AvgPool2d, Conv2d, Dense, MaxPool2d, SumPool2d
from spikefold.hardware.loihi.chip import LOIHI2
from spikefold.hardware.loihi.lava import client as lava_client
from spikefold.hardware.simulators import reference
from spikefold.hardware.simulators.compare import compare
from spikefold.hardware.speck.chip import SPECK2F
from spikefold.stages.chip_files import chip_network
from spikefold.stages.exchange.export_network import export_network
from spikefold.stages.exchange.foreign import Foreign
from spikefold.train.data.clips import ClipSet
from tests.silent import Silent


def _pooled() -> Network:
    rng, one = np.random.default_rng(5), Neuron(np.array(1.0))
    layers = (
        Layer("c1", Conv2d(rng.normal(0.2, 0.3, (4, 2, 3, 3)), padding=(1, 1))),
        Layer("n1", one),
        Layer("pool", MaxPool2d((2, 2))),
        Layer("fc", Dense(rng.normal(0.1, 0.3, (5, 4 * 4 * 4)))),
        Layer("out", one),
    )
    return Network(InputSpec((2, 8, 8), 1000, 6, 1), layers, 5)


@pytest.mark.lava
def test_a_max_pool_of_spikes_runs_on_loihi_as_or_neurons() -> None:
    frames = (np.random.default_rng(6).random((6, 4, 2, 8, 8)) < 0.3).astype(np.uint16)
    made = chip_network(_pooled(), LOIHI2, frames)
    assert LOIHI2.violations(made.integer) == []
    assert [layer.name for layer in made.integer.neurons] == ["n1", "pool", "out"]
    ours = reference.run(made.integer, frames)
    found = compare(ours, lava_client.run(made.integer, frames))
    assert found.mismatches == 0
    assert found.spikes > 200
    # the same integers with the pool itself: every spike is where the largest of its window was
    names = {"pool.or", "pool"}
    layers = [layer for layer in made.integer if layer.name not in names]
    pool = Layer("pool", MaxPool2d((2, 2)), ("n1",))
    with_pool = replace(made.integer, layers=(*layers[:2], pool, *layers[2:]))
    plain = reference.run(with_pool, frames)
    for name in ("n1", "out"):
        assert np.array_equal(plain.layers[name].raster, ours.layers[name].raster)
        assert plain.layers[name].spikes > 0


def test_a_max_pool_that_is_no_or_is_refused_with_the_reason() -> None:
    network = _pooled()
    several = replace(network["n1"], op=Neuron(np.array(1.0), max_spikes=None))
    layers = [several if layer.name == "n1" else layer for layer in network]
    with pytest.raises(UnsupportedError, match="cannot be rewritten") as caught:
        chip_network(replace(network, layers=tuple(layers)), SPECK2F, None)
    assert [(issue.where, issue.limit) for issue in caught.value.issues] == [("pool", "one layer of binary spikes")]


def _lacking(kind: str) -> Network:
    """Networks that use what a chip has not: pools, groups, dilation, a kernel that is no square."""
    rng, one = np.random.default_rng(7), Neuron(np.array(1.0))

    def conv(*shape: int, **geometry: Any) -> Conv2d:
        return Conv2d(rng.normal(0.15, 0.3, shape), **geometry)

    pools: dict[str, Op] = {"max": MaxPool2d((2, 2)), "sum": SumPool2d((2, 2)), "average": AvgPool2d((2, 2))}
    between: dict[str, tuple[Op, Op]] = {
        "groups": (
            conv(4, 2, 3, 3, groups=2, padding=(1, 1)),
            conv(4, 1, 3, 3, groups=4, stride=(2, 2), padding=(1, 1)),
        ),
        "dilation": (
            conv(4, 4, 3, 3, dilation=(2, 2), padding=(2, 2)),
            conv(4, 4, 3, 3, dilation=(2, 1), stride=(2, 2), padding=(2, 1)),
        ),
        "oblong": (conv(4, 4, 3, 1, padding=(1, 0)), conv(4, 4, 1, 3, stride=(2, 2), padding=(0, 1))),
    }
    first = [Layer("c1", conv(4, 2, 3, 3, padding=(1, 1))), Layer("n1", one)]
    if kind == "input pool":
        first = [Layer("in", pools["sum"]), Layer("c1", conv(4, 2, 3, 3, padding=(1, 1))), Layer("n1", one)]
        middle = []
    elif kind in pools:
        middle = [Layer("pool", pools[kind])]
    else:
        pair = between[kind]
        middle = [Layer("c2", pair[0]), Layer("n2", one), Layer("c3", pair[1]), Layer("n3", one)]
    dense = Dense(rng.normal(0.1, 0.3, (5, 4 * 4 * 4)))
    layers = (*first, *middle, Layer("fc", dense), Layer("out", one))
    return Network(InputSpec((2, 8, 8), 1000, 6, 1), layers, 5)


@pytest.mark.lava
@pytest.mark.parametrize("kind", ["sum", "average", "max", "groups", "dilation", "oblong", "input pool"])
def test_export_alone_brings_what_a_chip_lacks_to_both_chips(kind: str, tmp_path: Path) -> None:
    frames = (np.random.default_rng(6).random((6, 3, 2, 8, 8)) < 0.3).astype(np.uint16)
    clips = ClipSet(frames, np.array([0, 1, 2]))
    found = Foreign(kind, _lacking(kind), None, {"source": {"function": kind}})
    names = ("speck2f",) if kind == "oblong" else ("speck2f", "loihi2")
    report = export_network(found, names, tmp_path / "out", Silent(), clips)
    steps = {name: [entry["pass"] for entry in chip["passes"]] for name, chip in report["chips"].items()}
    assert (
        steps
        == {
            "sum": {"speck2f": [], "loihi2": ["pool_into_weights"]},
            "average": {"speck2f": [], "loihi2": ["pool_into_weights"]},
            "max": {"speck2f": ["maxpool_to_or"], "loihi2": ["maxpool_to_or"]},
            "groups": {"speck2f": ["expand_kernels"], "loihi2": []},
            "dilation": {"speck2f": ["expand_kernels", "square_kernels"], "loihi2": []},
            "oblong": {"speck2f": ["square_kernels"]},
            "input pool": {"speck2f": ["pool_into_weights"], "loihi2": ["pool_into_weights"]},
        }[kind]
    )
    for name, parity in report["parity"].items():
        assert parity["mismatches"] == 0
        assert parity["spikes"] > 100, name
        assert len(parity["runners"]) == 3
    for chip in report["chips"].values():
        for entry in chip["passes"]:
            assert entry["spikes"] > 50
            assert entry["flips"] == 0
            assert entry["changed"]
