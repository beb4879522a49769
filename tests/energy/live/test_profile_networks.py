# SPDX-License-Identifier: Apache-2.0
"""Networks of SpikingJelly, snnTorch, sinabs, norse and of the user: all is counted, or named as uncounted."""

from __future__ import annotations

import math
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron, op_counter, surrogate
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import spikefold.energy
from spikefold.energy.live.profile_result import Profile
from spikefold.train.models.attention import ASA


def _spikes(*shape: int, rate: float = 0.3) -> torch.Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < rate).float()


def _lively(network: nn.Module) -> nn.Module:
    """Batch norm scaled up, so that every layer spikes with random weights."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.constant_(part.running_var, 0.02)
            nn.init.constant_(part.bias, 0.4)
    return network.eval()


def _dense_by_torch(network: nn.Module, x: torch.Tensor) -> int:
    """Multiply-accumulates with padding, by PyTorch's own counter of floating point operations."""
    functional.reset_net(network)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    functional.reset_net(network)
    return counter.get_total_flops() // 2


def _synops_by_spikingjelly(network: nn.Module, x: torch.Tensor) -> int:
    """Operations of spikes and synapses, by SpikingJelly's counter (binary input only)."""
    functional.reset_net(network)
    counter = op_counter.SynOpCounter()
    with torch.no_grad(), op_counter.DispatchCounterMode([counter]):
        network(x)
    functional.reset_net(network)
    return int(counter.get_total())


@pytest.fixture
def sew_resnet(monkeypatch: pytest.MonkeyPatch) -> Any:
    """SpikingJelly's model file; it imports torchvision to download weights, which nobody does here."""
    for name in ("torchvision", "torchvision.models", "torchvision.models.utils"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules["torchvision.models.utils"], "load_state_dict_from_url", None, raising=False)
    from spikingjelly.activation_based.model import sew_resnet

    return sew_resnet


def _spiked(found: Profile) -> bool:
    rows = [one for one in found.layers if one.op == "neuron"]
    return len(rows) > 0 and all(one.spikes > 0 for one in rows)


def test_an_sew_resnet_18_with_attention(sew_resnet: Any) -> None:
    network = sew_resnet.sew_resnet18(cnf="ADD", spiking_neuron=neuron.IFNode, num_classes=10)
    functional.set_step_mode(network, "m")
    network.layer1.add_module("asa", ASA(2, 64))
    network, x = _lively(network), _spikes(2, 1, 3, 32, 32)
    found = spikefold.energy.profile(network, x)
    assert _spiked(found)
    assert len([one for one in found.layers if one.op == "neuron"]) == 20
    assert found.total.dense_padded == _dense_by_torch(network, x)
    assert {one.op for one in found.unpriced} - {"ne"} == {"max_pool2d", "topk", "amax", "sigmoid"}
    assert found["layer1.0.add"].adds == 2 * 64 * 8 * 8
    assert found["layer1.asa.mul"].multiplies > 4 * 2 * 64 * 8 * 8  # two groups, two gates
    assert found["layer1.asa.important"].input_kind == "analog"
    assert found["layer1.asa.mix"].dense == 2 * 2 * 64
    assert found["layer2.0.conv1"].input_kind == "analog"  # what the gate made of spikes
    assert found["layer1.1.conv1"].input_kind == "graded"  # what the residual made of them: 0, 1, 2
    assert found["layer1.1.conv1"].pairs < found["layer1.1.conv1"].events
    assert found.uncalled == ()


def test_an_sew_resnet_18_of_spikes_alone_agrees_with_spikingjellys_counter(sew_resnet: Any) -> None:
    network = sew_resnet.sew_resnet18(cnf="AND", spiking_neuron=neuron.IFNode, num_classes=10)
    functional.set_step_mode(network, "m")
    network, x = _lively(network), _spikes(2, 1, 3, 32, 32)
    found = spikefold.energy.profile(network, x)
    # IAND and the end of the network are silent or binary, so every layer but the last has binary input
    binary = sum(one.pairs for one in found.layers if one.input_kind == "binary")
    assert binary == _synops_by_spikingjelly(network, x) > 1_000_000
    assert found["layer1.0.mul"].multiplies == 2 * 64 * 8 * 8  # SpikingJelly's counters give 0 for it


