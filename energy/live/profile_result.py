# SPDX-License-Identifier: Apache-2.0
"""What `profile` returns: one row a layer, their sum, and every operation that no rule covers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

SCHEMA = "spikefold.profile/1"
# of the values that arrive at a layer, from the most special to the most general
KINDS = ("none", "binary", "graded", "signed", "analog")
LARGEST_JSON_INTEGER = 2**53


@dataclass(frozen=True)
class LayerProfile:
    """Operations of one layer over all data; every number is counted, none comes from a rate.

    Attributes:
        name: path of the module; an operation outside of a weight layer or neuron adds its own name to the path of
            the module that called it, and a weight used by a function is named after its parameter.
        op: ``conv2d``, ``linear``, ``matmul``, ``neuron``, ``batch_norm``, ``mul``, ...
        input_kind: the most general input seen: ``binary`` (0 or 1), ``graded`` (whole events, also those behind an
            average pool), ``signed`` (whole, some below 0), ``analog``, or ``none`` for rows without synapses.
        calls: how often it ran.
        dense_padded: taps of a dense pass, those on the padding included.
        dense: the same without the padding: every synapse once a frame.
        pairs: synapses with an input other than zero. A weight of zero is a synapse. Between two activations (Q K^T)
            both must be other than zero.
        events: events times their synapses: sums of absolute input values. Behind an average pool of k positions each
            spike of the window is an event, as on a chip that sum-pools. Equals ``pairs`` for binary input, and for
            analog input, which has no events.
        multiplicity: largest k of such pools, else 1.
        input_values: numbers that arrived, zeros included.
        non_binary: how many of them were neither 0 nor 1.
        spikes: sum of the absolute output of a spiking module; these have rows of their own.
        neuron_updates: neurons times steps.
        spike_rule: why the module counts as spiking.
        multiplies: element-wise multiplications (gates, scaling, batch norm that is not folded).
        adds: element-wise additions (residuals, sums, pools, batch norm).
        bias_adds: one for each output with a bias; not in ``adds``.
        weight_reads: one an event and synapse of a stored weight: an event-driven chip without a weight cache.
        state_accesses: a read and a write of the target's state for each event and synapse, and each neuron update.
    """

    name: str
    op: str
    input_kind: str = "none"
    calls: int = 0
    dense_padded: int = 0
    dense: int = 0
    pairs: int = 0
    events: int = 0
    multiplicity: int = 1
    input_values: int = 0
    non_binary: int = 0
    spikes: int = 0
    neuron_updates: int = 0
    spike_rule: str = ""
    multiplies: int = 0
    adds: int = 0
    bias_adds: int = 0
    weight_reads: int = 0
    state_accesses: int = 0


SUMMED = tuple(f.name for f in fields(LayerProfile) if f.type == "int" and f.name != "multiplicity")


@dataclass(frozen=True)
class Unpriced:
    """An operation that ran and that no rule covers: its name, the module that called it, and how often."""

    op: str
    where: str
    times: int


@dataclass(frozen=True)
class Profile:
    """Counts of a PyTorch network over all data.

    Attributes:
        clips: samples seen.
        frames: samples times steps.
        layers: rows in the order of their first call.
        unpriced: the coverage: every operation seen that no rule covers.
        uncalled: weight layers that no operation used.
    """

    clips: int
    frames: int
    layers: tuple[LayerProfile, ...]
    unpriced: tuple[Unpriced, ...]
    uncalled: tuple[str, ...]

    @property
    def total(self) -> LayerProfile:
        """Sum of the layers, field by field; its input kind is the most general one."""
        kind = max((layer.input_kind for layer in self.layers), key=KINDS.index, default="none")
        multiplicity = max((layer.multiplicity for layer in self.layers), default=1)
        sums = {field: sum(getattr(layer, field) for layer in self.layers) for field in SUMMED}
        return LayerProfile("total", "", kind, multiplicity=multiplicity, **sums)

    def __getitem__(self, name: str) -> LayerProfile:
        """The row of this name.

        Raises:
            KeyError: there is none.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"no layer {name!r} among {[layer.name for layer in self.layers]}")

    def per_clip(self, field: str) -> float:
        """A field of the total, divided by the clips."""
        return float(getattr(self.total, field)) / self.clips

    @property
    def coverage(self) -> str:
        """One sentence: what was seen and not counted."""
        parts = [f"{one.op} in {one.where} ({one.times}x)" for one in self.unpriced]
        said = "every operation has a rule" if not parts else "without a rule: " + ", ".join(parts)
        return said + (f"; weights never used: {', '.join(self.uncalled)}" if self.uncalled else "")

    def to_json(self) -> dict[str, object]:
        """Plain values; whole numbers beyond 2^53, which most readers of JSON would round, as strings."""
        return {
            "schema": SCHEMA,
            **_exact(asdict(self)),
            "total": _exact(asdict(self.total)),
            "coverage": self.coverage,
        }

    def summary(self) -> str:
        """The table for a terminal: one line a layer, their sum, the coverage."""
        columns = ("dense_padded", "dense", "pairs", "events", "spikes", "neuron_updates", "multiplies", "adds",
                   "bias_adds")  # fmt: skip
        rows = [("layer", "op", "input", *(column.replace("_", " ") for column in columns))]
        rows += [
            (row.name, row.op, row.input_kind, *(f"{getattr(row, column):,}" for column in columns))
            for row in (*self.layers, self.total)
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(w) if i < 3 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        return "\n".join([*lines, f"{self.clips} clips, {self.frames} frames; {self.coverage}"])


def _exact(values: dict[str, object]) -> dict[str, object]:
    return {key: _exact_value(value) for key, value in values.items()}


def _exact_value(value: object) -> object:
    if isinstance(value, int) and abs(value) > LARGEST_JSON_INTEGER:
        return str(value)
    if isinstance(value, dict):
        return _exact(value)
    if isinstance(value, tuple | list):
        return [_exact_value(one) for one in value]
    return value
