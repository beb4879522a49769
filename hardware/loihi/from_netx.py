# SPDX-License-Identifier: Apache-2.0
"""Reads a network trained with lava-dl, a ``.net`` file, as an integer `Network` spike for spike, or refuses it.

Supported: input, conv, dense and flatten layers with ``CUBA`` (or ``LOIHI``, the older name) neurons, whose equations
are in `netx_neurons`. A file may begin with a dense layer, whose width is in its weights, or with a convolution where
the caller says the input's shape. What netx or lava would change silently is refused, and what our `Network` cannot
say (delays, a bias for each neuron, a bias beside a synaptic current that decays), all at once, each layer by name.
What a chip cannot hold is imported: that is for the chip's rules (`rules`).

An input layer with neurons becomes a convolution of 1x1 and its neurons: lava-dl's encoders drive them by
``weight * x + bias`` (64 and 0 where the file does not say), which netx itself leaves to its user. A conv bias is
``(C,)``, or ``(W, H, C)``, in netx' order, if it is the same all over a channel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np

from spikefold.errors import ConfigError, DataError, Issue, NetworkError, UnsupportedError
from spikefold.export.network import InputSpec, Layer, Network
from spikefold.export.nir.file import COMPLEX
from spikefold.export.ops import Conv2d, Dense, Shape
from spikefold.hardware.loihi.netx_file import Entry, read_entries
from spikefold.hardware.loihi.netx_neurons import Driven, neuron

STEP = "from_net"
_BIAS_MIN, _BIAS_MAX = -(2**15), 2**15 - 1
_NO_INFORMATION = {"inChannels", "outChannels", "kernelSize", "inFeatures", "outFeatures"}
_WEIGHTED = {"type", "shape", "neuron", "weight", "bias", "delay"} | _NO_INFORMATION
_FIELDS = {
    "input": {"type", "shape", "neuron", "weight", "bias"},
    "conv": _WEIGHTED | {"stride", "padding", "dilation", "groups"},
    "dense": _WEIGHTED,
    "flatten": {"type", "shape"},
}
_TO_DO = {
    "dense_rec": "recurrent connections: train without them",
    "dense_comp": "complex weights: no chip here runs resonators",
    "pool": "netx does not read it either: train with strides",
    "average": "netx does not read it either: count the output spikes in groups, classes=N",
    "concat": "netx does not read it either: train without skip connections",
}


def from_net(
    path: Path,
    *,
    steps: int | None = None,
    dt_us: int = 10_000,
    classes: int | None = None,
    max_count: int = 1,
    input_shape: Shape | None = None,
    ignore_input_bias: bool = False,
) -> Network:
    """An integer network from a file.

    Args:
        path: the ``.net`` file.
        steps: time steps of a clip; what the file says by default.
        dt_us: length of a step in microseconds, which the file does not say.
        classes: groups of output neurons; one each by default.
        max_count: most events of an input and step: netx's current must hold their sum.
        input_shape: ``(C, H, W)`` for a file that begins with a convolution; a dense layer's width is in its weights.
        ignore_input_bias: hold the bias of an input layer with neurons at 0, as netx does until its user sets it.

    Raises:
        ConfigError: neither the file nor ``steps`` says how long a clip is.
        DataError: the file is missing, damaged or no ``.net`` file, or a field is.
        UnsupportedError: with everything that cannot be imported exactly.
    """
    entries, stored = read_entries(path)
    steps = steps or stored
    if steps is None:
        raise ConfigError("the file does not say how long a clip is", where=str(path), hint="say steps")
    builder = _Builder(max_count, steps, input_shape, ignore_input_bias)
    for entry in entries:
        try:
            builder.add(entry)
        except DataError as error:
            raise DataError(error.what, where=f"{path}: {error.where}", hint=error.hint) from error
    if not builder.issues:
        try:
            spec = InputSpec(builder.input, dt_us, steps, max_count)
            return Network(spec, tuple(builder.layers), classes or prod(builder.shape), (STEP,))
        except NetworkError as error:
            hint = error.hint or "the file contradicts itself"
            builder.refuse("a valid network", error.where or "network", error.what, "a valid network", hint)
    raise UnsupportedError("the file holds what cannot be imported", where=str(path), issues=builder.issues)


@dataclass
class _Builder:
    """Walks the layers in order, whatever was wrong with those before.

    ``shape`` is what the last layer gives, ``known`` whether that is certain, ``flat`` whether netx has a vector.
    """

    max_count: int
    steps: int
    asked: Shape | None = None
    ignore_input_bias: bool = False
    issues: list[Issue] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    input: Shape = (1, 1, 1)
    shape: Shape = (1, 1, 1)
    known: bool = False
    flat: bool = False

    def refuse(self, rule: str, where: str, got: str, limit: str, hint: str) -> None:
        self.issues.append(Issue(rule, where, got, limit, hint))

    def add(self, entry: Entry) -> None:
        make = {"input": self._input, "conv": self._conv, "dense": self._dense, "flatten": self._flatten}
        allowed, where = _FIELDS.get(entry.kind), entry.where
        if allowed is None:
            hint = _TO_DO.get(entry.kind, "replace it by layers of the subset")
            self.refuse("a layer of the subset", where, entry.kind, ", ".join(sorted(_FIELDS)), hint)
            self.known = False
            return
        if strange := sorted(set(entry.fields) - allowed):
            hint = "it says what netx 0.6.0 does not know"
            self.refuse("known fields", where, f"{strange}", f"{sorted(allowed)}", hint)
        first = where.startswith("layer/0 ")
        if entry.kind == "input" and not first:
            self.refuse("one input layer, first", where, "another one", "input", "say the shape of the input there")
        elif first and entry.kind != "input":
            self._begin(entry)
        try:
            make[entry.kind](entry)
        except UnsupportedError as error:
            hint = error.hint or "the file contradicts itself"
            self.issues += error.issues or [Issue("a layer that can be", where, error.what, "shapes that meet", hint)]

    def _begin(self, entry: Entry) -> None:
        """The shape of the input of a file without an input layer, from its first weights or as it was asked for."""
        weight = entry.fields.get("weight")
        if entry.kind == "dense" and isinstance(weight, np.ndarray) and weight.ndim == 2:
            width = int(weight.shape[1])
            self.input = (width, 1, 1) if self.asked is None or prod(self.asked) != width else self.asked
        elif self.asked is not None:
            self.input = self.asked
        else:
            got, hint = f"{entry.kind} first", "say how large the input is: --input-shape C,H,W"
            self.refuse("one input layer, first", entry.where, got, "input", hint)
            return
        if self.asked not in (None, self.input):
            hint = "the weights say it: leave --input-shape out"
            self.refuse("input shape", entry.where, f"{self.asked}", f"{self.input}", hint)
        self.shape, self.known, self.flat = self.input, True, entry.kind == "dense"

    def _input(self, entry: Entry) -> None:
        sizes = entry.whole("shape").ravel().tolist()
        if self.asked is not None and prod(self.asked) != prod(sizes):
            hint = "the file says it: leave --input-shape out"
            self.refuse("input shape", entry.where, f"{self.asked}", f"{tuple(sizes)}", hint)
        if len(sizes) not in (1, 3) or min(sizes) < 1:
            raise UnsupportedError(f"an input of {sizes}", hint="say the shape as (C, H, W) or (N,)")
        self.shape = self.input = (sizes[0], sizes[1], sizes[2]) if len(sizes) == 3 else (sizes[0], 1, 1)
        self.known, self.flat = True, len(sizes) == 1
        if entry.neuron is None:
            if {"weight", "bias"} & set(entry.fields):
                hint = "netx ignores weight and bias of an input without neurons: leave them out"
                self.refuse("a plain input", entry.where, "weight or bias without neurons", "neither", hint)
            return
        gain, offset = entry.number("weight", 64), entry.number("bias", 0)
        offset = 0 if self.ignore_input_bias else offset
        drive = max(abs(gain * self.max_count + offset), abs(offset))
        if drive > _BIAS_MAX:
            hint = "lava drives these neurons by their bias, of 16 bits"
            self.refuse("drive of the input", entry.where, str(drive), str(_BIAS_MAX), hint)
        channels = self.shape[0]
        weight, bias = np.full((channels, 1, 1, 1), gain), np.full(channels, offset) if offset else None
        self._append(entry, Conv2d(weight, bias, groups=channels))

    def _flatten(self, entry: Entry) -> None:
        if self.known and self.flat and self.layers:
            self.refuse("a map to flatten", entry.where, "a vector", "a map", "netx stops here: leave it out")
        self.flat = True

    def _conv(self, entry: Entry) -> None:
        if self.known and self.flat:
            hint = "netx cannot make a map of a vector: write a dense layer"
            self.refuse("convolutions first", entry.where, f"a vector of {prod(self.shape)}", "a map", hint)
        self._real(entry)
        weight = entry.whole("weight")
        if weight.ndim == 5 and weight.shape[4] == 1:
            weight = weight[..., 0]
        stride, padding, dilation = entry.pair("stride"), entry.pair("padding"), entry.pair("dilation")
        groups = entry.number("groups")
        self._append(entry, Conv2d(weight, self._channel_bias(entry), stride, padding, dilation, groups))

    def _dense(self, entry: Entry) -> None:
        self._real(entry)
        if self.known and not self.flat:
            hint = "put a flatten layer before it: without one netx stops, or reads the map in another order"
            self.refuse("flatten before dense", entry.where, f"a map of {self.shape}", "a vector", hint)
        weight, outputs = entry.whole("weight"), _declared(entry)[0]
        if weight.ndim == 1 and outputs and weight.size % outputs == 0:
            weight = weight.reshape(outputs, -1)
        self._survives_netx(entry.where, weight)
        bias = entry.whole("bias") if "bias" in entry.fields else None
        if bias is not None and bias.shape != (len(weight),):
            self.refuse("dense bias", entry.where, f"shape {bias.shape}", f"({len(weight)},)", "one for each neuron")
            bias = None
        self._append(entry, Dense(weight, bias))

    def _real(self, entry: Entry) -> None:
        """Nothing, if the weights are real.

        Raises:
            UnsupportedError: they are complex.
        """
        weight = entry.fields.get("weight")
        if isinstance(weight, dict) or (isinstance(weight, str) and weight == COMPLEX):
            raise UnsupportedError("the weights are complex numbers", hint=_TO_DO["dense_comp"])

    def _survives_netx(self, where: str, weight: np.ndarray) -> None:
        """Not every dense matrix is the same after netx has shifted it to the top of 8 bits."""
        low, high = int(weight.min()), int(weight.max())
        least, most = (0, 255) if low >= 0 else (-255, 0) if high <= 0 else (-256, 254)
        if low == high == 0:
            self.refuse("dense weights", where, "all zero", "one other than 0", "leave the dead layer out")
        elif low < least or high > most:
            hint = "netx clips or shifts them: scale them down"
            self.refuse("dense weights", where, f"[{low}, {high}]", f"[{least}, {most}]", hint)
        elif high <= 0 and (-low & (-low - 1)) == 0:
            got, hint = f"none positive, lowest {low}", "netx clips that weight: raise it by 1"
            self.refuse("dense weights", where, got, "lowest not -2^k", hint)

    def _channel_bias(self, entry: Entry) -> np.ndarray | None:
        """One bias a channel, from ``(C,)`` or from ``(W, H, C)`` that is equal all over each channel."""
        if "bias" not in entry.fields:
            return None
        bias, (channels, height, width) = entry.whole("bias"), _declared(entry)
        if bias.shape == (width, height, channels):
            if (bias != bias[0, 0]).any():
                hint = "a bias for each neuron has no place in our Conv2d: use one a channel"
                self.refuse("bias of a channel", entry.where, "different ones", "one a channel", hint)
            return np.asarray(bias[0, 0])
        if bias.shape != (channels,):
            got, limit = f"shape {bias.shape}", f"({channels},) or ({width}, {height}, {channels})"
            self.refuse("conv bias", entry.where, got, limit, "netx stops at a scalar: repeat it for each channel")
            return None
        return bias

    def _append(self, entry: Entry, op: Conv2d | Dense) -> None:
        """The layer and its neurons; the shape is checked first, and what follows relies on the file's."""
        before, known, first = self.shape, self.known, not self.layers
        self.shape, self.known = _declared(entry), True
        if entry.kind != "input":  # its neurons leave it the map or the vector that it is
            self.flat = isinstance(op, Dense)
        if "delay" in entry.fields and entry.whole("delay").any():
            hint = "no delays here (and netx ignores those of a convolution): train without"
            self.refuse("no delays", entry.where, f"up to {entry.whole('delay').max()}", "0", hint)
        if op.bias is not None and (op.bias.min() < _BIAS_MIN or op.bias.max() > _BIAS_MAX):
            got, hint = f"[{op.bias.min()}, {op.bias.max()}]", "lava's bias wraps at 16 bits"
            self.refuse("bias", entry.where, got, f"[{_BIAS_MIN}, {_BIAS_MAX}]", hint)
        if known and (shape := op.output_shape(before)) != self.shape:
            self.refuse("shape", entry.where, f"{self.shape}", f"{shape}", "the file contradicts itself")
        if entry.neuron is None:
            hint = "netx would put neurons there that never fire: write the neurons out"
            self.refuse("neurons", entry.where, "none", "CUBA", hint)
            return
        count = self.max_count if first else 1
        made, unit = neuron(Driven(entry.neuron, op, count, self.steps, by_bias=entry.kind == "input"))
        name = f"{entry.kind}{entry.where.split()[0].rpartition('/')[2]}"
        source = f"net {entry.where}"
        self.layers += [Layer(name, _divided(op, unit), (), source), Layer(f"{name}.spikes", made, (), source)]


def _declared(entry: Entry) -> Shape:
    sizes = entry.whole("shape").ravel().tolist()
    return (sizes[0], sizes[1], sizes[2]) if len(sizes) == 3 and entry.kind != "dense" else (prod(sizes), 1, 1)


def _divided(op: Conv2d | Dense, unit: int) -> Conv2d | Dense:
    weight, bias = op.weight // unit, None if op.bias is None else op.bias // unit
    if isinstance(op, Dense):
        return Dense(weight, bias)
    return Conv2d(weight, bias, op.stride, op.padding, op.dilation, op.groups)