def test_a_spiking_transformer_block() -> None:
    from spikingjelly.activation_based.model.spikformer import SpikformerBlock

    network, x = _lively(SpikformerBlock(16, 2)), _spikes(4, 2, 16, 3, 3, rate=0.5)
    found = spikefold.energy.profile(network, x)
    assert found.unpriced == ()
    assert found.uncalled == ()
    assert _spiked(found)
    assert found.total.dense_padded == found.total.dense == _dense_by_torch(network, x)
    seen: dict[str, torch.Tensor] = {}
    network.attn.qkv_lif.register_forward_hook(lambda _, __, out: seen.update(qkv=out))
    network(x)
    functional.reset_net(network)
    q, k, v = seen["qkv"].reshape(4, 2, 3, 2, 8, 9).unbind(2)  # T, N, parts, heads, channels, tokens
    expected = (v.unsqueeze(-2) * k.unsqueeze(-3)).sum()  # pairs of v and k, all tokens
    assert found["attn.matmul 8x9x8"].pairs == int(expected) > 0
    scores = v @ k.transpose(-2, -1)
    pairs = (scores.ne(0).float().unsqueeze(-1) * q.unsqueeze(-3)).sum()
    product = found["attn.matmul 8x8x9"]
    assert product.pairs == int(pairs) > 0
    assert product.events == int((scores.unsqueeze(-1) * q.unsqueeze(-3)).sum()) > product.pairs
    assert product.input_kind == "graded"
    assert found["attn.mul"].multiplies == 4 * 2 * 16 * 9


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("SpikeDrivenSelfAttention", (2, 2, 16, 3, 3)),
        ("TokenQKAttention", (2, 2, 16, 9)),
        ("ChannelQKAttention", (2, 2, 16, 9)),
    ],
)
def test_more_of_spikingjellys_attention_is_counted_or_named(kind: str, shape: tuple[int, ...]) -> None:
    from spikingjelly.activation_based.layer import attention

    network, x = _lively(getattr(attention, kind)(16, 2)), 3 * _spikes(*shape, rate=0.5)
    found = spikefold.energy.profile(network, x)
    assert found.total.dense_padded == _dense_by_torch(network, x) > 0
    assert found.total.pairs > 0
    assert found.total.spikes > 0
    assert found.total.multiplies > 0
    assert found.uncalled == found.unpriced == ()


class _Stepwise(nn.Module):
    """Single-step modules called once a step by a loop of the model's own."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.conv, self.sn1 = nn.Conv2d(2, 4, 3, padding=1, bias=False), make()
        self.fc, self.sn2 = nn.Linear(4 * 36, 5), make()
        nn.init.uniform_(self.conv.weight, 0, 0.6)
        nn.init.uniform_(self.fc.weight, -0.05, 0.15)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.sn2(self.fc(self.sn1(self.conv(frame)).flatten(1))) for frame in x])


def test_steps_in_a_loop_and_steps_at_once_give_the_same_counts() -> None:
    stepwise, x = _Stepwise(lambda: neuron.LIFNode()), _spikes(5, 3, 2, 6, 6)
    at_once = nn.Sequential(
        layer.SeqToANNContainer(stepwise.conv),
        neuron.LIFNode(step_mode="m"),
        nn.Flatten(2),
        stepwise.fc,
        neuron.LIFNode(step_mode="m"),
    )
    one, other = spikefold.energy.profile(stepwise, x), spikefold.energy.profile(at_once, x)
    for field in ("dense", "pairs", "events", "spikes", "neuron_updates", "bias_adds"):
        assert getattr(one.total, field) == getattr(other.total, field) > 0
    assert one["conv"].calls == 5
    assert one.unpriced == other.unpriced == ()
    assert stepwise.sn1.v == 0.0


def test_a_network_of_sinabs() -> None:
    import sinabs.layers as sinabs

    network: Any = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        sinabs.IAFSqueeze(batch_size=2),
        sinabs.SumPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 5, bias=False),
        sinabs.IAFSqueeze(batch_size=2),
    )
    nn.init.constant_(network[0].weight, 0.4)
    nn.init.constant_(network[4].weight, 0.1)
    x = _spikes(2, 5, 2, 6, 6)
    found = spikefold.energy.profile(network, x, layout="NT", call=lambda model, y: model(y.flatten(0, 1)))
    again = spikefold.energy.profile(
        network, [x, x[:, :3]], layout="NT", call=lambda model, y: model(y.flatten(0, 1))
    )
    assert _spiked(found)
    assert found["1"].spike_rule == "sinabs StatefulLayer"
    assert found["4"].input_kind == "graded"  # several spikes a step, summed over the pool
    assert found["4"].events == found["1"].spikes * 5 > found["4"].pairs
    assert again.frames == 16
    assert again["1"].neuron_updates * 10 == found["1"].neuron_updates * 16


def test_a_network_of_snntorch() -> None:
    import snntorch as snn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.lif1 = nn.Conv2d(2, 4, 3, padding=1), snn.Leaky(beta=0.9)
            self.fc, self.lif2 = nn.Linear(4 * 9, 5), snn.Leaky(beta=0.9)
            nn.init.uniform_(self.conv.weight, 0, 0.5)
            nn.init.uniform_(self.fc.weight, 0, 0.2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
            out = []
            for frame in x:
                spk1, mem1 = self.lif1(nn.functional.max_pool2d(self.conv(frame), 2), mem1)
                spk2, mem2 = self.lif2(self.fc(spk1.flatten(1)), mem2)
                out.append(spk2)
            return torch.stack(out)

    network, x = Net(), _spikes(5, 3, 2, 6, 6)
    found = spikefold.energy.profile(network, x)
    assert _spiked(found)
    assert found["lif1"].spike_rule == "snntorch SpikingNeuron"
    assert found["lif2"].spikes == int(network(x).sum())
    assert found["fc"].pairs == found["lif1"].spikes * 5
    assert found["lif1"].neuron_updates == 5 * 3 * 4 * 9
    assert [(one.op, one.times) for one in found.unpriced] == [("max_pool2d", 5)]
    assert found == spikefold.energy.profile(network, x)


def test_a_network_of_norse() -> None:
    import norse.torch as norse

    network = norse.SequentialState(nn.Conv2d(2, 4, 3, padding=1), norse.LIFCell(), nn.Flatten(), nn.Linear(144, 5))
    nn.init.uniform_(network[0].weight, 0, 20)

    def run(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        out, state = model(x[0])
        for frame in x[1:]:
            out, state = model(frame, state)
        return out

    x = _spikes(20, 2, 2, 6, 6)
    found = spikefold.energy.profile(network, x, call=run)
    assert found["1"].spike_rule == "norse SNNCell"
    assert found["1"].neuron_updates == 20 * 2 * 144
    assert found["3"].pairs == found["1"].spikes * 5 > 0


class _Neuron(nn.Module):
    """A neuron of the user's own: no library, a state, zeros and ones."""

    def __init__(self) -> None:
        super().__init__()
        self.v: torch.Tensor | float = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v = self.v * 0.5 + x
        spikes = (v >= 1.0).to(x)
        self.v = v * (1 - spikes)
        return spikes


