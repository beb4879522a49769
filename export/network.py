# SPDX-License-Identifier: Apache-2.0
"""Holds `Network`, the frozen description of a spiking network: the only thing that crosses from training to chips.

One type, two number systems: real (float64) before quantisation, integer (int64) after. A network is a chain or
a graph of `Layer`, in topological order; a layer with several inputs adds them up, but for `Concat`. A network makes
its spiking layers `SpikingLayer` and its weight layers `WeightLayer`, so that nobody has to ask for the kind twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import TypeVar, cast

import numpy as np

from spikefold.errors import NetworkError, UnsupportedError
from spikefold.export.neuron import LARGEST, Neuron, shown
from spikefold.export.ops import AvgPool2d, BatchNorm, Concat, Conv2d, Dense, Gate, MaxPool2d, Shape, SumPool2d

Op = Conv2d | Dense | BatchNorm | Gate | AvgPool2d | SumPool2d | MaxPool2d | Concat | Neuron
INPUT = "input"
"""Name of the network's input among the inputs of a layer."""
Made = TypeVar("Made")
_REAL_ONLY = (BatchNorm, Gate, AvgPool2d)
MOST_LAYERS, MOST_VALUES = 4096, 2**28
"""Of a network, and of the map that one of its layers gives: a hundred times what the largest chip holds."""
_MOST_STEPS, _LONGEST = 2**20, 10**12


@dataclass(frozen=True)
class InputSpec:
    """The input of a network: event counts per time bin.

    Attributes:
        shape: ``(C, H, W)``, C the polarities (channel 0 OFF, 1 ON).
        dt_us: length of one time step in microseconds.
        steps: time steps T of one clip.
        max_count: most events of one input in one step, which bounds the first layer's sums; None where unknown.
    """

    shape: Shape
    dt_us: int
    steps: int
    max_count: int | None = None

    def __post_init__(self) -> None:
        sizes = (*self.shape, self.dt_us, self.steps)
        if max(sizes) > _LONGEST or self.steps > _MOST_STEPS:
            raise NetworkError(f"an input of more than {_MOST_STEPS:,} steps, or of sides beyond {_LONGEST:,}")
        if min(sizes) < 1 or any(size != int(size) for size in sizes):
            raise NetworkError(
                f"input {self.shape}, {self.steps} steps of {self.dt_us} us: whole numbers above 0 only"
            )
        if self.max_count is not None and not 1 <= self.max_count <= LARGEST:
            raise NetworkError(f"at most {shown(self.max_count)} events an input and step leave nothing to see")


@dataclass(frozen=True, eq=False)
class Layer:
    """One operation, its name, the layers it reads from, and the module it came from."""

    name: str
    op: Op
    inputs: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True, eq=False)
class SpikingLayer(Layer):
    """A layer of neurons."""

    op: Neuron

    @property
    def neuron(self) -> Neuron:
        """Its neurons."""
        return self.op


@dataclass(frozen=True, eq=False)
class WeightLayer(Layer):
    """A convolution or dense layer."""

    op: Conv2d | Dense


@dataclass(frozen=True, eq=False)
class Block:
    """A weight layer and the one spiking layer that reads it; nothing else does.

    Attributes:
        weights: the weight layer.
        spiking: the layer of neurons behind it, which may read others too.
    """

    weights: WeightLayer
    spiking: SpikingLayer

    @property
    def op(self) -> Conv2d | Dense:
        """The operation of the weight layer."""
        return self.weights.op

    @property
    def neuron(self) -> Neuron:
        """The neurons behind it."""
        return self.spiking.op

    @property
    def sources(self) -> tuple[str, ...]:
        """The layers that the weights read."""
        return self.weights.inputs

    @property
    def alone(self) -> bool:
        """Whether the neurons read nothing but these weights."""
        return self.spiking.inputs == (self.weights.name,)


