# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from typing import Any

import pytest
import sinabs.activation as sina
import sinabs.layers as sl
import torch
from spikingjelly.activation_based import functional, neuron, surrogate

from spikefold.train.models.neurons import make_neuron

STEPS, NEURONS = 60, 4000


def _current(mean: float, spread: float, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return mean + spread * torch.randn((STEPS, 1, NEURONS), generator=generator, dtype=dtype)


def _spikes(kind: str, inputs: list[float], *, threshold: float = 1.0, keep: float = 0.5) -> list[int]:
    """Of one neuron."""
    spikes = make_neuron(kind, threshold=threshold, keep=keep)(torch.tensor(inputs)[:, None])
    return [int(s) for s in spikes[:, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_leaky_neuron_is_the_one_of_the_paper(dtype: torch.dtype) -> None:
    """u = h + I; s = u >= 0.3; h = 0.3 (1 - s) u: not one of 240,000 neuron-steps differs."""
    current = _current(0.05, 0.2, dtype)
    h, expected = torch.zeros_like(current[0]), torch.zeros_like(current)
    for step in range(STEPS):
        u = h + current[step]
        expected[step] = (u - 0.3 >= 0).to(dtype)
        h = 0.3 * (1 - expected[step]) * u
    spikes = make_neuron("lif", threshold=0.3, keep=0.3)(current)
    assert spikes.numel() >= 200_000
    assert expected.mean() >= 0.05
    assert int((spikes != expected).sum()) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_papers_neuron_is_spikingjellys_and_sinabs_with_single_spikes(dtype: torch.dtype) -> None:
    """0.3 is 1 - 1/tau in one and exp(-1/tau) in the other: not one of 240,000 neuron-steps differs."""
    current = _current(0.05, 0.2, dtype)
    ours = make_neuron("lif", threshold=0.3, keep=0.3, spike="rectangle", detach_reset=False)(current)
    theirs = neuron.LIFNode(
        tau=1 / 0.7,
        decay_input=False,
        v_threshold=0.3,
        v_reset=0.0,
        surrogate_function=surrogate.Rect(alpha=2.0),
        step_mode="m",
    )
    options = {"tau_mem": -1 / math.log(0.3), "norm_input": False, "spike_threshold": 0.3}
    single = sl.LIF(spike_fn=sina.SingleSpike, reset_fn=sina.MembraneReset(), **options).to(dtype)
    several = sl.LIF(spike_fn=sina.MultiSpike, reset_fn=sina.MembraneReset(), **options).to(dtype)
    with torch.no_grad():
        found = {"SpikingJelly": theirs(current), "sinabs": single(current.movedim(0, 1)).movedim(0, 1)}
        differing = several(current.movedim(0, 1)).movedim(0, 1)
    assert ours.numel() >= 200_000
    assert ours.mean() >= 0.05
    assert {name: int((spikes != ours).sum()) for name, spikes in found.items()} == {"SpikingJelly": 0, "sinabs": 0}
    assert int((differing != ours).sum()) > 500, "sinabs' default, several spikes a step, is another neuron"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["lif_decay_input", "plif"])
def test_a_neuron_that_scales_its_input_is_the_one_of_the_paper(kind: str, dtype: torch.dtype) -> None:
    """v += (x - v) s, s = 1 - keep or sigmoid(w); fires at v >= 0.5 and is reset to 0."""
    current = _current(0.3, 0.8, dtype)
    neuron: Any = make_neuron(kind, threshold=0.5, keep=0.5).to(dtype)
    share = torch.tensor(0.5, dtype=dtype)
    if kind == "plif":
        assert neuron.w.item() == 0, "sigmoid(0) = 1 - keep"
        neuron.w.data.fill_(0.8)
        share = torch.sigmoid(neuron.w.detach())
    v, expected = torch.zeros_like(current[0]), torch.zeros_like(current)
    for step in range(STEPS):
        v = v + (current[step] - v) * share
        expected[step] = (v >= 0.5).to(dtype)
        v = (1 - expected[step]) * v
    spikes = neuron(current)
    assert spikes.numel() >= 200_000
    assert expected.mean() >= 0.05
    assert int((spikes != expected).sum()) == 0


def test_only_the_parametric_neuron_learns_its_leak() -> None:
    for kind, count in (("if", 0), ("lif", 0), ("lif_decay_input", 0), ("plif", 1)):
        neuron = make_neuron(kind, threshold=1.0, keep=0.7)
        assert len(list(neuron.parameters())) == count
        x = torch.full((3, 2), 0.7, requires_grad=True)
        neuron(x).sum().backward()
        assert all(bool(p.grad.abs() > 0) for p in neuron.parameters())
    parametric: Any = make_neuron("plif", threshold=1.0, keep=0.7)
    assert torch.sigmoid(parametric.w).item() == pytest.approx(0.3)


def test_the_neuron_without_leak_keeps_everything() -> None:
    current = _current(0.1, 0.3, torch.float64)
    v, expected = torch.zeros_like(current[0]), torch.zeros_like(current)
    for step in range(STEPS):
        v = v + current[step]
        expected[step] = (v >= 1.0).double()
        v = torch.where(expected[step] > 0, 0.0, v)
    spikes = make_neuron("if", threshold=1.0, keep=0.5)(current)
    assert expected.mean() >= 0.05
    assert int((spikes != expected).sum()) == 0


@pytest.mark.parametrize("kind", ["if", "lif"])
@pytest.mark.parametrize("threshold", [0.3, 1.0])
def test_a_neuron_fires_at_equality_and_not_below(kind: str, threshold: float) -> None:
    below = float(torch.nextafter(torch.tensor(threshold), torch.tensor(0.0)))
    assert _spikes(kind, [threshold], threshold=threshold) == [1]
    assert _spikes(kind, [below], threshold=threshold) == [0]


def test_the_leak_comes_before_the_input_which_it_does_not_scale() -> None:
    assert _spikes("lif", [1.0]) == [1]
    assert _spikes("lif", [0.8, 0.6]) == [0, 1]
    assert _spikes("lif", [0.8, 0.59]) == [0, 0]


def test_keep_is_the_share_that_stays() -> None:
    assert _spikes("lif", [0.8, 0.4], keep=0.75) == [0, 1]
    assert _spikes("lif", [0.8, 0.39], keep=0.75) == [0, 0]
    assert _spikes("if", [0.8, 0.25], keep=0.1) == [0, 1]


@pytest.mark.parametrize("kind", ["if", "lif"])
def test_a_spike_resets_to_zero_and_comes_once_a_step(kind: str) -> None:
    assert _spikes(kind, [7.0, 0.9, 1.0, 1.0]) == [1, 0, 1, 1]


def test_a_negative_potential_is_kept() -> None:
    assert _spikes("if", [-1.0, 1.5, 0.5]) == [0, 0, 1]


def test_the_state_stays_until_the_net_is_reset() -> None:
    neuron = make_neuron("if", threshold=1.0, keep=0.5)
    x = torch.full((1, 1), 0.6)
    assert [int(neuron(x)) for _ in range(2)] == [0, 1]
    neuron(x)
    functional.reset_net(neuron)
    assert int(neuron(x)) == 0


def _slope(spike: str, potentials: list[float]) -> list[float]:
    x = torch.tensor([potentials], requires_grad=True)
    make_neuron("if", threshold=0.3, keep=0.5, spike=spike)(x).sum().backward()
    assert x.grad is not None
    return [float(value) for value in x.grad[0]]


def test_the_rectangle_is_2_within_a_quarter_of_the_threshold() -> None:
    assert _slope("rectangle", [0.04, 0.06, 0.3, 0.54, 0.56]) == [0, 2, 2, 2, 0]


def test_the_arctangent_falls_off_with_the_distance() -> None:
    expected = [1 / (1 + (math.pi * x) ** 2) for x in (-0.3, 0.0, 1.0)]
    assert _slope("atan", [0.0, 0.3, 1.3]) == pytest.approx(expected)


@pytest.mark.parametrize("detached", [True, False])
def test_a_reset_carries_gradients_unless_detached(detached: bool) -> None:
    """v1 = x1 = 1 fires; v2 = v1 (1 - s1) + x2, so dv2/dx1 = 1 - s1 - v1 s'(0) = -1, and 0 with s1 detached."""
    x = torch.tensor([[1.0], [0.0]], requires_grad=True)
    make_neuron("if", threshold=1.0, keep=0.5, detach_reset=detached)(x)[1].sum().backward()
    slope = 1 / (1 + math.pi**2)  # of the second spike, v2 = 0
    assert x.grad is not None
    assert x.grad[1].item() == pytest.approx(slope)
    assert x.grad[0].item() == pytest.approx(0.0 if detached else -slope)


@pytest.mark.parametrize("kind", ["if", "lif", "lif_decay_input", "plif"])
def test_spikes_pass_gradients_on(kind: str) -> None:
    x = torch.full((3, 2), 0.4, requires_grad=True)
    make_neuron(kind, threshold=1.0, keep=0.5)(x).sum().backward()
    assert x.grad is not None
    assert bool((x.grad != 0).all())
