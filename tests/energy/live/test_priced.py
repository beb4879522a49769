# SPDX-License-Identifier: Apache-2.0
"""``sf.profile``: counts times prices, by profile; a table for a notebook; wrong shapes refused in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import spikefold as sf
from spikefold.energy.prices.load import load_profile


def _net(mode: str = "m") -> nn.Module:
    torch.manual_seed(0)
    first = layer.Conv2d(2, 3, 3, bias=False), neuron.IFNode(v_threshold=0.2)
    net = nn.Sequential(*first, layer.Flatten(), layer.Linear(3 * 6 * 6, 4, bias=False), neuron.IFNode(0.1))
    functional.set_step_mode(net, mode)
    return net


FRAMES = np.random.default_rng(0).poisson(1.5, (5, 3, 2, 8, 8))


def test_energy_is_counts_times_prices_and_parts_sum() -> None:
    names = ("horowitz45-fp32", "horowitz45-int8")
    found = sf.profile(_net(), FRAMES, profiles=names)
    first, second = found.counts["0"], found.counts["3"]
    assert (first.input_kind, second.input_kind) == ("graded", "binary")
    assert min(first.pairs, second.events) > 100
    assert [(row.mac, row.ac) for row in found.rows] == [(first.pairs, 0), (0, second.events)]
    for name in names:
        prices = load_profile(name).energy_pj
        expected = (first.pairs * prices.mac.amount + second.events * prices.ac.amount) / 3 / 1e6
        one = found.energy(name)
        assert one.total_uj == pytest.approx(expected, rel=1e-12)
        assert one.low_uj <= one.total_uj <= one.high_uj
    assert found.summary().count("uJ a clip") == 2
    assert f"<td>{first.pairs / 3:,.0f}</td>" in found._repr_html_()
    assert found.to_json()["energies"][0]["profile"] == names[0]
    with pytest.raises(sf.ConfigError, match="priced: horowitz45-fp32, horowitz45-int8"):
        found.energy("cpu")


@pytest.mark.parametrize(
    ("net", "frames", "said"),
    [
        (_net(), FRAMES[:, :, :1], "0 reads 2 channels"),
        (_net(), FRAMES[..., :4], "0 reads 2 channels"),
        (_net("s"), FRAMES, "it takes one step a call"),
    ],
)
def test_frames_of_a_wrong_shape_are_refused_in_words(net: nn.Module, frames: np.ndarray, said: str) -> None:
    with pytest.raises(sf.DataError) as raised:
        sf.profile(net, frames)
    assert f"frames of shape {frames.shape}" in str(raised.value)
    assert said in str(raised.value)


def test_unknown_prices_are_refused_before_anything_runs() -> None:
    with pytest.raises(sf.ConfigError, match="horowitz45-fp32"):
        sf.profile(_net(), FRAMES, profiles=["horowitz45"])
