# SPDX-License-Identifier: Apache-2.0
"""SA and TCSA are what their equations say, clip by clip; a static gate stands in for either."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate

from spikefold.train.models.attention_compared import SA, TCSA

KINDS = (SA, TCSA)


def _clips(steps: int, count: int, channels: int, side: tuple[int, int] = (4, 6), seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((steps, count, channels, *side), generator=generator, dtype=torch.float64)


def _made(kind: type[SA], steps: int, channels: int, seed: int = 0, **options: float) -> SA:
    torch.manual_seed(seed)
    return kind(steps, channels, **options).double()


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def _spatial(sa: SA, clip: np.ndarray) -> np.ndarray:
    """A clip ``(T, C, H, W)``, step by step."""
    kernel = sa.spatial.weight.detach().numpy()[0]
    return np.stack(
        [
            frame
            * _sigmoid(
                sum(
                    correlate(m, k, mode="constant")
                    for m, k in zip((frame.mean(0), frame.max(0)), kernel, strict=True)
                )
            )
            for frame in clip
        ]
    )


def _dense(pair: torch.nn.Module, mean: np.ndarray, most: np.ndarray) -> np.ndarray:
    down, up = (parameter.detach().numpy() for parameter in pair.parameters())
    return _sigmoid(up @ np.maximum(down @ mean, 0) + up @ np.maximum(down @ most, 0))


def _literal(module: SA, clip: np.ndarray) -> np.ndarray:
    if isinstance(module, TCSA):
        weights = _dense(module.temporal, clip.mean((1, 2, 3)), clip.max((1, 2, 3)))
        clip = clip * weights[:, None, None, None]
        weights = _dense(module.channel, clip.mean((0, 2, 3)), clip.max((0, 2, 3)))
        clip = clip * weights[:, None, None]
    return _spatial(module, clip)


@pytest.mark.parametrize("kind", KINDS)
def test_each_clip_is_gated_as_the_equations_say(kind: type[SA]) -> None:
    @settings(deadline=None, max_examples=30, derandomize=True)
    @given(st.integers(1, 9), st.integers(1, 3), st.integers(1, 9), st.integers(0, 1000))
    def check(steps: int, count: int, channels: int, seed: int) -> None:
        module, x = _made(kind, steps, channels, seed), _clips(steps, count, channels, seed=seed)
        with torch.no_grad():
            y = module(x).numpy()
        for n in range(count):
            assert np.abs(y[:, n] - _literal(module, x[:, n].numpy())).max() < 1e-12

    check()


@pytest.mark.parametrize("channels", [64, 128])
def test_number_of_parameters_is_the_published_one(channels: int) -> None:
    def count(module: torch.nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    assert count(SA(60, channels)) == 98
    # a pair of dense layers over the steps, one over the channels, each by way of a quarter
    assert count(TCSA(60, channels)) == 98 + 2 * 60 * 15 + 2 * channels * channels // 4


def test_spatial_attention_sees_one_step_alone() -> None:
    sa, x = _made(SA, 5, 3), _clips(5, 2, 3)
    other = x.clone()
    other[4] += 1
    with torch.no_grad():
        assert torch.equal(sa(x)[:4], sa(other)[:4])
        assert not torch.allclose(sa(x)[4], sa(other)[4])
    tcsa = _made(TCSA, 5, 3)
    with torch.no_grad():
        assert not torch.allclose(tcsa(x)[0], tcsa(other)[0]), "a step's weight comes from all steps"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_gate_is_what_was_multiplied_and_all_of_it_is_important(kind: type[SA]) -> None:
    module, x = _made(kind, 5, 3), _clips(5, 2, 3)
    module(x)
    assert module.last_gate is None
    module.keep_gate = True
    with torch.no_grad():
        y = module(x)
    assert module.last_gate is not None
    assert module.last_gate.shape == x.shape
    assert torch.equal(y, x * module.last_gate)
    assert 0 < module.last_gate.min() < module.last_gate.max() < 1
    assert module.last_group is not None
    assert torch.equal(module.last_group, torch.ones(5, 2, 3, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_a_static_gate_replaces_everything(kind: type[SA]) -> None:
    module, x = _made(kind, 5, 3), _clips(5, 2, 3)
    module.static_gate = torch.tensor([0.25, 1.0, 3.0]).double()[:, None, None]
    assert torch.equal(module(x), x * module.static_gate)
    assert "static_gate" not in module.state_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_in_training_all_clips_can_see_the_mean_gate(kind: type[SA]) -> None:
    module, x = _made(kind, 5, 3, static_share=1.0), _clips(5, 6, 3)
    module.keep_gate = True
    with torch.no_grad():
        dynamic = module.eval()(x)
        gate = module.last_gate
        assert gate is not None
        mean = gate.mean(dim=(0, 1, 3, 4), keepdim=True)
        assert torch.allclose(module.train()(x), x * mean)
        assert not torch.allclose(dynamic, x * mean)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind: type[SA]) -> None:
    module, x = _made(kind, 8, 8), _clips(8, 2, 8).requires_grad_()
    module(x).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in module.parameters())
    assert x.grad is not None
    assert bool((x.grad != 0).all())
