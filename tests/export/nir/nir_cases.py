# SPDX-License-Identifier: Apache-2.0
"""Graphs of NIR as files, and what the tests that read them compare."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from spikefold.errors import UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Leak, Neuron
from spikefold.export.nir.from_nir import read
from spikefold.export.nir.options import NirOptions, nir_options
from spikefold.export.ops import Conv2d, Dense, SumPool2d

OURS = NirOptions(convention="spikefold")
"""Most graphs of these tests are made by `nir` itself, and nothing in them says how their neurons step."""


def graph_file(path: Path, nodes: dict[str, nir.NIRNode], edges: list[tuple[str, str]] | None = None) -> Path:
    """A graph as a file, a chain in the order of the nodes unless edges are given."""
    nir.write(str(path), nir.NIRGraph(nodes, edges if edges is not None else list(pairwise(nodes))))
    return path


def ends(shape: tuple[int, ...], out: tuple[int, ...]) -> tuple[nir.Input, nir.Output]:
    return nir.Input({"input": np.array(shape)}), nir.Output({"output": np.array(out)})


def if_node(*shape: int, r: float = 1.0, theta: float = 1.0) -> nir.IF:
    return nir.IF(r=np.full(shape, r), v_threshold=np.full(shape, theta))


def lif_node(*shape: int, tau: float = 2.0, r: float = 2.0, v_leak: float = 0.0, theta: float = 1.0) -> nir.LIF:
    return nir.LIF(*(np.full(shape, value) for value in (tau, r, v_leak, theta)))


def conv_node(shape: tuple[int, ...], size: tuple[int, int], **changed: Any) -> nir.Conv2d:
    given = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": np.zeros(shape[0])} | changed
    # as an array: nir 1.0.4 cannot work out the output of padding "same" from plain numbers
    weight = np.random.default_rng(5).normal(0.1, 0.4, shape)
    return nir.Conv2d(np.array(size), weight, **given)


def chain_file(path: Path, inputs: int, *nodes: nir.NIRNode, out: int | None = None) -> Path:
    first, last = ends((inputs,), (out or inputs,))
    return graph_file(path, {"in": first, **{f"n{i}": node for i, node in enumerate(nodes)}, "out": last})


def frames_of(shape: tuple[int, int, int], rate: float = 0.5, steps: int = 8, clips: int = 4) -> np.ndarray:
    return np.random.default_rng(1).poisson(rate, (steps, clips, *shape)).clip(max=3)


def same_spikes(one: np.ndarray, other: np.ndarray) -> None:
    assert int((one.reshape(other.shape) != other).sum()) == 0
    assert other.sum() > 0
    assert (other == 0).any()


def issues_of(path: Path, **options: Any) -> dict[str, str]:
    """Each refusal as ``node: rule``, with what was got."""
    with pytest.raises(UnsupportedError) as caught:
        read(path, nir_options(**({"convention": "spikefold"} | options)))
    assert caught.value.where == str(path)
    assert all(issue.hint and issue.limit for issue in caught.value.issues)
    return {f"{issue.where}: {issue.rule}": issue.got for issue in caught.value.issues}


def our_network() -> Network:
    ge, rng = Neuron(np.array(0.5)), np.random.default_rng(5)
    conv = Conv2d(rng.normal(0.1, 0.4, (4, 1, 3, 2)), rng.normal(size=4), (2, 1), (1, 0), (1, 2), 2)
    layers = (
        Layer("conv", conv),
        Layer("n", replace(ge, threshold=np.array([0.25, 0.5, 0.75, 1]).reshape(4, 1, 1))),
        Layer("pool", SumPool2d((1, 2))),
        Layer("fc", Dense(rng.normal(0, 0.3, (6, 32)))),
        Layer("m", replace(ge, leak=Leak(0.75), threshold=np.linspace(0.25, 0.75, 6).reshape(6, 1, 1))),
        Layer("last", Dense(rng.normal(0.3, 0.8, (4, 6)), rng.normal(size=4))),
        Layer("out", replace(ge, leak=Leak(0.0))),
    )
    return Network(InputSpec((2, 7, 7), 2500, 5, 3), layers, 2)
