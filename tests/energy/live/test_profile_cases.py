# SPDX-License-Identifier: Apache-2.0
"""Every case in which a published counter was found wrong (facts/energy.md, section 7), one test each.

Borders, stride, dilation, groups, transposed, ``same`` and the padding modes: test_profile_layers. Sum of the layers,
last smaller batch, the model as it was: test_profile.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F  # noqa: N812 its name everywhere

import spikefold.energy
from spikefold.energy.live.dispatch import Dispatch
from spikefold.energy.live.ledger import Ledger
from spikefold.energy.live.op_rules import rule
from spikefold.energy.live.profile_result import Profile


class Run(nn.Module):
    """A function as a network, its weights as parameters ``w0``, ``w1``, ..."""

    def __init__(self, function: Any, *weights: torch.Tensor) -> None:
        super().__init__()
        self._function = function
        for i, weight in enumerate(weights):
            self.register_parameter(f"w{i}", nn.Parameter(weight))

    def forward(self, x: torch.Tensor) -> Any:
        return self._function(x, *self.parameters())


def _count(model: Any, x: torch.Tensor, **options: Any) -> Profile:
    found = spikefold.energy.profile(model, x, **{"layout": "N", **options})
    assert found.layers
    return found


def _spikes(*shape: int, rate: float = 0.3) -> torch.Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < rate).float()


def _conv(**options: Any) -> nn.Conv2d:
    return nn.Conv2d(3, 4, 3, padding=1, bias=False, **options)


def _fan(x: torch.Tensor, outputs: int = 4) -> int:
    """Sum of values times taps of a 3x3 convolution with one pixel of padding, by a convolution of ones."""
    ones = torch.ones(outputs, x.shape[1], 3, 3, dtype=torch.float64)
    return int(F.conv2d(x.double(), ones, padding=1).sum().round())


@pytest.mark.parametrize(("window", "stride", "padding"), [(2, 2, 0), (3, 3, 0), (3, 2, 0), (3, 2, 1)])
def test_average_pool_before_a_convolution_by_both_rules(window: int, stride: int, padding: int) -> None:
    x = _spikes(2, 3, 9, 9)
    both = _count(nn.Sequential(nn.AvgPool2d(window, stride, padding), _conv()), x)
    pool, found = both.layers[0], both["1"]
    ones = F.avg_pool2d(torch.ones(1, 1, 9, 9), window, stride, padding)  # counts the padding in, adds only the rest
    assert pool.multiplies == 2 * 3 * ones.numel()
    assert pool.adds == 2 * 3 * (int((ones * window**2).sum().round()) - ones.numel())
    sums = F.avg_pool2d(x.double(), window, stride, padding) * window**2
    assert found.pairs == _fan((sums > 0).double())
    assert found.events == _fan(sums)
    assert (found.input_kind, found.multiplicity) == ("graded", window**2)
    assert 0 < found.pairs < found.events < found.dense * window**2


def test_average_pool_of_uneven_windows_has_no_common_factor_and_is_analog() -> None:
    x = _spikes(2, 3, 5, 5)
    found = _count(nn.Sequential(nn.AvgPool2d(2, 2, ceil_mode=True), _conv()), x)["1"]
    assert (found.input_kind, found.multiplicity) == ("analog", 1)
    assert found.events == found.pairs == _fan(F.avg_pool2d(x, 2, 2, ceil_mode=True).ne(0)) > 0


def test_two_pools_multiply_and_a_max_pool_between_keeps_the_factor() -> None:
    x = _spikes(2, 3, 16, 16)
    pools = nn.Sequential(nn.AvgPool2d(2), nn.MaxPool2d(2), nn.Flatten(0, 0), nn.AvgPool2d(2), _conv())
    found = _count(pools, x)["4"]
    sums = F.avg_pool2d(F.max_pool2d(F.avg_pool2d(x, 2), 2), 2).double() * 16
    assert (found.multiplicity, found.events, found.pairs) == (16, _fan(sums), _fan(sums > 0))


@pytest.mark.parametrize("functional", [False, True])
def test_adaptive_and_global_average_pools_are_listed(functional: bool) -> None:
    x = _spikes(2, 3, 8, 8)
    pool = Run(lambda y: F.adaptive_avg_pool2d(y, 4)) if functional else nn.AdaptiveAvgPool2d(4)
    found = _count(nn.Sequential(pool, _conv()), x)
    assert (found["1"].multiplicity, found["1"].events) == (4, _fan(F.avg_pool2d(x, 2) * 4))
    assert (found.layers[0].adds, found.layers[0].multiplies) == (2 * 3 * 48, 2 * 3 * 16)
    uneven = _count(nn.Sequential(nn.AdaptiveAvgPool2d(3), _conv()), x).layers[0]
    assert uneven.adds == 2 * 3 * ((3 + 4 + 3) ** 2 - 3 * 3)  # windows overlap where 8 is no multiple of 3
    one = _count(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5, bias=False)), x)
    assert (one["2"].multiplicity, one["2"].events) == (64, int(x.sum()) * 5)


def test_one_value_that_is_not_binary() -> None:
    x = _spikes(2, 3, 32, 32)
    x[0, 0, 5, 5] = 0.5
    found = _count(nn.Sequential(_conv()), x).layers[0]
    assert (found.input_kind, found.non_binary, found.input_values) == ("analog", 1, 2 * 3 * 32 * 32)
    assert found.pairs == _fan(x.ne(0)) > 0
    for smallest in (1e-30, -1e-42, float("nan"), float("inf"), 1 + 2**-23):
        x[0, 0, 5, 5] = smallest
        found = _count(nn.Sequential(_conv()), x).layers[0]
        assert (found.input_kind, found.non_binary, found.pairs) == ("analog", 1, _fan(x.ne(0))), smallest


@pytest.mark.parametrize(
    ("levels", "kind"), [((0, 1, 2), "graded"), ((0, 0.25), "analog"), ((-1, 0, 1), "signed"), ((0, 1), "binary")]
)
def test_levels_of_the_input(levels: tuple[float, ...], kind: str) -> None:
    drawn = torch.randint(0, len(levels), (2, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(levels, dtype=torch.float32)[drawn]
    found = _count(nn.Sequential(_conv()), x).layers[0]
    assert (found.input_kind, found.pairs) == (kind, _fan(x.ne(0)))
    assert found.events == (found.pairs if kind == "analog" else _fan(x.abs()))
    assert found.non_binary == int((x.ne(0) & x.ne(1)).sum())


def test_input_of_zeros_and_weights_of_zeros() -> None:
    silent = _count(nn.Sequential(_conv()), torch.zeros(2, 3, 8, 8)).layers[0]
    assert (silent.pairs, silent.events, silent.input_kind) == (0, 0, "binary")
    assert silent.dense == _fan(torch.ones(2, 3, 8, 8)) > 0
    layer, x = _conv(), _spikes(2, 3, 8, 8)
    nn.init.zeros_(layer.weight)
    assert _count(nn.Sequential(layer), x).layers[0].pairs == _fan(x) > 0  # a synapse of weight 0 is a synapse


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_half_and_double_precision_count_the_same(dtype: torch.dtype) -> None:
    x = _spikes(4, 3, 48, 48)
    found = _count(
        nn.Sequential(nn.AvgPool2d(2), _conv(), nn.Flatten(), nn.Linear(4 * 24 * 24, 7)).to(dtype), x.to(dtype)
    )
    assert found["1"].events == _fan(F.avg_pool2d(x, 2) * 4) > 4096  # bfloat16 counts to 256
    assert found["3"].dense == 4 * 4 * 24 * 24 * 7


def test_a_pool_too_large_for_half_precision_to_tell_its_events_is_analog() -> None:
    x = _spikes(2, 3, 32, 32)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5, bias=False))
    exact, rounded = _count(model, x)["2"], _count(model.bfloat16(), x.bfloat16())["2"]
    assert (exact.input_kind, exact.events) == ("graded", int(x.sum()) * 5)
    assert (rounded.input_kind, rounded.events, rounded.pairs) == ("analog", 30, 30)


def test_odd_counts_beyond_what_float32_holds() -> None:
    x = torch.ones(1, 2**24 + 1)
    wide = _count(nn.Linear(2**24 + 1, 1, bias=False), x).layers[0]
    assert wide.pairs == wide.events == 2**24 + 1
    many = torch.ones(4099, 4099)
    many[0, :2] = 0
    found = _count(nn.Linear(4099, 3, bias=False), many).layers[0]
    assert found.pairs == (4099**2 - 2) * 3 != int(torch.tensor((4099.0**2 - 2) * 3))
    graded = _count(nn.Linear(4099, 3, bias=False), many[:2] * 100_003).layers[0]
    assert graded.events == (2 * 4099 - 2) * 3 * 100_003


def test_steps_first_and_clips_first_give_the_same_numbers_a_clip() -> None:
    x = _spikes(5, 2, 3, 8, 8)
    flat = nn.Sequential(nn.Flatten(0, 1), _conv())
    tn, nt = _count(flat, x, layout="TN"), _count(flat, x.transpose(0, 1).contiguous(), layout="NT")
    assert tn.total == nt.total
    assert (tn.clips, tn.frames, nt.clips, nt.frames) == (2, 10, 2, 10)
    assert tn.per_clip("pairs") == nt.per_clip("pairs") == _fan(x.flatten(0, 1)) / 2 > 0


class _Strided(nn.Conv2d):
    """A subclass that does not do what its attributes say: a stride of 2, and only some of the input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x * 0 + (x > 0.5), self.weight, stride=2)


