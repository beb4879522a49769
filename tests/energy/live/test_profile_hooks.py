# SPDX-License-Identifier: Apache-2.0
"""What runs around the modules that are counted as a whole: hooks of the user, caught failures, containers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn
from torch.nn import functional as F  # noqa: N812 its name everywhere
from torch.nn.modules.module import register_module_forward_hook

import spikefold.energy
from spikefold.energy.live.dispatch import Dispatch
from spikefold.energy.live.profile_result import Profile
from spikefold.errors import UnsupportedError


def _spikes(*shape: int, rate: float = 0.3) -> torch.Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < rate).float()


def _count(model: nn.Module, x: torch.Tensor) -> Profile:
    found = spikefold.energy.profile(model, x, layout="N")
    assert found.total.pairs > 0
    return found


def _network() -> nn.Sequential:
    network = nn.Sequential(nn.Linear(6, 5, bias=False), neuron.IFNode(), nn.Linear(5, 4, bias=False))
    for part in network:
        if isinstance(part, nn.Linear):
            nn.init.constant_(part.weight, 0.6)
    return network


@pytest.mark.parametrize("part", [0, 1])
def test_what_hooks_of_the_user_compute_is_counted(part: int) -> None:
    network, x, mixer = _network(), _spikes(3, 6), torch.ones(5, 5)
    width = (6, 5)[part]
    network[part].register_forward_pre_hook(lambda _, inputs: (inputs[0] * 1,))
    network[part].register_forward_hook(lambda _, __, out: (out @ mixer) * 0.5)
    found = _count(network, x)
    assert found["model.mul"].multiplies == 3 * width + 3 * 5
    assert found["model.matmul 3x5x5"].dense == 3 * 5 * 5
    assert found["1"].spikes > 0
    assert found["0"].pairs == int(x.sum()) * 5


def test_spikes_are_counted_before_a_hook_of_the_user_changes_them() -> None:
    network, x = _network(), _spikes(3, 6)
    plain = _count(network, x)
    network[1].register_forward_hook(lambda _, __, out: out * 0 + 1)
    found = _count(network, x)
    assert found["1"] == plain["1"]
    assert 0 < found["1"].spikes < 3 * 5
    assert found["2"].pairs == 3 * 5 * 4 > plain["2"].pairs


class _Catches(nn.Module):
    """Tries a layer that does not fit or whose hook fails, and does something else."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(7, 3), neuron.IFNode())
        self.last = nn.Linear(6, 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        try:
            y = self.inner(x)
        except (RuntimeError, ValueError):
            y = x * 2
        return self.last(y)


@pytest.mark.parametrize("failing_hook", [False, True])
def test_what_runs_after_a_caught_failure_is_counted(failing_hook: bool) -> None:
    network, x = _Catches(), _spikes(3, 6)
    if failing_hook:

        def fail(*_: object) -> None:
            raise ValueError("a hook of the user")

        network.inner[0].register_forward_pre_hook(fail)
    found = _count(network, x)
    assert found["model.mul" if "model.mul" in {one.name for one in found.layers} else "mul"].multiplies == x.numel()
    assert found["last"].pairs == int(x.sum()) * 2
    assert found["last"].input_kind == "graded"
    assert [one.where for one in found.unpriced] == ([] if failing_hook else ["inner.0"])


class _Loud(nn.Linear):
    """Does more than its `forward` when it is called."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return super().__call__(x) * 2


class _OwnForward(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self:
            x = part(x) * 2
        return x


class _OwnParts(nn.Sequential):
    def __iter__(self) -> Any:
        for part in super().__iter__():
            yield lambda x, part=part: part(x) * 2


@pytest.mark.parametrize("kind", ["call", "forward", "parts"])
def test_a_container_that_does_something_between_its_parts_is_seen(kind: str) -> None:
    x = _spikes(3, 6)
    if kind == "call":
        network: nn.Module = nn.Sequential(_Loud(6, 6), _Loud(6, 6))
    else:
        network = (_OwnForward if kind == "forward" else _OwnParts)(nn.Linear(6, 6), nn.Linear(6, 6))
    for outer in (network, nn.Sequential(network)):
        multiplies = _count(outer, x).total.multiplies
        assert multiplies == 2 * 3 * 6


class _Grows(nn.Module):
    """Adds a part to a container, or a hook to a part, while it runs."""

    def __init__(self, hook: bool) -> None:
        super().__init__()
        self.parts, self._hook = nn.Sequential(nn.Linear(6, 6, bias=False)), hook

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self._hook:
            handle = self.parts[0].register_forward_hook(lambda _, __, out: out * 2)
        else:
            self.parts.append(nn.Linear(6, 2, bias=False))
        y = self.parts(x)
        if self._hook:
            handle.remove()
        else:
            del self.parts[1]
        return y


def test_what_a_network_adds_while_it_runs_is_seen() -> None:
    x = _spikes(3, 6)
    grown = _count(_Grows(hook=False), x)
    assert grown.total.dense == 3 * 6 * 6 + 3 * 6 * 2
    assert grown["parts.0"].pairs == int(x.sum()) * 6
    assert _count(_Grows(hook=True), x).total.multiplies == x.numel()


def test_nothing_of_a_plain_network_goes_through_the_dispatch_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode makes operations several times as slow; this keeps the promise on overhead without a clock."""
    seen: list[str] = []
    entered: list[int] = []
    handle, enter = Dispatch.__torch_dispatch__, Dispatch.__enter__

    def note(mode: Dispatch, func: Any, *rest: Any) -> Any:
        seen.append(str(func))
        return handle(mode, func, *rest)

    def note_enter(mode: Dispatch) -> Any:
        entered.append(1)
        return enter(mode)

    monkeypatch.setattr(Dispatch, "__torch_dispatch__", note)
    monkeypatch.setattr(Dispatch, "__enter__", note_enter)
    parts = [
        layer.Conv2d(2, 4, 3, padding=1, bias=False, step_mode="m"),
        layer.BatchNorm2d(4, step_mode="m"),
        neuron.IFNode(step_mode="m"),
        layer.AvgPool2d(2, step_mode="m"),
        nn.Sequential(layer.Flatten(step_mode="m"), layer.Linear(64, 3, step_mode="m"), neuron.IFNode(step_mode="m")),
    ]
    network: Any = nn.Sequential(*parts)
    x = _spikes(4, 2, 2, 8, 8)
    nn.init.constant_(network[0].weight, 1.0)
    nn.init.constant_(network[4][1].weight, 1.0)
    found = spikefold.energy.profile(network, [x, x])
    assert found.total.spikes > 0
    assert found["4.1"].pairs > 0
    assert not seen
    assert len(entered) <= 2 * 4  # around each batch, not around each layer
    again = spikefold.energy.profile(nn.Sequential(network, nn.ReLU()), x)
    assert [one.op for one in again.unpriced] == ["relu"]
    assert len(seen) == 1


def test_hooks_on_all_modules_and_compiled_modules_are_refused() -> None:
    network, x = _network(), _spikes(3, 6)
    handle = register_module_forward_hook(lambda *_: None)
    try:
        with pytest.raises(UnsupportedError, match="hooks on all modules"):
            spikefold.energy.profile(network, x, layout="N")
    finally:
        handle.remove()
    network[0].compile(backend="eager")
    with pytest.raises(UnsupportedError, match="hide what they run"):
        spikefold.energy.profile(network, x, layout="N")


class _Changes(nn.Module):
    """Changes spikes in place after a view of them was made."""

    def __init__(self) -> None:
        super().__init__()
        self.spike, self.flatten, self.last = neuron.IFNode(), nn.Flatten(), nn.Linear(12, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spikes = self.spike(x)
        flat = self.flatten(spikes)
        spikes[0] = 1
        return self.last(flat)


def test_a_known_number_of_spikes_holds_for_views_and_not_after_a_change() -> None:
    x = 2 * _spikes(3, 3, 4)
    ones = int((x >= 1).sum())
    kept = nn.Sequential(neuron.IFNode(), nn.Flatten(), nn.Identity(), nn.Linear(12, 4, bias=False))
    assert _count(kept, x)["3"].pairs == ones * 4 > 0
    changed = _count(_Changes(), x)["last"]
    assert changed.pairs == (int((x[1:] >= 1).sum()) + 12) * 4 != ones * 4
    part = nn.Sequential(neuron.IFNode(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(6, 4, bias=False))
    assert _count(part, x)["3"].pairs == int(F.max_pool1d((x >= 1).float(), 2).sum()) * 4