def test_a_neuron_of_the_users_own_is_found_by_its_state_and_output() -> None:
    network, x = _Stepwise(_Neuron), _spikes(6, 3, 2, 6, 6)
    x[:2] = 0  # silent at first: whether it spikes is not known yet
    found = spikefold.energy.profile(network, x)
    assert found["sn1"].spike_rule == "binary output of a module that keeps state"
    assert found["sn1"].neuron_updates == 6 * 3 * 144
    assert found["sn1"].spikes * 5 == found["fc"].pairs > 0
    assert [one.name for one in found.layers if one.name.startswith("sn")] == ["sn1", "sn2"]
    assert found.unpriced == ()
    assert isinstance(network.sn1.v, float)


class _Firing(_Neuron):
    def __init__(self) -> None:
        super().__init__()
        self.child = nn.Identity()


def test_a_neuron_that_nothing_tells_is_named_by_the_caller_or_counted_by_its_operations() -> None:
    network, x = _Stepwise(_Firing), _spikes(6, 3, 2, 6, 6)
    plain = spikefold.energy.profile(network, x, reset=None)
    assert {one.op for one in plain.unpriced} == {"ge"}
    assert plain["sn1.mul"].multiplies == 2 * 6 * 3 * 144 - 3 * 144
    named = spikefold.energy.profile(network, x, is_spiking=lambda module: isinstance(module, _Firing))
    assert named["sn1"].spike_rule == "is_spiking of the caller"
    assert named.unpriced == ()
    assert named["fc"] == plain["fc"]
    assert named["sn1"].spikes == named["fc"].pairs // 5 > 0


def test_looking_at_graded_spikes_is_not_counted_as_the_networks_work() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(6, 6, bias=False)
            nn.init.uniform_(self.mix.weight, 0, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.mix(x).floor()

    x = _spikes(6, 2, 6, rate=0.6)
    network = nn.Sequential(Counting())
    found = spikefold.energy.profile(network, x, is_spiking=lambda module: isinstance(module, Counting))
    assert found["0"].spikes == int(network(x).sum()) > x.numel() / 2
    assert [one.name for one in found.layers] == ["0.mix", "0"]
    assert [one.op for one in found.unpriced] == ["floor"]


def test_a_recurrent_neuron_with_weights_is_looked_into() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.back, self.inner = nn.Linear(6, 6, bias=False), neuron.IFNode()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            spikes = torch.zeros_like(x[0])
            out = []
            for frame in x:
                spikes = self.inner(frame + self.back(spikes).abs())
                out.append(spikes)
            return torch.stack(out)

    x = _spikes(6, 2, 6, rate=0.6)
    found = spikefold.energy.profile(
        nn.Sequential(Recurrent()), x, is_spiking=lambda module: isinstance(module, Recurrent)
    )
    assert found["0"].spikes == found["0.inner"].spikes > 0
    assert found["0.back"].dense == 6 * 2 * 36
    assert 0 < found["0.back"].pairs < found["0.back"].dense
    assert [one.op for one in found.unpriced] == ["abs"]


def test_parallel_spiking_neurons_mix_the_steps_by_a_matrix_that_is_counted() -> None:
    network, x = nn.Sequential(neuron.PSN(T=4, surrogate_function=surrogate.ATan())), _spikes(4, 2, 6)
    found = spikefold.energy.profile(network, x)
    assert found["0"].dense == 4 * 4 * math.prod(x.shape[1:])
    assert found["0"].pairs == 4 * int(x.sum()) > 0