class _Named(nn.Conv2d):
    """A subclass that adds nothing."""


def test_subclasses_with_and_without_a_forward_of_their_own() -> None:
    x = _spikes(2, 3, 9, 9)
    named = _count(nn.Sequential(_Named(3, 4, 3, padding=1, bias=False)), x).layers[0]
    assert (named.name, named.pairs) == ("0", _fan(x))
    found = _count(nn.Sequential(_Strided(3, 4, 3, padding=1, bias=False)), x)
    taps = F.conv2d(x, torch.ones(4, 3, 3, 3), stride=2).sum()
    assert found["0"].pairs == int(taps) > 0
    assert found["0.mul"].multiplies == found["0.add"].adds == x.numel()
    assert [one.op for one in found.unpriced] == ["gt"]


def test_a_forward_set_on_the_instance_is_not_trusted() -> None:
    layer, x = _conv(), _spikes(2, 3, 9, 9)
    own: Any = layer
    own.forward = lambda y: F.conv2d(y, layer.weight, stride=3)
    assert _count(nn.Sequential(layer), x)["0"].pairs == int(F.conv2d(x, torch.ones(4, 3, 3, 3), stride=3).sum()) > 0


def test_functional_weights_and_explicit_padding() -> None:
    x, weight = _spikes(2, 3, 9, 9), torch.randn(4, 3, 3, 3)
    padded = _count(Run(lambda y, w: F.conv2d(F.pad(y, (1, 1, 1, 1)), w), weight), x)["w0"]
    module = _count(nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(3, 4, 3, bias=False)), x)["1"]
    assert padded.pairs == module.pairs == _fan(x)
    assert padded.dense == module.dense == _fan(torch.ones_like(x))
    ones = _count(Run(lambda y, w: F.conv2d(F.pad(y, (1, 1, 1, 1), value=1.0), w), weight), x)["w0"]
    assert ones.dense == ones.dense_padded > padded.dense  # ones are no padding
    made = _count(Run(lambda y, w: F.conv2d(y, w * 2, padding=1), weight), x)["model.convolution"]
    assert made.pairs == padded.pairs


