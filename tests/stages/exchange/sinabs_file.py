# SPDX-License-Identifier: Apache-2.0
"""Networks of sinabs as ``.nir`` files, written as a user of sinabs writes them; and recordings for them."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import sinabs.layers as sl
import torch
from sinabs.activation import MembraneReset, MembraneSubtract, MultiSpike, SingleSpike
from sinabs.nir import to_nir
from torch import nn

from spikefold.train.data.events import Recording, pack_events, save_packed

STEPS, CLIPS, SIZE = 6, 4, (2, 34, 34)
# by path of the layer in the model below: what sinabs leaves open, though nir cannot write it so
_SHAPES = {"0": (34, 34), "2": (16, 16)}


def _dyadic(shape: torch.Size, low: int, high: int) -> torch.Tensor:
    """Weights in 64ths, so that float32 and float64 hold every sum exactly and no spike hangs on rounding."""
    return torch.randint(low, high, tuple(shape), generator=torch.Generator().manual_seed(len(shape))) / 64


def sinabs_network(*, single: bool, pool: bool) -> nn.Sequential:
    """Three layers; ``single``: one spike a step and a reset to zero; ``pool``: a sum pool before the last."""

    def spiking() -> sl.IAFSqueeze:
        if single:
            return sl.IAFSqueeze(batch_size=1, spike_fn=SingleSpike, reset_fn=MembraneReset())
        return sl.IAFSqueeze(batch_size=1, spike_fn=MultiSpike, reset_fn=MembraneSubtract())

    tail = (
        [sl.SumPool2d(2), nn.Flatten(), nn.Linear(6 * 4 * 4, 10)] if pool else [nn.Flatten(), nn.Linear(6 * 64, 10)]
    )
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, bias=False),
        spiking(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1),
        spiking(),
        *tail,
        spiking(),
    )
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.data = _dyadic(layer.weight.shape, -12, 18)
            if layer.bias is not None:
                layer.bias.data = torch.arange(len(layer.bias)) / 64 - 0.05859375
    return model


def written(model: nn.Sequential, path: Path) -> Path:
    """As a user of sinabs does, after the one field is filled in that nir cannot write empty."""
    with torch.no_grad():
        model(torch.zeros(1, *SIZE))
    graph = to_nir(model, torch.zeros(1, *SIZE))
    for name, node in graph.nodes.items():
        if isinstance(node, nir.Conv2d):
            node.input_shape = np.array(_SHAPES[name])
        elif isinstance(node, nir.Flatten):
            node.input_type = {
                "input": np.array((6, 4, 4) if "SumPool2d" in map(_kind, graph.nodes.values()) else (6, 8, 8))
            }
    nir.write(str(path), graph)
    return path


def _kind(node: object) -> str:
    return type(node).__name__


def recordings(folder: Path, sensor: tuple[int, int]) -> Path:
    """Noise of two classes: six to train on, four to test on."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for split, count in (("train", 6), ("test", 4)):
        made = []
        for index in range(count):
            t = np.sort(rng.integers(0, 300_000, 3000))
            x, y, p = rng.integers(0, sensor[1], 3000), rng.integers(0, sensor[0], 3000), rng.integers(0, 2, 3000)
            made.append(Recording(pack_events(t, x, y, p), sensor, index % 2, f"r{index}"))
        save_packed(folder / f"{split}.npz", made)
    return folder
