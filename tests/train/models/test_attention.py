# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikefold.train.models.attention import ASA

Parts = tuple[torch.Tensor, ASA]


def _clips(steps: int, count: int, channels: int, side: tuple[int, int] = (4, 6), seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((steps, count, channels, *side), generator=generator, dtype=torch.float64)


def _asa(steps: int, channels: int, seed: int = 0, **options: object) -> ASA:
    torch.manual_seed(seed)
    return ASA(steps, channels, **options).double()  # type: ignore[arg-type]


def _largest(values: np.ndarray, k: int) -> set[int]:
    return set(sorted(range(len(values)), key=lambda i: -values[i])[:k])


def _sigmoid_conv(maps: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """``(2, H, W)`` to ``(H, W)`` by a 3x3 kernel ``(1, 2, 3, 3)`` with zero padding."""
    _, height, width = maps.shape
    out = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            for which in range(2):
                for i in range(3):
                    for j in range(3):
                        y, x = row + i - 1, column + j - 1
                        if 0 <= y < height and 0 <= x < width:
                            out[row, column] += kernel[0, which, i, j] * maps[which, y, x]
    return 1 / (1 + np.exp(-out))


def _in_top(values: np.ndarray, k: int) -> np.ndarray:
    mask = np.zeros(len(values), bool)
    mask[list(_largest(values, k))] = True
    return mask


def _masks(asa: ASA, clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps 1 to 4 of ../shared/facts/asa_snn.md 3.1 for one clip ``(T, C, H, W)``: Mc and Mt, ``(T, C)``."""
    steps, channels = clip.shape[:2]
    alpha, beta, lam = asa.alpha.item(), asa.beta.item(), asa.lam
    mean = np.array([[clip[t, c].mean() for c in range(channels)] for t in range(steps)])
    most = np.array([[clip[t, c].max() for c in range(channels)] for t in range(steps)])
    m0 = 0.5 * (mean + most) + alpha * mean + beta * most
    weight = np.eye(steps)
    if isinstance(asa.mix, torch.nn.Linear):
        weight = asa.mix.weight.detach().numpy()
    importance = np.array([weight @ m0[:, c] for c in range(channels)]).T
    of_channels = np.array([_in_top(importance[t], int(lam * channels)) for t in range(steps)])
    of_steps = np.array([_in_top(importance[:, c], int(lam * steps)) for c in range(channels)]).T
    return of_channels, of_steps


def _gates(asa: ASA, clip: np.ndarray, important: np.ndarray) -> np.ndarray:
    """Steps 6 to 8: the gate of each value of a clip whose important slices ``(T, C)`` are given."""
    steps, channels = clip.shape[:2]
    chosen_ones, gates = important[:, :, None, None], []
    for chosen, share, conv in (
        (chosen_ones, asa.lam, asa.important),
        (~chosen_ones, 1 - asa.lam, asa.sub_important),
    ):
        held = np.where(chosen, clip, 0.0).reshape(steps * channels, *clip.shape[2:])
        maps = np.stack([held.sum(axis=0) / (steps * channels) / share, held.max(axis=0)])
        gates.append(_sigmoid_conv(maps, conv.weight.detach().numpy()))
    return np.where(chosen_ones, gates[0], gates[1])


def _literal(asa: ASA, clip: np.ndarray) -> np.ndarray:
    """The published steps 1 to 8 for one clip ``(T, C, H, W)``, one after another."""
    of_channels, of_steps = _masks(asa, clip)
    return np.asarray(clip * _gates(asa, clip, of_channels != of_steps))


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 7),
    st.booleans(),
    st.sampled_from([0.2, 0.5, 0.7]),
    st.integers(0, 1000),
)
def test_asa_is_what_the_paper_writes_clip_by_clip(
    steps: int, count: int, channels: int, mlp: bool, lam: float, seed: int
) -> None:
    asa, x = _asa(steps, channels, seed, temporal_mlp=mlp, lam=lam), _clips(steps, count, channels, seed=seed)
    with torch.no_grad():
        asa.alpha.fill_(0.2 + seed / 900)
        asa.beta.fill_(0.7)
        y = asa(x).numpy()
    for n in range(count):
        assert np.abs(y[:, n] - _literal(asa, x[:, n].numpy())).max() < 1e-12


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    st.integers(1, 6),
    st.integers(1, 5),
    st.integers(1, 7),
    st.booleans(),
    st.sampled_from([0.2, 0.5, 0.7]),
    st.integers(0, 1000),
)
def test_in_batch_mode_a_mask_is_the_union_over_the_batch_as_in_the_published_code(
    steps: int, count: int, channels: int, mlp: bool, lam: float, seed: int
) -> None:
    asa = _asa(steps, channels, seed, temporal_mlp=mlp, lam=lam, mode="batch")
    x = _clips(steps, count, channels, seed=seed)
    asa.keep_gate = True
    y = asa(x).detach().numpy()
    masks = [_masks(asa, x[:, n].numpy()) for n in range(count)]
    of_channels, of_steps = (np.any([mask[which] for mask in masks], axis=0) for which in (0, 1))
    important = of_channels != of_steps
    assert asa.last_group is not None
    assert asa.last_gate is not None
    for n in range(count):
        clip = x[:, n].numpy()
        gates = _gates(asa, clip, important)
        assert np.array_equal(asa.last_group[:, n].numpy(), important.astype(float))
        assert np.abs(asa.last_gate[:, n].numpy() - gates).max() < 1e-12
        assert np.abs(y[:, n] - clip * gates).max() < 1e-12


@pytest.mark.parametrize("mlp", [True, False])
def test_the_two_modes_differ_by_the_other_clips_alone(mlp: bool) -> None:
    """At the published size: in a batch, most channels are in the top of some clip, and nothing is left of Mc."""
    x = _clips(60, 10, 16, (2, 2))
    clip, batch = (_asa(60, 16, temporal_mlp=mlp, mode=mode) for mode in ("clip", "batch"))
    with torch.no_grad():
        assert torch.equal(clip(x[:, :1]), batch(x[:, :1])), "a batch of one clip"
        assert not torch.allclose(clip(x), batch(x))
        changed = x[:, :2].clone()
        changed[:, 1:] = -changed[:, 1:]
        assert torch.equal(clip(x)[:, 0], clip(changed)[:, 0])
        assert not torch.allclose(batch(x[:, :2])[:, 0], batch(changed)[:, 0])
    in_any = np.any([_masks(batch, x[:, n].numpy())[0] for n in range(10)], axis=0)
    assert in_any.mean() > 0.95


@pytest.mark.parametrize("mode", ["clip", "batch"])
@pytest.mark.parametrize(("steps", "count", "channels"), [(1, 1, 4), (1, 3, 4), (5, 1, 4), (5, 1, 1), (1, 1, 1)])
def test_one_clip_one_step_and_one_channel_work(mode: str, steps: int, count: int, channels: int) -> None:
    """The published code's `squeeze` crashes on all of these."""
    asa, x = _asa(steps, channels, mode=mode, learn_importance=True), _clips(steps, count, channels)
    y = asa.train()(x)
    assert y.shape == x.shape
    y.square().sum().backward()
    assert bool((y / x > 0).all())
    assert bool((y / x < 1).all())


@pytest.mark.parametrize("mode", ["clip", "batch"])
@pytest.mark.parametrize("mlp", [True, False])
def test_importance_learns_straight_through_where_asked(mlp: bool, mode: str) -> None:
    """The same values and gradients but for alpha, beta and W, which have none in the published code."""
    x, found = _clips(8, 3, 6), {}
    for learns in (False, True):
        asa, own = _asa(8, 6, temporal_mlp=mlp, mode=mode, learn_importance=learns), x.clone().requires_grad_()
        asa.keep_gate = True  # both by the same operations, so that equal is equal
        y = asa(own)
        y.square().sum().backward()
        found[learns] = y.detach(), own.grad, asa.important.weight.grad, asa.sub_important.weight.grad
        weights = [asa.alpha, asa.beta] + ([asa.mix.weight] if asa.mix is not None else [])
        for weight in weights:
            assert (weight.grad is not None) == learns
            assert not learns or bool((weight.grad != 0).all())
    for off, on in zip(*found.values(), strict=True):
        assert torch.equal(off, on)


def test_learnt_importance_lowers_a_loss() -> None:
    """W alone learns, towards the output of the same module with another W."""
    asa, x = _asa(6, 8, learn_importance=True), _clips(6, 4, 8).abs()
    with torch.no_grad():
        asa.important.weight.fill_(1.0)
        asa.sub_important.weight.fill_(-1.0)
    wanted = _asa(6, 8, seed=5)
    wanted.load_state_dict(
        {
            **wanted.state_dict(),
            "important.weight": asa.important.weight,
            "sub_important.weight": asa.sub_important.weight,
        }
    )
    target = wanted(x).detach()
    assert isinstance(asa.mix, torch.nn.Linear)
    optimiser, losses = torch.optim.Adam([asa.mix.weight], 0.02), []
    for _ in range(60):
        loss = (asa(x) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert min(losses) < 0.7 * losses[0]


@pytest.mark.parametrize("mlp", [True, False])
def test_a_clip_does_not_see_the_others_of_its_batch(mlp: bool) -> None:
    asa, x = _asa(8, 6, temporal_mlp=mlp), _clips(8, 5, 6)
    with torch.no_grad():
        together = asa(x)
        alone = torch.cat([asa(x[:, n : n + 1]) for n in range(5)], dim=1)
        backwards = asa(x.flip(1)).flip(1)
    assert (together - alone).abs().max() < 1e-12
    assert (together - backwards).abs().max() < 1e-12


def test_important_is_exactly_one_of_the_two_rankings() -> None:
    """M = [[4, 1], [3, 2]]: channel 0 leads at both steps, step 0 in channel 0, step 1 in channel 1."""
    asa, x = _asa(2, 2, temporal_mlp=False), torch.tensor([[4.0, 1.0], [3.0, 2.0]]).double()[:, None, :, None, None]
    with torch.no_grad():
        asa.important.weight.zero_()  # a gate of 1/2 marks the important ones
        asa.sub_important.weight.fill_(1.0)
    asa.keep_gate = True
    asa(x.expand(2, 1, 2, 3, 3))
    assert asa.last_gate is not None
    important = (asa.last_gate == 0.5).all(dim=(1, 3, 4))
    assert important.tolist() == [[False, False], [True, True]]


def test_two_gates_between_0_and_1_serve_every_position() -> None:
    asa, x = _asa(8, 6), _clips(8, 2, 6)
    asa.keep_gate = True
    asa(x)
    gate = asa.last_gate
    assert gate is not None
    assert gate.shape == x.shape
    assert 0 < gate.min() < gate.max() < 1
    for n, row, column in np.ndindex(2, 4, 6):
        assert len(gate[:, n, :, row, column].unique()) == 2


def test_only_a_kept_gate_is_remembered() -> None:
    asa = _asa(3, 2)
    asa(_clips(3, 1, 2))
    assert asa.last_gate is None


@pytest.mark.parametrize(("mlp", "expected"), [(True, 2 + 60 * 60 + 36), (False, 2 + 36)])
def test_number_of_parameters_is_the_published_one(mlp: bool, expected: int) -> None:
    """3 layers of arch A: +10,914 and +114."""
    asa = ASA(60, 64, temporal_mlp=mlp)
    assert sum(p.numel() for p in asa.parameters()) == expected
    assert 3 * expected == (10_914 if mlp else 114)


def test_asa_2_has_no_temporal_mixing() -> None:
    """With the mixing matrix replaced by the identity, ASA-1 is ASA-2."""
    one, two = _asa(5, 4), _asa(5, 4, temporal_mlp=False)
    assert two.mix is None
    assert isinstance(one.mix, torch.nn.Linear)
    two.load_state_dict({key: value for key, value in one.state_dict().items() if key != "mix.weight"})
    x = _clips(5, 2, 4)
    with torch.no_grad():
        assert not torch.equal(one(x), two(x))
        one.mix.weight.copy_(torch.eye(5))
        assert torch.equal(one(x), two(x))


def test_a_static_gate_replaces_everything() -> None:
    asa, x = _asa(5, 3), _clips(5, 2, 3)
    scale = torch.tensor([0.25, 1.0, 3.0]).double()
    asa.static_gate = scale[:, None, None]
    y = asa(x)
    for channel in range(3):
        assert torch.equal(y[:, :, channel], x[:, :, channel] * scale[channel])
    asa.static_gate = torch.rand(x.shape[2:]).double()
    assert torch.equal(asa(x), x * asa.static_gate)
    assert asa(x[:2]).shape == (2, 2, 3, 4, 6), "the length of a clip matters no more"


def test_gradients_reach_both_kernels_and_the_input_but_no_ranking() -> None:
    asa, x = _asa(6, 4), _clips(6, 2, 4).requires_grad_()
    asa(x).square().sum().backward()
    for conv in (asa.important, asa.sub_important):
        assert conv.weight.grad is not None
        assert bool((conv.weight.grad != 0).all())
    assert x.grad is not None
    assert bool((x.grad != 0).all())
    assert asa.mix is not None
    assert [asa.alpha.grad, asa.beta.grad, asa.mix.weight.grad] == [None, None, None]


def test_in_training_a_share_of_the_clips_sees_the_mean_gate() -> None:
    asa, x = _asa(5, 3), _clips(5, 6, 3)
    with torch.no_grad():
        dynamic = asa.eval()(x)
        gate = dynamic / x
        mean = x * gate.mean(dim=(0, 1, 3, 4), keepdim=True)
        asa.static_share = 0.5
        assert torch.equal(asa(x), dynamic), "outside training nothing changes"
        torch.manual_seed(0)
        mixed = asa.train()(x)
    chosen = [clip for clip in range(6) if torch.allclose(mixed[:, clip], mean[:, clip])]
    kept = [clip for clip in range(6) if torch.equal(mixed[:, clip], dynamic[:, clip])]
    assert sorted(chosen + kept) == list(range(6))
    assert chosen
    assert kept


def test_gradients_reach_the_kernels_through_the_mean_gate_too() -> None:
    asa, x = _asa(5, 3), _clips(5, 4, 3)
    asa.static_share = 1.0
    asa.train()(x).square().sum().backward()
    for conv in (asa.important, asa.sub_important):
        assert conv.weight.grad is not None
        assert bool((conv.weight.grad != 0).any())