@pytest.mark.parametrize("inference", [False, True])
def test_functional_linear_and_einsum_with_a_weight(inference: bool) -> None:
    x, weight, bias = _spikes(6, 5, 8), torch.randn(7, 8), torch.randn(7)
    functions = {
        "linear": lambda y, w, b: F.linear(y, w, b),
        "matmul": lambda y, w, b: y @ w.t(),
        "einsum": lambda y, w, b: torch.einsum("abk,ok->abo", y, w),
        "left": lambda y, w, b: w @ y[0].t(),
    }
    for name, function in functions.items():
        model = Run(torch.inference_mode(inference)(function), weight, bias)
        found = _count(model, x)
        assert found.layers[0].pairs == int(x[0].sum() if name == "left" else x.sum()) * 7, name
        assert found.layers[0].bias_adds == (6 * 5 * 7 if name == "linear" else 0)
        assert (len(found.layers), found.layers[0].calls, found.unpriced) == (1, 1, ())


def _products(q: torch.Tensor, k: torch.Tensor, allowed: torch.Tensor | None = None) -> int:
    """Pairs of two binary maps ``(..., L, E)`` and ``(..., S, E)``, one by one."""
    both = q.unsqueeze(-2).ne(0) & k.unsqueeze(-3).ne(0)
    return int((both if allowed is None else both & allowed.unsqueeze(-1)).sum())


