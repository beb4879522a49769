# SPDX-License-Identifier: Apache-2.0
"""400 random layers, counted on a running network, equal a loop over every synapse."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import spikefold.energy

# torch tells that it copies the input for an uneven `same`
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")

PLAIN = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LARGEST = (9, 6, 4)
KINDS = ("binary", "graded", "signed", "analog")
DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def _source(position: int, size: int, mode: str) -> int | None:
    """Input position that a position outside reads, or None where it reads a zero of the padding."""
    if 0 <= position < size:
        return position
    if mode == "circular":
        return position % size
    if mode == "replicate":
        return 0 if position < 0 else size - 1
    if mode == "reflect":
        return -position if position < 0 else 2 * (size - 1) - position
    return None


def _visit(layer: Any, x: np.ndarray, outputs: tuple[int, ...]) -> dict[str, int]:
    """Counts of one layer and its input ``(frames, C, *sizes)``.

    Every tap of every output (transposed: of every input) is visited for every group.
    """
    sizes, groups = x.shape[2:], layer.groups
    per_input, channels = layer.out_channels // groups, layer.in_channels // groups
    if layer.padding == "same":
        before = [d * (k - 1) // 2 for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
    else:
        before = [0] * len(sizes) if layer.padding == "valid" else list(layer.padding)
    counted = {"dense_padded": 0, "dense": 0, "pairs": 0, "events": 0}
    nonzero = (x != 0).astype(np.int64)
    events = np.abs(x).astype(np.int64)
    places = sizes if layer.transposed else outputs
    for place in itertools.product(*map(range, places)):
        for tap in itertools.product(*map(range, layer.kernel_size)):
            counted["dense_padded"] += x.shape[0] * groups * channels * per_input
            found: list[int | None] = []
            for axis, (at, k) in enumerate(zip(place, tap, strict=True)):
                stride, dilation = layer.stride[axis], layer.dilation[axis]
                if layer.transposed:
                    out = at * stride - before[axis] + k * dilation
                    found.append(at if 0 <= out < outputs[axis] else None)
                else:
                    found.append(_source(at * stride - before[axis] + k * dilation, sizes[axis], layer.padding_mode))
            if None in found:
                continue
            for group in range(groups):
                where = (slice(None), slice(group * channels, (group + 1) * channels), *found)
                counted["dense"] += x.shape[0] * channels * per_input
                counted["pairs"] += int(nonzero[where].sum()) * per_input
                counted["events"] += int(events[where].sum()) * per_input
    return counted


def _random_layer(rng: np.random.Generator, dimensions: int) -> tuple[Any, tuple[int, ...]]:
    """A layer and the size of its input."""
    transposed = rng.random() < 0.3

    def draw(low: int, high: int) -> Any:
        return tuple(int(n) for n in rng.integers(low, high, dimensions))

    groups, per_group, out = (int(n) for n in rng.integers(1, 4, 3))
    size = draw(2, LARGEST[dimensions - 1] + 1)
    kernel, stride, dilation, padding = draw(1, 4), draw(1, 4), draw(1, 3), draw(0, 3)
    options: dict[str, Any] = {"groups": groups, "dilation": dilation, "bias": bool(rng.random() < 0.5)}
    if transposed:
        extra = tuple(int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True))
        options |= {"stride": stride, "padding": padding, "output_padding": extra}
    elif rng.random() < 0.2:
        options |= {"padding": "same"}
    else:
        options |= {"stride": stride, "padding": padding}
    if not transposed:
        options["padding_mode"] = str(rng.choice(["zeros", "zeros", "circular", "reflect", "replicate"]))
    kinds: Any = TRANSPOSED if transposed else PLAIN
    return kinds[dimensions - 1](groups * per_group, groups * out, kernel, **options), size


def _random_input(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    spikes = rng.random(shape) < rng.uniform(0.05, 0.6)
    if kind == "binary":
        return spikes.astype(np.float64)
    if kind == "graded":
        return (spikes * rng.integers(0, 5, shape)).astype(np.float64)
    if kind == "signed":
        return (spikes * rng.integers(-1, 2, shape)).astype(np.float64)
    return spikes * rng.integers(1, 8, shape) / 16


def _runs(layer: Any, x: torch.Tensor) -> torch.Tensor | None:
    try:
        with torch.no_grad():
            return layer(x)
    except RuntimeError:
        return None  # the kernel does not fit, or the padding is too large for its mode: no layer


def _kind_seen(x: np.ndarray) -> str:
    if np.isin(x, (0, 1)).all():
        return "binary"
    if (x != np.trunc(x)).any():
        return "analog"
    return "signed" if x.min() < 0 else "graded"


def test_four_hundred_random_layers_equal_a_loop_over_every_synapse() -> None:
    rng = np.random.default_rng(0)
    checked: dict[str, int] = {}
    pairs = 0
    while checked.get("layers", 0) < 400:
        layer, size = _random_layer(rng, int(rng.integers(1, 4)))
        kind = KINDS[int(rng.integers(4))]
        values = _random_input(rng, kind, (int(rng.integers(1, 4)), layer.in_channels, *size))
        dtype = DTYPES[int(rng.integers(3))]
        layer, x = layer.to(dtype), torch.tensor(values, dtype=dtype)
        out = _runs(layer, x)
        if out is None or not out.numel():
            continue
        found = spikefold.energy.profile(nn.Sequential(layer), x, layout="N").layers
        assert len(found) == 1
        expected = _visit(layer, values, tuple(out.shape[2:]))
        if _kind_seen(values) == "analog":
            expected["events"] = expected["pairs"]
        assert {field: getattr(found[0], field) for field in expected} == expected, (layer, values.shape)
        assert found[0].input_kind == _kind_seen(values)
        assert found[0].bias_adds == (out.numel() if layer.bias is not None else 0)
        assert found[0].non_binary == int((~np.isin(values, (0, 1))).sum())
        pairs += expected["pairs"]
        for what in (
            "layers",
            f"{x.dim() - 2}-D",
            f"transposed {layer.transposed}",
            layer.padding_mode,
            kind,
            f"same {layer.padding == 'same'}",
            f"groups {layer.groups > 1}",
        ):
            checked[what] = checked.get(what, 0) + 1
    assert pairs > 70_000
    assert min(checked.values()) > 15, checked


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_functional_convolutions_are_counted_as_their_modules(dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    functions: dict[str, Any] = {
        "conv": (nn.functional.conv1d, nn.functional.conv2d, nn.functional.conv3d)[dimensions - 1],
        "transposed": (
            nn.functional.conv_transpose1d,
            nn.functional.conv_transpose2d,
            nn.functional.conv_transpose3d,
        )[dimensions - 1],
    }
    checked = 0
    for _ in range(40):
        layer, size = _random_layer(rng, dimensions)
        x = torch.tensor(_random_input(rng, "binary", (2, layer.in_channels, *size)), dtype=torch.float32)
        out = _runs(layer, x)
        if layer.padding_mode != "zeros" or out is None or not out.numel():
            continue

        class Functional(nn.Module):
            def __init__(self, inner: Any) -> None:
                super().__init__()
                self.inner = inner

            def forward(self, y: torch.Tensor) -> torch.Tensor:
                one = self.inner
                if one.transposed:
                    return functions["transposed"](
                        y, one.weight, one.bias, one.stride, one.padding, one.output_padding, one.groups, one.dilation
                    )
                return functions["conv"](y, one.weight, one.bias, one.stride, one.padding, one.dilation, one.groups)

        (as_module,) = spikefold.energy.profile(nn.Sequential(layer), x, layout="N").layers
        (as_function,) = spikefold.energy.profile(Functional(layer), x, layout="N").layers
        for field in ("dense_padded", "dense", "pairs", "events", "bias_adds", "input_kind", "op"):
            assert getattr(as_function, field) == getattr(as_module, field), (layer, field)
        assert as_function.name == "inner"
        checked += as_module.pairs > 0
    assert checked > 10
