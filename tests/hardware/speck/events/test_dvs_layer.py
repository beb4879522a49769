# SPDX-License-Identifier: Apache-2.0
"""Speck's sensor layer, event by event, equals the same steps done to whole images of counts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.errors import ConfigError, DataError, NetworkError
from spikefold.event_dtype import EVENT_DTYPE
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.ops import Dense
from spikefold.hardware.speck.events.dvs_layer import DvsLayer, entering
from spikefold.train.data.events import pack_events


def reader(shape: tuple[int, int, int]) -> Network:
    """Some network that reads such a map."""
    dense = Dense(np.ones((1, int(np.prod(shape))), np.int64))
    return Network(InputSpec(shape, 1000, 1), (Layer("w", dense), Layer("n", Neuron(np.array(1)))), 1)


def images(layer: DvsLayer, events: np.ndarray) -> np.ndarray:
    """Counts ``(C, H, W)`` of all events, the layer's steps one array operation each."""
    height, width = layer.sensor
    counts = np.zeros((2, height, width), np.int64)
    np.add.at(counts, (events["p"], events["y"], events["x"]), 1)
    counts[0] *= layer.off
    counts[1] *= layer.on
    counts = counts.sum(axis=0, keepdims=True) if layer.merge else counts
    down, across = layer.pool
    counts = counts[:, : height // down * down, : width // across * across]
    counts = counts.reshape(len(counts), height // down, down, width // across, across).sum(axis=(2, 4))
    top, left = layer.origin
    counts = (
        counts[:, top:, left:]
        if layer.size is None
        else counts[:, top : top + layer.size[0], left : left + layer.size[1]]
    )
    counts = counts[:, ::-1] if layer.mirror_y else counts
    counts = counts[:, :, ::-1] if layer.mirror_x else counts
    return counts.transpose(0, 2, 1) if layer.mirror_diagonal else counts


@st.composite
def layers(draw: st.DrawFn) -> DvsLayer:
    sensor = draw(st.tuples(st.integers(4, 13), st.integers(4, 13)))
    pool = draw(st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4])))
    pooled = [side // by for side, by in zip(sensor, pool, strict=True)]
    origin: Any = tuple(draw(st.integers(0, side - 1)) for side in pooled)
    size: Any = tuple(draw(st.integers(1, side - first)) for side, first in zip(pooled, origin, strict=True))
    flags = [draw(st.booleans()) for _ in range(4)]
    off, on = draw(st.sampled_from([(True, True), (True, False), (False, True)]))
    return DvsLayer(sensor, flags[0], off, on, pool, origin, draw(st.sampled_from([size, None])), *flags[1:])


def test_equals_array_operations_on_whole_images() -> None:
    covered: Counter[str] = Counter()

    @settings(max_examples=200, derandomize=True)
    @given(layers(), st.integers(0, 2**32))
    def compare(layer: DvsLayer, seed: int) -> None:
        rng = np.random.default_rng(seed)
        height, width = layer.sensor
        t, x, y, p = (rng.integers(0, most, 200) for most in (50, width, height, 2))
        events = pack_events(t, x, y, p)
        wanted = images(layer, events)
        assert layer.output_shape == wanted.shape
        addresses, times = entering(layer, reader(wanted.shape), events)
        channels, high, wide = wanted.shape
        counts = np.bincount(addresses, minlength=wanted.size).reshape(high, wide, channels).transpose(2, 0, 1)
        np.testing.assert_array_equal(counts, wanted)
        assert np.all(np.diff(times) >= 0)
        covered["events"] += len(addresses)
        covered["dropped"] += len(events) - len(addresses)
        for name in ("merge", "mirror_y", "mirror_x", "mirror_diagonal"):
            covered[name] += getattr(layer, name)

    compare()
    assert min(covered[name] for name in ("merge", "mirror_y", "mirror_x", "mirror_diagonal")) > 50, covered
    assert min(covered["events"], covered["dropped"]) > 5000, covered


def test_time_decides_the_order_and_the_list_among_equal_times() -> None:
    events = pack_events(*(np.array(column) for column in ([30, 10, 20, 10], [0, 1, 2, 3], [0] * 4, [1, 0, 1, 1])))
    addresses, times = entering(DvsLayer((1, 4)), reader((2, 1, 4)), events)
    assert addresses.tolist() == [1 * 2 + 0, 3 * 2 + 1, 2 * 2 + 1, 0 * 2 + 1]
    assert times.tolist() == [10, 10, 20, 30]
    assert addresses.dtype == times.dtype == np.int64


def test_one_event_through_every_step_by_hand() -> None:
    """ON at y 6, x 9 of 8x16: pooled to 3, 4; cut from 1, 2 to 2, 2; mirrored in 3x4 to 0, 1; swapped to 1, 0."""
    layer = DvsLayer(
        (8, 16), pool=(2, 2), origin=(1, 2), size=(3, 4), mirror_x=True, mirror_y=True, mirror_diagonal=True
    )
    assert layer.output_shape == (2, 4, 3)
    event = pack_events(*(np.array([value]) for value in (7, 9, 6, 1)))
    addresses, times = entering(layer, reader((2, 4, 3)), event)
    assert (addresses.tolist(), times.tolist()) == ([(1 * 3 + 0) * 2 + 1], [7])


def test_another_map_than_the_networks_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"\(2, 128, 128\).*\(2, 32, 32\)"):
        entering(DvsLayer(), reader((2, 32, 32)), np.empty(0, EVENT_DTYPE))
    addresses, times = entering(DvsLayer(pool=(4, 4)), reader((2, 32, 32)), np.empty(0, EVENT_DTYPE))
    assert len(addresses) == len(times) == 0