def test_query_times_key_counts_pairs_of_both() -> None:
    q, k = _spikes(2, 3, 6, 8), _spikes(2, 3, 5, 8, rate=0.5)
    found = _count(Run(lambda y: y @ k.transpose(-2, -1)), q).layers[0]
    assert found.op == "matmul"
    assert found.pairs == found.events == _products(q, k) > 0
    assert found.dense == 2 * 3 * 6 * 5 * 8
    assert found.weight_reads == 0
    graded = _count(Run(lambda y: (y * 3) @ k.transpose(-2, -1)), q)["model.matmul 6x8x5"]
    assert (graded.pairs, graded.events, graded.input_kind) == (found.pairs, 3 * found.pairs, "graded")


@pytest.mark.parametrize("mask", ["none", "causal", "bool", "float"])
def test_scaled_dot_product_attention(mask: str) -> None:
    q = _spikes(2, 4, 8, 16)
    k, v = q.flip(0), q.flip(1)
    keep = (torch.arange(8)[:, None] - torch.arange(8)).abs() < 3
    masks: dict[str, dict[str, Any]] = {
        "none": {},
        "causal": {"is_causal": True},
        "bool": {"attn_mask": keep},
        "float": {"attn_mask": torch.zeros(8, 8).masked_fill(~keep, -torch.inf)},
    }
    options = masks[mask]
    allowed = {"none": torch.ones(8, 8).bool(), "causal": torch.ones(8, 8).bool().tril()}.get(mask, keep)
    found = _count(Run(lambda y: F.scaled_dot_product_attention(y, y.flip(0), y.flip(1), **options)), q)
    qk, av = found["model.attention Q K"], found["model.attention V"]
    assert qk.dense_padded == av.dense_padded == 2 * 4 * 8 * 8 * 16
    assert qk.dense == av.dense == 2 * 4 * int(allowed.sum()) * 16
    assert qk.pairs == _products(q, k, allowed) > 0
    assert av.pairs == int((allowed.float() @ v).sum()) > 0
    assert found["model.mul"].multiplies == 2 * 4 * int(allowed.sum())
    assert [one.op for one in found.unpriced] == ["softmax"]


def test_element_wise_gates_and_residuals() -> None:
    gate, x = torch.rand(1, 3, 1, 1), _spikes(2, 3, 8, 8)
    found = _count(Run(lambda y, g: (y * g + y) * 0.5, gate), x)
    assert found["model.mul"].multiplies == 2 * x.numel()
    assert found["model.mul"].calls == 2
    assert found["model.add"].adds == x.numel()
    assert found.unpriced == ()


