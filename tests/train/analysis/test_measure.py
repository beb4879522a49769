# SPDX-License-Identifier: Apache-2.0
"""Every count of an analysis equals a plain loop over clips, steps and neurons; batches make no difference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional

from spikefold.energy.counts.count import count
from spikefold.errors import SpikefoldError
from spikefold.export.from_torch import from_torch
from spikefold.export.network import InputSpec
from spikefold.train.analysis.features import Rules
from spikefold.train.analysis.firing_rates import LayerFiring
from spikefold.train.analysis.measure import Analysis, analyse
from spikefold.train.analysis.potentials import ptd
from spikefold.train.analysis.values import to_arrays, to_json
from spikefold.train.deploy.tracing import trace_model
from spikefold.train.models.attention import Attention
from tests.train.analysis.analysis_cases import CLASSES, CLIPS, SHAPE, STEPS, clips, network

FRAMES = clips()
CASES = {
    "asa": {},
    "vanilla pool lif": {
        "attention": "none",
        "reduction": "pool",
        "neuron": "lif",
        "keep": 0.3,
        "threshold": 0.3,
        "surrogate": "rectangle",
    },
    "plif spike_max hidden": {
        "attention": "none",
        "reduction": "spike_max",
        "neuron": "plif",
        "hidden": (9,),
        "threshold": 0.1,
    },
    "decay spike_mean": {"reduction": "spike_mean", "neuron": "lif_decay_input", "threshold": 0.2},
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[dict[str, object], Analysis]:
    options = CASES[request.param]
    return options, analyse(network(**options), FRAMES, batch=3)


def test_every_neuron_fired_in_as_many_clips_as_the_trace_says(case: tuple[dict[str, object], Analysis]) -> None:
    options, found = case
    trace = trace_model(network(**options), FRAMES)
    assert list(found.layers) == list(trace.layers)
    compared = 0
    for name, layer in found.layers.items():
        raster = trace.layers[name].raster
        expected = np.zeros((STEPS, *raster.shape[2:]), np.int64)
        for clip in range(CLIPS):
            for place in np.argwhere(raster[:, clip]):
                expected[tuple(place)] += 1
        assert np.array_equal(layer.firing.fired, expected)
        assert 0 < layer.firing.spikes < expected.size * CLIPS
        compared += layer.firing.spikes
    assert compared == trace.spikes > 500


def test_rates_follow_their_definitions(case: tuple[dict[str, object], Analysis]) -> None:
    options, found = case
    trace = trace_model(network(**options), FRAMES)
    rasters = [layer.raster for layer in trace.layers.values()]
    for layer, raster in zip(found.layers.values(), rasters, strict=True):
        share = [
            [[raster[t, n, c].mean() for n in range(CLIPS)] for c in range(raster.shape[2])] for t in range(STEPS)
        ]
        assert np.allclose(layer.firing.c_sfr, np.mean(share, axis=2), rtol=1e-12, atol=0)
        assert np.allclose(layer.firing.n_sfr, raster.mean(axis=1), rtol=1e-12, atol=0)
        assert layer.firing.rate == pytest.approx(raster.mean(), rel=1e-12)
    flat = [np.concatenate([raster[t].reshape(CLIPS, -1) for raster in rasters], axis=1) for t in range(STEPS)]
    assert np.allclose(found.rates.t_sfr, [step.mean() for step in flat], rtol=1e-12, atol=0)
    assert found.rates.nasfr == pytest.approx(found.rates.t_sfr.mean(), rel=1e-12)
    assert found.rates.nasfr > 0.02


@pytest.mark.parametrize("options", [{}, {"attention": "none", "neuron": "lif", "hidden": (9,)}])
def test_nasfr_is_that_of_the_operation_counts(options: dict[str, object]) -> None:
    """As the published code weighs it: all neurons alike, dense layers and the output too."""
    model = network(**options)
    gates = {n: np.ones(part.channels) for n, part in model.layers.named_children() if isinstance(part, Attention)}
    described = from_torch(model.layers, InputSpec(SHAPE, 1000, STEPS), CLASSES, gates)
    counts = count(described, FRAMES, trace_model(model, FRAMES))
    found = analyse(model, FRAMES).rates
    assert counts.total("spikes") == found.spikes > 500
    assert counts.total("neurons") == found.neurons
    assert counts.nasfr == found.nasfr


@pytest.mark.parametrize("batch", [1, 2, CLIPS])
def test_batches_make_no_difference(batch: int) -> None:
    model = network()
    whole, parts = to_arrays(analyse(model, FRAMES, batch=CLIPS)), to_arrays(analyse(model, FRAMES, batch=batch))
    assert list(whole) == list(parts)
    assert len(whole) == 3 * 3 + 2
    for name, values in whole.items():
        assert np.array_equal(values, parts[name]), name
        assert values.sum() > 0


def test_the_state_left_by_somebody_else_does_not_count_and_none_is_left() -> None:
    model = network()
    first = analyse(model, FRAMES)
    with torch.no_grad():
        model(torch.from_numpy(FRAMES.astype(np.float32)))
    second = analyse(model.train(), FRAMES)
    assert first.rates.spikes == second.rates.spikes > 500
    assert np.array_equal(trace_model(model, FRAMES).layers["out"].raster.sum(1), first.layers["out"].firing.fired)
    functional.reset_net(model)
    assert all(module.v == 0.0 for module in model.modules() if hasattr(module, "v_threshold"))


def test_background_spikes_equal_a_loop_over_receptive_fields() -> None:
    """One 3x3 convolution, then one of 4x4 by steps of 2: the field of each neuron walked back by hand."""
    model, rules = network(), Rules(background=0.5)
    found = analyse(model, FRAMES, rules, batch=3)
    trace = trace_model(model, FRAMES)
    height, width = SHAPE[1:]
    for name, fields in (("sn1", _fields(1, 3, 1)), ("sn2", _two_layers())):
        sites, spikes = 0, np.zeros((STEPS, found.layers[name].firing.fired.shape[1]), np.int64)
        raster = trace.layers[name].raster
        for clip in range(CLIPS):
            events = FRAMES[:, clip].sum(axis=(0, 1), dtype=np.int64)
            bright = {
                (y, x)
                for y in range(height)
                for x in range(width)
                if 2 * events[y, x] * height * width > events.sum()
            }
            for (row, column), field in fields.items():
                if not bright & field:
                    sites += 1
                    spikes += raster[:, clip, :, row, column]
        background = found.layers[name].background
        assert background is not None
        assert 20 < background.sites == sites < raster.shape[3] * raster.shape[4] * CLIPS
        assert np.array_equal(background.spikes, spikes)
        assert 0 < spikes.sum() < raster.sum()
    assert found.layers["out"].background is None
    assert list(found.maps) == ["sn1", "sn2"]


def _fields(outputs: int, kernel: int, stride: int) -> dict[tuple[int, int], set[tuple[int, int]]]:
    """Pixels of each output, padding 1; ``outputs`` is how many times smaller the map is."""
    height, width = SHAPE[1:]
    return {
        (row, column): {
            (row * stride + i - 1, column * stride + j - 1)
            for i in range(kernel)
            for j in range(kernel)
            if 0 <= row * stride + i - 1 < height and 0 <= column * stride + j - 1 < width
        }
        for row in range(height // outputs)
        for column in range(width // outputs)
    }


def _two_layers() -> dict[tuple[int, int], set[tuple[int, int]]]:
    first = _fields(1, 3, 1)
    return {place: set().union(*(first[inner] for inner in field)) for place, field in _fields(2, 4, 2).items()}


def test_values_for_json_add_up() -> None:
    analysis = analyse(network(), FRAMES, Rules(null=0.05))
    found = to_json(analysis)
    assert found["spikes"] == sum(layer["spikes"] for layer in found["layers"].values()) > 500
    for name, layer in found["layers"].items():
        for quantity in ("potential", "current"):
            values = layer[quantity]
            full = getattr(analysis.layers[name].potentials, quantity)
            assert values["histogram_by_step"] == full.sum(axis=1)[:, 1:-1].tolist()
            assert values["ptd_by_step"] == [ptd(row, layer["threshold"]) for row in full.sum(axis=1)]
            assert values["ptd_by_channel"] == [ptd(row, layer["threshold"]) for row in full.sum(axis=0)]
            inside = np.array(values["histogram_by_step"]).sum(axis=0)
            assert inside.tolist() == values["histogram"]
            assert inside.sum() + values["below"] + values["above"] == layer["neurons"] * STEPS * CLIPS
        assert ("features" in layer) == (name != "out")
    features = found["layers"]["sn1"]["features"]
    kinds = features["kinds"].values()
    assert sum(kind["count"] for kind in kinds) == features["channels_and_steps"] == 4 * STEPS
    assert sum(kind["spikes"] for kind in kinds) == found["layers"]["sn1"]["spikes"]
    whole = found["layers"]["sn1"]["potential"]["histogram"]
    assert sum(np.array(kind["histogram"]) for kind in kinds).tolist() == whole
    codes = np.array(features["kind_by_step_and_channel"])
    assert [int((codes == i).sum()) for i in range(3)] == [kind["count"] for kind in kinds]
    weighed = sum(k["qe"] * k["count"] for k in kinds if k["count"]) / features["channels_and_steps"]
    assert weighed == pytest.approx(found["layers"]["sn1"]["qe"], rel=1e-12)


def test_what_cannot_be_analysed_is_refused() -> None:
    with pytest.raises(SpikefoldError, match="nothing to analyse"):
        analyse(network(), FRAMES[:, :0])
    with pytest.raises(SpikefoldError, match="nothing to analyse"):
        analyse(network(), FRAMES, batch=0)
    for fired, said in ((np.full((1, 1, 1, 1), 3), "0 to 2 clips"), (np.zeros((1, 1, 1)), "int64")):
        with pytest.raises(SpikefoldError, match=said):
            LayerFiring(fired, 2)
