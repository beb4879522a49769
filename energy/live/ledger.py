# SPDX-License-Identifier: Apache-2.0
"""The open books of a profile: rows that grow while the network runs, closed into a `Profile` at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import torch

from spikefold.energy.live.profile_result import LayerProfile, Profile, Unpriced
from spikefold.energy.live.tap_map import TapMap, tap_map
from spikefold.energy.live.values import Tags, Values, general, size, total
from spikefold.export.fanout import Connections


class Ledger:
    """Rows by name, what no rule covers, and the tags of the tensors in flight."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, int | str]] = {}
        self.unpriced: Counter[tuple[str, str]] = Counter()
        self.tags = Tags()

    def add(self, name: str, op: str, **amounts: int) -> dict[str, int | str]:
        """Add one call and its amounts to a row, and return the row."""
        row = self.rows.get(name)
        if row is None:
            row = self.rows[name] = {"op": op, "calls": 1, **amounts}
            return row
        row["calls"] = int(row["calls"]) + 1
        for field, amount in amounts.items():
            row[field] = int(row.get(field, 0)) + amount
        return row

    def forget(self, where: str) -> None:
        """Drop what was booked element by element inside a module that turned out to be a neuron."""
        for name in [name for name in self.rows if name.startswith(f"{where}.") and "dense" not in self.rows[name]]:
            del self.rows[name]
        for key in [key for key in self.unpriced if key[1] == where]:
            del self.unpriced[key]

    def convolution(
        self,
        name: str,
        x: torch.Tensor,
        connections: Connections,
        spatial: tuple[int, ...],
        bias_adds: int,
        cut: tuple[tuple[int, int], ...] = (),
    ) -> None:
        """Book a convolution.

        Args:
            name: of the row.
            x: input ``(..., C, *spatial)``.
            connections: for an input without the zeros that ``cut`` says.
            spatial: size of the input without them.
            bias_adds: outputs that a bias is added to.
            cut: zeros (before, after) a dimension that surround the input.
        """
        inner = x
        for d, (before, after) in enumerate(cut, x.dim() - len(cut)):
            inner = inner.narrow(d, before, inner.shape[d] - before - after)
        taps = tap_map(connections, spatial, x.device)
        channels, reached = connections.channels[0], connections.per_input
        frames = inner.numel() // max(1, channels * size(spatial))
        op = f"conv_transpose{len(spatial)}d" if connections.transposed else f"conv{len(spatial)}d"
        dense = frames * channels * reached * taps.total
        self._synapses(name, op, x, inner, taps, reached, frames * taps.dense_padded, dense, bias_adds)

    def zeros_around(self, x: torch.Tensor, dimensions: int) -> tuple[tuple[int, int], ...]:
        """Zeros that an operation put around the last dimensions of a tensor, ``(before, after)`` each, if any."""
        tag = self.tags.get(x)
        if tag is None or not 0 < len(tag.zeros) <= dimensions:
            return ()
        return ((0, 0),) * (dimensions - len(tag.zeros)) + tag.zeros

    def neuron(self, name: str, spikes: torch.Tensor, why: str) -> str:
        """Book one call of a spiking module, and return the kind of its output; analog output is no spikes."""
        tag = self.tags.of(spikes)
        count = tag.ones
        if count < 0:
            count = 0 if tag.kind == "analog" else total(Values(spikes, tag).magnitudes, tag.most)
        updates = spikes.numel()
        row = self.add(name, "neuron", spikes=count, neuron_updates=updates, state_accesses=2 * updates)
        row["spike_rule"] = why
        return tag.kind

    def linear(self, name: str, x: torch.Tensor, outputs: int, bias_adds: int) -> None:
        """Book a product of ``x`` ``(..., features)`` with a stored weight of ``outputs`` rows."""
        taps = tap_map(None, (x.shape[-1],), x.device)
        dense = x.numel() * outputs
        self._synapses(name, "linear", x, x, taps, outputs, dense, dense, bias_adds)

    def _synapses(
        self,
        name: str,
        op: str,
        x: torch.Tensor,
        inner: torch.Tensor,
        taps: TapMap,
        reached: int,
        padded: int,
        dense: int,
        bias_adds: int,
    ) -> None:
        known = self.tags.get(x)
        found = taps.count(inner, known)
        if found.tag is not known:
            self.tags.put(x, found.tag)
        events = found.events * reached
        row = self.add(
            name,
            op,
            dense_padded=padded,
            dense=dense,
            pairs=found.pairs * reached,
            events=events,
            input_values=inner.numel(),
            non_binary=found.non_binary,
            bias_adds=bias_adds,
            weight_reads=events,
            state_accesses=2 * events,
        )
        row["input_kind"] = general(str(row.get("input_kind", "none")), found.tag.kind)
        row["multiplicity"] = max(int(row.get("multiplicity", 1)), found.tag.factor)

    def product(self, name: str, a: torch.Tensor, b: torch.Tensor, allowed: torch.Tensor | None = None) -> None:
        """Book ``(..., m, k) @ (..., k, n)`` of two activations.

        A pair needs both factors other than zero: with all outputs computed, the sum over k of the products of the
        column counts of a and the row counts of b. ``allowed`` ``(..., m, n)`` keeps to some outputs (masked
        attention).
        """
        tags = self.tags.of(a), self.tags.of(b)
        whole = all(tag.kind != "analog" for tag in tags)
        positions = size(torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])) * a.shape[-2] * b.shape[-1]
        padded = positions * a.shape[-1]
        if allowed is not None:
            shape = (*torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
            allowed = allowed.expand(shape)
            positions = int(allowed.sum().item())
        left, right = Values(a, tags[0]), Values(b, tags[1])
        pairs = _pairs(left.nonzero, right.nonzero, allowed)
        events = _pairs(left.magnitudes, right.magnitudes, allowed) if whole else pairs
        row = self.add(
            name,
            "matmul",
            dense_padded=padded,
            dense=positions * a.shape[-1],
            pairs=pairs,
            events=events,
            input_values=a.numel() + b.numel(),
            state_accesses=2 * events,
            non_binary=left.non_binary + right.non_binary,
        )
        kinds = (str(row.get("input_kind", "none")), *(tag.kind for tag in tags))
        row["input_kind"] = general(*kinds)
        row["multiplicity"] = max(int(row.get("multiplicity", 1)), *(tag.factor for tag in tags))

    def closed(self, clips: int, frames: int, uncalled: Iterable[str]) -> Profile:
        """The finished profile."""
        return Profile(
            clips,
            frames,
            tuple(LayerProfile(name, **row) for name, row in self.rows.items()),  # type: ignore[arg-type]
            tuple(Unpriced(op, where, times) for (op, where), times in self.unpriced.items()),
            tuple(uncalled),
        )


def _pairs(a: torch.Tensor, b: torch.Tensor, allowed: torch.Tensor | None) -> int:
    if allowed is None:
        columns, rows = a.sum(dim=-2, dtype=torch.float64), b.sum(dim=-1, dtype=torch.float64)
        return int((columns.to(torch.int64) * rows.to(torch.int64)).sum().item())
    return int((torch.matmul(a.double(), b.double()) * allowed).to(torch.int64).sum().item())