@dataclass(frozen=True, eq=False)
class Network:
    """A spiking network. Layers without ``inputs`` read from the layer before them.

    Attributes:
        input: shape, step and length of a clip.
        layers: in topological order; the last one is a `Neuron`, its spikes are the output.
        classes: the output neurons are split into this many equal groups, one per class, in order.
        history: the passes that made this network, oldest first.

    Raises:
        NetworkError: a name twice, an unknown input, shapes that do not meet, mixed number systems.
    """

    input: InputSpec
    layers: tuple[Layer, ...]
    classes: int
    history: tuple[str, ...] = field(default=())
    _derived: dict[Callable[[Network], object], object] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        wired, before = [], INPUT
        for layer in self.layers:
            wired.append(_of_its_kind(layer if layer.inputs else replace(layer, inputs=(before,))))
            before = layer.name
        object.__setattr__(self, "layers", tuple(wired))
        names = [layer.name for layer in self.layers]
        if len(names) > MOST_LAYERS:
            raise NetworkError(f"{len(names):,} layers, more than the {MOST_LAYERS:,} allowed")
        if not names or len(set(names)) != len(names) or INPUT in names:
            raise NetworkError(f"layer names must be unique, not empty and not {INPUT!r}: {names[:50]}")
        if not isinstance(self.layers[-1], SpikingLayer):
            raise NetworkError("the last layer must be spiking", where=names[-1])
        outputs = int(np.prod(self.shapes[names[-1]]))
        if self.classes < 1 or self.classes != int(self.classes) or outputs % self.classes:
            raise NetworkError(f"{outputs} output neurons do not split into {self.classes} classes")
        if len({_is_integer(layer.op) for layer in self.layers} - {None}) > 1:
            kinds = ", ".join(f"{la.name} {'integer' if _is_integer(la.op) else 'real'}" for la in self.layers)
            raise NetworkError(f"a network is real or integer, not both: {kinds}")
        if self.is_integer and any(isinstance(layer.op, _REAL_ONLY) for layer in self.layers):
            raise NetworkError("an integer network cannot hold batch norm, gates or average pooling")

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Output shape ``(C, H, W)`` of the input and of every layer.

        Raises:
            NetworkError: shapes that do not meet, or a map of more than `MOST_VALUES`.
        """
        shapes = self._all_shapes()
        for name, shape in shapes.items():
            if prod(shape) > MOST_VALUES:
                what = f"a map of {prod(shape):,} values, more than the {MOST_VALUES:,} allowed"
                raise NetworkError(what, where=name, hint="no chip holds a hundredth of it")
        return shapes

    def _all_shapes(self) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {INPUT: self.input.shape}
        for layer in self.layers:
            try:
                if isinstance(layer.op, Concat):
                    shapes[layer.name] = layer.op.output_shape(*(shapes[name] for name in layer.inputs))
                    continue
                found = {shapes[name] for name in layer.inputs}
                if len(found) != 1:
                    raise NetworkError(f"inputs {layer.inputs} have different shapes {sorted(found)}")
                shapes[layer.name] = layer.op.output_shape(found.pop())
            except KeyError as error:
                raise NetworkError(f"input {error} is no earlier layer", where=layer.name) from error
            except NetworkError as error:
                raise NetworkError(error.what, where=layer.name, hint=error.hint) from error
        return shapes

    @cached_property
    def is_integer(self) -> bool:
        """Whether this network is in the integer number system."""
        return any(_is_integer(layer.op) is True for layer in self.layers)

    @cached_property
    def neurons(self) -> tuple[SpikingLayer, ...]:
        """The spiking layers, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, SpikingLayer))

    @cached_property
    def weights(self) -> tuple[WeightLayer, ...]:
        """The weight layers, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, WeightLayer))

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The weight layers that exactly one layer reads, a spiking one, with it; in order."""
        read_by = [(layer, self.consumers(layer.name)) for layer in self.weights]
        return tuple(
            Block(layer, readers[0])
            for layer, readers in read_by
            if len(readers) == 1 and isinstance(readers[0], SpikingLayer)
        )

    def block(self, name: str) -> Block:
        """The block of a weight layer.

        Raises:
            UnsupportedError: no weight layer has this name, or not exactly one spiking layer reads it.
        """
        for block in self.blocks:
            if block.weights.name == name:
                return block
        raise UnsupportedError("a weight layer without neurons of its own", where=name, hint="fold what lies between")

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, name: str) -> Layer:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> Mapping[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def _readers(self) -> Mapping[str, tuple[Layer, ...]]:
        found: dict[str, list[Layer]] = {}
        for layer in self.layers:
            for name in dict.fromkeys(layer.inputs):
                found.setdefault(name, []).append(layer)
        return {name: tuple(readers) for name, readers in found.items()}

    def input_shape(self, layer: Layer) -> Shape:
        """Shape ``(C, H, W)`` that the layer reads, its inputs added up or, for `Concat`, side by side."""
        return self.shapes[layer.name if isinstance(layer.op, Concat) else layer.inputs[0]]

    def consumers(self, name: str) -> tuple[Layer, ...]:
        """The layers that read from ``name``."""
        return self._readers.get(name, ())

    def derived(self, make: Callable[[Network], Made]) -> Made:
        """What ``make`` says of this network, computed once: a network never changes.

        Args:
            make: a function of the network alone, such as the layout on a chip.
        """
        if make not in self._derived:
            self._derived[make] = make(self)
        return cast(Made, self._derived[make])

    def up_to(self, name: str) -> Network:
        """The layers that this one depends on, and itself as the output of one class."""
        needed = {name}
        for layer in reversed(self.layers):
            if layer.name in needed:
                needed.update(layer.inputs)
        return replace(self, layers=tuple(layer for layer in self if layer.name in needed), classes=1)

    def rewritten(self, layers: Sequence[Layer], step: str) -> Network:
        """The same network with other layers, ``step`` added to its history."""
        return replace(self, layers=tuple(layers), history=(*self.history, step))


def _of_its_kind(layer: Layer) -> Layer:
    """The layer as the class that its operation asks for."""
    op = layer.op
    if isinstance(op, Neuron):
        return layer if type(layer) is SpikingLayer else SpikingLayer(layer.name, op, layer.inputs, layer.source)
    if isinstance(op, Conv2d | Dense):
        return layer if type(layer) is WeightLayer else WeightLayer(layer.name, op, layer.inputs, layer.source)
    return layer if type(layer) is Layer else Layer(layer.name, op, layer.inputs, layer.source)


def _is_integer(op: Op) -> bool | None:
    """Number system of one operation; None where it has no numbers."""
    if isinstance(op, Neuron):
        return op.is_integer and np.issubdtype(op.threshold.dtype, np.integer)
    if isinstance(op, Conv2d | Dense):
        arrays = [op.weight] + ([op.bias] if op.bias is not None else [])
        kinds = {bool(np.issubdtype(array.dtype, np.integer)) for array in arrays}
        if len(kinds) > 1:
            raise NetworkError("weight and bias are in different number systems")
        return kinds.pop()
    if isinstance(op, SumPool2d | MaxPool2d | Concat):
        return None
    return False
