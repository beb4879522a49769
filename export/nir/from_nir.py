# SPDX-License-Identifier: Apache-2.0
"""Reads a ``.nir`` file as a real `Network`, function for function, or refuses it: for networks trained elsewhere.

Supported: Input and Output (one each), Conv2d (padding in numbers, "same" or "valid"), Linear, Affine, Flatten of
everything, SumPool2d and AvgPool2d (windows side by side, no padding), IF, LIF, CubaLIF, and graphs of these inside
each other. Chains and graphs: a node with several edges in reads their
sum. Everything else is refused, all at once, each node by name with its reason and what to do: other nodes and
unknown fields, recurrence, ``v_leak`` and ``v_reset`` other than 0, nodes that read nothing or lead nowhere.

`nir/options.py` says what the file does not, `nir/file.py` how bytes become nodes, `nir/wiring.py` their order,
`nir/neurons.py` how a neuron becomes one of ours, `nir/ops.py` the rest. What happens here: shapes, layers from
nodes. A Flatten is no layer, for `Dense` reads its input in C, H, W order anyway; neurons behind a Flatten keep the
shape of the map, their parameters are reshaped. An Input of rank 3 is ``(C, H, W)``, of rank 1 ``(C, 1, 1)``; of
rank 4 or 2 in snnTorch's convention its first axis is the batch. An average pool stays one; the passes fold it or
refuse it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from spikefold.errors import ConfigError, DataError, Issue, NetworkError, UnsupportedError
from spikefold.export.network import INPUT, InputSpec, Layer, Network
from spikefold.export.neuron import Neuron
from spikefold.export.nir import neurons as nir_neurons
from spikefold.export.nir import ops as nir_ops
from spikefold.export.nir.file import IDENTITY, Graph, Node, read_graph
from spikefold.export.nir.options import CONVENTIONS, DEFAULTS, NirOptions
from spikefold.export.nir.wiring import Wiring, wiring
from spikefold.export.nir.writer import OURS, Writer, writer_of
from spikefold.export.ops import AvgPool2d, Conv2d, Dense, Shape, SumPool2d

STEP = "from_nir"
_TOLD = ("steps", "dt_us", "classes", "max_count")
"""What our own files say in their metadata."""
_ENDS = {"Input": {"shape"}, "Output": {"shape"}, IDENTITY: {"shape"}, "Flatten": {"start_dim", "end_dim"}}
_FIELDS = nir_neurons.KINDS | nir_ops.KINDS | _ENDS
_ALWAYS = {"type", "metadata", "input_type", "output_type"}
_TO_DO = {
    "Scale": "multiply it into the weights before or after it",
    "Threshold": "it has no state: use IF neurons",
    "Delay": "no chip here delays spikes: train without delays",
    "LI": "a readout without spikes: end the network with IF or LIF neurons",
    "CubaLI": "a readout without spikes: end the network with IF or LIF neurons",
    "I": "a readout without spikes: end the network with IF or LIF neurons",
    "Conv1d": "write it as a Conv2d over one row",
}


@dataclass(frozen=True)
class _Signal:
    """What a node gives: the sum of these layers, their shape where known, and whether a Flatten came before."""

    sources: tuple[str, ...] = ()
    shape: Shape | None = None
    flat: bool = False


def read(path: Path, options: NirOptions = DEFAULTS) -> Network:
    """A real network from a file; layers keep the names of their nodes.

    Args:
        path: the ``.nir`` file.
        options: what the file does not say.

    Raises:
        ConfigError: nothing in the file tells who wrote it, and no convention was named.
        DataError: the file is missing, damaged or no NIR graph, or a field is.
        UnsupportedError: with everything that lies outside the subset.
    """
    return understood(path, options)[0]


def understood(path: Path, options: NirOptions = DEFAULTS) -> tuple[Network, Writer, NirOptions]:
    """The network of a file, whose convention was used and what told it, and the options with that convention.

    Raises:
        ConfigError, DataError, UnsupportedError: as `read`.
    """
    graph = read_graph(path)
    wires = wiring(graph)
    found = writer_of(graph)
    if options.convention is not None:
        found = Writer(options.convention, "the option")
    spiking = any(node.kind in nir_neurons.KINDS for node in graph.nodes.values())
    if found is None and spiking:
        raise ConfigError(
            "nothing in the file tells which tool wrote it, and each steps and resets its neurons in its own way",
            where=str(path), hint=f"--convention {' | '.join(CONVENTIONS)}, and --nir KEY=VALUE for what differs",
        )  # fmt: skip
    found = found or Writer("spikefold", "nothing, for it has no neurons")
    chosen = _with_metadata(options, graph, path).model_copy(update={"convention": found.convention})
    return _built(wires, chosen, path), found, chosen


def _with_metadata(options: NirOptions, graph: Graph, path: Path) -> NirOptions:
    """What our own files tell of clips and classes, where the options leave it open.

    Raises:
        DataError: it is no such number.
    """
    told = {key: graph.metadata[f"{OURS}_{key}"] for key in _TOLD if f"{OURS}_{key}" in graph.metadata}
    given = options.model_dump(exclude_unset=True)
    open_ = {key: np.asarray(value).item() for key, value in told.items() if given.get(key) is None}
    try:
        return NirOptions.model_validate(given | open_)
    except ValidationError as error:
        raise DataError(
            f"the file's own {', '.join(open_)}: {open_}", where=str(path), hint="write it again"
        ) from error


def _built(wires: Wiring, options: NirOptions, path: Path) -> Network:
    builder = _Builder(wires, options, list(wires.issues))
    for node in wires.order:
        builder.add(node)
    if not builder.issues:
        try:
            return builder.network()
        except NetworkError as error:
            builder.refuse(error.what, error.where or "network", "as said", "a valid network", error.hint)
    raise UnsupportedError("the file holds what cannot be imported", where=str(path), issues=builder.issues)


@dataclass
class _Builder:
    """Walks the nodes in order, whatever was wrong with those before."""

    wires: Wiring
    options: NirOptions
    issues: list[Issue]
    layers: dict[str, Layer] = field(default_factory=dict)
    signals: dict[str, _Signal] = field(default_factory=dict)

    def refuse(self, rule: str, where: object, got: str, limit: str, hint: str) -> None:
        self.issues.append(Issue(rule, str(where), got, limit, hint or "write the file again"))

    def network(self) -> Network:
        options = self.options
        shapes = {node.kind: self.signals[node.name].shape for node in self.wires.order}
        shape, out = shapes["Input"] or (1, 1, 1), shapes["Output"] or (1, 1, 1)
        spec = InputSpec(shape, options.step_us(), options.steps, options.max_count)
        return Network(spec, tuple(self.layers.values()), options.classes or math.prod(out), (STEP,))

    def add(self, node: Node) -> None:
        known = _FIELDS.get(node.kind)
        # what follows a node that is refused is looked at all the same, but for its shape
        self.signals[node.name] = _Signal((node.name,))
        if known is None:
            hint = _TO_DO.get(node.kind, "replace it by nodes of the subset, or leave it out")
            self.refuse("a node of the subset", node, node.kind, ", ".join(sorted(_FIELDS)), hint)
            return
        if strange := sorted(set(node.fields) - known - _ALWAYS):
            self.refuse("known fields", node, f"{strange}", f"{sorted(known)}", "it says what NIR 1.0 does not know")
        make = {"Input": self._input, "Output": self._output, "Flatten": self._flatten, IDENTITY: _unchanged}
        try:
            self.signals[node.name] = make.get(node.kind, self._layer)(node, self._joined(node))
        except UnsupportedError as error:
            self.issues += error.issues or [Issue(error.what, str(node), "as said", "the subset", error.hint)]

    def _joined(self, node: Node) -> _Signal:
        """The sum of everything that a node reads."""
        found = [self.signals.get(name, _Signal((name,))) for name in self.wires.reads[node.name]]
        shapes = {signal.shape for signal in found}
        if len(shapes - {None}) > 1:
            got = " and ".join(str(shape) for shape in shapes if shape)
            self.refuse("inputs of one shape", node, got, "equal shapes", "a sum needs equal shapes")
        sources = tuple(source for signal in found for source in signal.sources)
        return _Signal(sources, shapes.pop() if len(shapes) == 1 else None, any(signal.flat for signal in found))

    def _layer(self, node: Node, signal: _Signal) -> _Signal:
        shape, op = signal.shape, self._op(node, signal.shape)
        dense = isinstance(op, Dense)
        if shape is not None and shape[1:] != (1, 1) and not isinstance(op, Neuron) and signal.flat != dense:
            hint = "put a Flatten before it" if dense else "a map is needed: move the Flatten behind it"
            self.refuse("shape", node, f"a {'map' if dense else 'vector'} of {shape}", "the other", hint)
        try:
            after = None if shape is None else op.output_shape(shape)
        except NetworkError as error:
            raise UnsupportedError(error.what, hint=error.hint or "the shapes in the file must meet") from error
        # our own name for the network's input is taken
        name = node.name if node.name != INPUT else f"{INPUT}_"
        self.layers[name] = Layer(name, op, signal.sources, f"nir.{node.kind} {node.name}")
        return _Signal((name,), after, dense or signal.flat)

    def _op(self, node: Node, shape: Shape | None) -> Conv2d | Dense | SumPool2d | AvgPool2d | Neuron:
        if node.kind in nir_neurons.KINDS:
            return nir_neurons.neuron(node, shape, self.options.semantics())
        return nir_ops.operation(node, None if shape is None else (shape[1], shape[2]))

    def _input(self, node: Node, _: _Signal) -> _Signal:
        declared, chosen = node.fields.get("shape"), self.options.input_shape
        sizes = tuple(node.whole("shape").ravel().tolist()) if isinstance(declared, np.ndarray) else ()
        if len(sizes) in (2, 4) and self.options.convention == "snntorch":
            sizes = sizes[1:]
        if chosen is None and len(sizes) in (1, 3) and min(sizes) > 0:
            chosen = (sizes[0], sizes[1], sizes[2]) if len(sizes) == 3 else (sizes[0], 1, 1)
        if chosen is None or (sizes and math.prod(sizes) != math.prod(chosen)):
            limit = "(C, H, W) or (N,)" if chosen is None else f"{chosen}, by option"
            self.refuse("input shape", node, f"{sizes or 'none'}", limit, "say input_shape=[C,H,W]")
            return _Signal((INPUT,))
        return _Signal((INPUT,), chosen, len(sizes) == 1)

    def _output(self, node: Node, signal: _Signal) -> _Signal:
        wrong = [
            name for name in signal.sources if name in self.layers and not isinstance(self.layers[name].op, Neuron)
        ]
        if wrong or len(signal.sources) != 1 or signal.sources == (INPUT,):
            got = f"reads {list(signal.sources)}"
            self.refuse("one spiking output", node, got, "one layer of neurons", "end with IF or LIF neurons")
        declared, shape = node.fields.get("shape"), signal.shape
        if (
            shape
            and isinstance(declared, np.ndarray)
            and math.prod(node.whole("shape").ravel().tolist()) != math.prod(shape)
        ):
            self.refuse(
                "output shape", node, f"{declared.tolist()}", f"{shape} arrives", "the file contradicts itself"
            )
        return signal

    def _flatten(self, node: Node, signal: _Signal) -> _Signal:
        rank = 1 if signal.flat else 3
        start, end = (int(node.whole(key).flat[0]) for key in ("start_dim", "end_dim"))
        # torch's own Flatten(1), which leaves the batch: no map is meant, where the weights behind take all of it
        batch = (
            (start, end) in ((1, -1), (1, rank)) and signal.shape is not None and self._read_whole(node, signal.shape)
        )
        if signal.shape is not None and not batch and (start not in (0, -rank) or end not in (-1, rank - 1)):
            got = f"dimensions {start} to {end} of {rank}"
            hint = "start_dim=0: NIR's shapes have no batch axis, and the layer behind does not take the whole map"
            self.refuse("Flatten of everything", node, got, "0 to -1", hint)
        return _Signal(signal.sources, signal.shape, flat=True)

    def _read_whole(self, node: Node, shape: Shape | None) -> bool:
        """Whether what reads a node are matrices with a column for each value of the map."""
        readers = [other for other in self.wires.order if node.name in self.wires.reads[other.name]]
        return (
            bool(readers)
            and shape is not None
            and all(
                reader.kind in ("Linear", "Affine") and reader.numbers("weight").shape[-1:] == (math.prod(shape),)
                for reader in readers
            )
        )


def _unchanged(node: Node, signal: _Signal) -> _Signal:
    return signal