def test_what_is_changed_in_place_is_looked_at_again() -> None:
    class Doubles(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.after = _conv(), _conv()

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.before(x), self.after(x.mul_(2))

    x = _spikes(2, 3, 8, 8)
    found = _count(Doubles(), x.clone())
    assert (found["before"].input_kind, found["before"].events) == ("binary", _fan(x))
    assert (found["after"].input_kind, found["after"].events) == ("graded", 2 * _fan(x))
    assert found["after"].pairs == _fan(x) > 0


def test_division_by_a_number_is_a_product_and_by_a_tensor_is_listed() -> None:
    x = _spikes(2, 3, 8, 8)
    found = spikefold.energy.profile(Run(lambda y: y / 2 / (y + 1)), x, layout="N")
    assert found["model.mul"].multiplies == x.numel()
    assert [(one.op, one.times) for one in found.unpriced] == [("div", 1)]


def test_batch_norm_has_one_name_on_every_backend() -> None:
    names = (
        "native_batch_norm",
        "cudnn_batch_norm",
        "miopen_batch_norm",
        "_native_batch_norm_legit_no_training",
        "_batch_norm_with_update",
        "_batch_norm_no_update",
        "batch_norm",
    )
    assert rule("native_batch_norm") is not None
    assert {rule(name) for name in names} == {rule("native_batch_norm")}
    norm, x = nn.BatchNorm2d(3).eval(), _spikes(2, 3, 8, 8)
    on_cpu = _count(nn.Sequential(Run(lambda y: norm(y))), x)["0.batch_norm"]
    seen = {}
    for device in ("cpu", "cuda"):
        with FakeTensorMode(), torch.no_grad():
            y = torch.empty(2, 3, 8, 8, device=device)
            mean, var, weight, bias = (torch.empty(3, device=device) for _ in range(4))
            ledger = Ledger()
            with Dispatch(ledger, lambda: "0", lambda _: ""):
                F.batch_norm(y, mean, var, weight, bias)
        assert not ledger.unpriced
        seen[device] = ledger.rows
    assert seen["cpu"] == seen["cuda"]
    assert seen["cpu"]["0.batch_norm"]["multiplies"] == on_cpu.multiplies == x.numel()
    assert _count(nn.Sequential(norm), x)["0.batch_norm"] == on_cpu


def test_the_counter_does_not_count_itself() -> None:
    """Whatever counting computes (sums, products, comparisons) is in no row and in no list."""
    x = _spikes(2, 3, 8, 8) * 2
    found = _count(nn.Sequential(nn.AvgPool2d(2), _conv(), Run(lambda y: y @ y.transpose(-2, -1))), x)
    assert [one.name for one in found.layers] == ["0.avg_pool2d", "1", "2.matmul 4x4x4"]
    assert found.unpriced == ()


def test_a_reused_module_is_one_row_with_all_its_calls() -> None:
    layer, x = nn.Conv2d(3, 3, 3, padding=1, bias=False), _spikes(2, 3, 8, 8)
    found = _count(nn.Sequential(layer, Run(lambda y: (y > 0).float()), layer), x)
    hidden = (layer(x) > 0).float()
    assert [one.calls for one in found.layers if one.op == "conv2d"] == [2]
    assert found["0"].pairs == _fan(x, 3) + _fan(hidden, 3) > 0


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.erf()


def test_unknown_operations_are_listed_and_never_zero() -> None:
    x = _spikes(2, 3, 8, 8)
    parts = nn.Sequential(nn.ReLU(), nn.LayerNorm(8), Run(lambda y: torch.fft.fft(_Sign.apply(y)).abs().softmax(-1)))
    found = spikefold.energy.profile(parts, [x, x], layout="N")
    listed = {(one.op, one.where): one.times for one in found.unpriced}
    assert listed[("relu", "0")] == listed[("native_layer_norm", "1")] == listed[("erf", "2")] == 2
    assert {op for op, where in listed if where == "2"} == {"erf", "_fft_r2c", "abs", "_softmax"}
    assert all(op in found.coverage for op, _ in listed)


def test_weights_that_nothing_used_are_named() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    model.spare = nn.Linear(4, 4)
    model.forward = lambda x: model[0](x)  # type: ignore[method-assign]
    assert _count(model, _spikes(2, 4)).uncalled == ("spare.weight",)


def test_no_number_depends_on_the_duration_of_a_step() -> None:
    """`dt` enters where operations become watts, not here: no field is a rate or a time."""
    found = _count(nn.Sequential(_conv()), _spikes(2, 3, 8, 8)).layers[0]
    units = ("rate", "_us", "_ms", "hz", "seconds")
    assert not [name for name in vars(found) if any(unit in name for unit in units)]