def test_settings_that_the_layer_has_not_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        DvsLayer(on=False, off=False, pool=(3, 0), origin=(0, -1), size=(8, 8))
    assert [issue.got for issue in caught.value.issues] == ["neither on nor off", "(3, 0)", "8x8 from (0, -1)"]
    changes: Any = ({"size": (0, 4)}, {"origin": (128, 0)}, {"pool": (4, 4), "size": (33, 32)}, {"sensor": (0, 4)})
    for change in changes:
        with pytest.raises(ConfigError):
            DvsLayer(**change)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"x": 4}, "x runs from 4 to 4, allowed is 0 to 3"),
        ({"y": -1}, "y runs from -1 to -1"),
        ({"p": 2}, "p runs from 2 to 2"),
        ({"t": -5}, "t runs from -5 to -5, allowed is 0 or more"),
    ],
)
def test_events_outside_the_sensor_are_refused(change: dict[str, int], named: str) -> None:
    events = np.zeros(1, [(name, np.int64) for name in "txyp"])
    for name, value in change.items():
        events[name] = value
    with pytest.raises(DataError, match=named):
        entering(DvsLayer((4, 4)), reader((2, 4, 4)), events)


def test_other_arrays_than_events_are_refused() -> None:
    for wrong in (
        np.zeros((3, 4)),
        np.zeros(3, [("t", "i8"), ("x", "i8"), ("y", "i8")]),
        np.zeros(3, [(name, "f8") for name in "txyp"]),
        np.zeros((2, 2), EVENT_DTYPE),
    ):
        with pytest.raises(DataError, match="events are"):
            entering(DvsLayer((4, 4)), reader((2, 4, 4)), wrong)


def test_recordings_go_the_compiled_way_and_other_types_come_to_the_same() -> None:
    rng = np.random.default_rng(0)
    count = 500
    t, x, y, p = np.sort(rng.integers(0, 10**6, count)), *rng.integers(0, 12, (2, count)), rng.integers(0, 2, count)
    events = pack_events(t, x, y, p)
    assert events.dtype == EVENT_DTYPE  # else every recording would go the slow way, unseen
    wide = events.astype([(name, np.int64) for name in "txyp"])
    layer = DvsLayer((12, 12), pool=(2, 2), origin=(1, 0), size=(4, 5), mirror_x=True)
    one, other = (entering(layer, reader(layer.output_shape), given) for given in (events, wide))
    assert 200 < len(one[0]) < count
    for here, there in zip(one, other, strict=True):
        assert np.array_equal(here, there)
        assert here.dtype == there.dtype == np.int64
