# SPDX-License-Identifier: Apache-2.0
"""Counting rules by name: which operations a run is said to have made. On one network they differ up to 48 times.

A rule is a function ``(counts, rates) -> operations by layer``. Its docstring is the rule, and is what a report
prints. Operations are exact fractions over the whole run, so that parts sum to totals exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from inspect import cleandoc

from spikefold.energy.counts.input_rates import Rates
from spikefold.energy.counts.types import Counts, LayerCounts
from spikefold.errors import ConfigError, nearest

DEFAULT = "mixed"
_NONE = Fraction(0)


@dataclass(frozen=True)
class LayerOperations:
    """Multiply-accumulates and accumulates of one layer over a whole run, exactly."""

    name: str
    mac: Fraction = _NONE
    ac: Fraction = _NONE


@dataclass(frozen=True)
class CountingRule:
    """A counting rule.

    Attributes:
        name: as asked for.
        operations: ``(counts, rates)`` to operations by layer.
        dynamic_attention: whether the multiplications of dynamic attention belong to what it counts; not where
            another network is counted in place of this one.
        needs_rates: whether it multiplies with `input_rates`.
    """

    name: str
    operations: Callable[[Counts, Rates], tuple[LayerOperations, ...]]
    dynamic_attention: bool = True
    needs_rates: bool = False

    @property
    def text(self) -> str:
        """The rule in words: the docstring of its function."""
        return " ".join(cleandoc(self.operations.__doc__ or "").split()).removesuffix(".")


def mixed(counts: Counts, rates: Rates) -> tuple[LayerOperations, ...]:
    """Graded input as MAC, spikes as AC, both exact.

    Input counts above 1: nonzero synapses as MAC; binary input and spikes: events x synapses as AC; synapses on the
    padding do not exist; BN folded; no memory, no bias, no neuron update. Checked on no chip.
    """
    return tuple(
        LayerOperations(layer.name, mac=Fraction(layer.pairs))
        if layer.input_kind == "counts"
        else LayerOperations(layer.name, ac=Fraction(layer.events))
        for layer in counts.layers
    )


def chip(counts: Counts, rates: Rates) -> tuple[LayerOperations, ...]:
    """Every event is one AC at each of its synapses, as on an event-driven chip.

    That of the input too, and every spike of a summed window; exact; synapses on the padding do not exist; BN folded;
    no memory, no bias, no neuron update. Source: SynOp as in the Speck documentation (sinabs, overview.md).
    Checked on no chip: nobody publishes a counter of Speck's operations.
    """
    return tuple(LayerOperations(layer.name, ac=Fraction(layer.events)) for layer in counts.layers)


def nonzero(counts: Counts, rates: Rates) -> tuple[LayerOperations, ...]:
    """Every spike is one AC at each of its synapses whose weight is not 0, as Loihi 2's counters count.

    A graded spike is one AC a synapse however many events it carries; synapses on the padding do not exist, nor do
    the taps that a core does beyond the border of its map (`spikefold.hardware.loihi.core_work` adds those by core);
    BN folded; no memory, no bias, no neuron update. Checked on Loihi 2: the per-core counters of PilotNet in
    lava-dl's tutorial pilotnet_snn/benchmark.ipynb.
    """
    return tuple(LayerOperations(layer.name, ac=Fraction(_weighted(layer))) for layer in counts.layers)


def paper(counts: Counts, rates: Rates) -> tuple[LayerOperations, ...]:
    """Dense operations x rate of the input, of the first layer as MAC, of any other as AC.

    Dense operations with those on the padding; the rate of the first layer is its share of nonzero input, of any
    other the mean firing rate of what it reads. Source: Attention-SNN, supplement, Table S1, by the group of the ASA
    paper. Checked on no chip.
    """
    first = next((layer.name for layer in counts.layers if layer.dense_padded), None)
    return tuple(
        LayerOperations(layer.name, mac=_dense_at_rate(layer, rates))
        if layer.name == first
        else LayerOperations(layer.name, ac=_dense_at_rate(layer, rates))
        for layer in counts.layers
    )


def rate_flops(counts: Counts, rates: Rates) -> tuple[LayerOperations, ...]:
    """Dense operations x rate of the layer's input, all as AC.

    Dense operations with those on the padding. Source: most published scripts, which multiply FLOPs with firing
    rates. Checked on no chip.
    """
    return tuple(LayerOperations(layer.name, ac=_dense_at_rate(layer, rates)) for layer in counts.layers)


def ann(counts: Counts, rates: Rates) -> tuple[LayerOperations, ...]:
    """One dense pass a clip through a network of the same connections without spikes, all as MAC.

    Synapses on the padding do not exist; no attention. Checked on no chip.
    """
    return tuple(LayerOperations(layer.name, mac=Fraction(layer.dense, counts.steps)) for layer in counts.layers)


def qnn(counts: Counts, rates: Rates) -> tuple[LayerOperations, ...]:
    """One dense pass a clip with activations of b = ceil(log2(T + 1)) bits, all as MAC.

    The quantised network of the same connections that can say as much as T steps of spikes; synapses on the padding
    do not exist; no attention; the price is the profile's, so take one of few bits. Source: Yan et al., arXiv
    2409.08290. Checked on no chip.
    """
    return ann(counts, rates)


RULES: Mapping[str, CountingRule] = {
    rule.name: rule
    for rule in (
        CountingRule("mixed", mixed),
        CountingRule("chip", chip),
        CountingRule("paper", paper, needs_rates=True),
        CountingRule("rate-flops", rate_flops, needs_rates=True),
        CountingRule("ann", ann, dynamic_attention=False),
        CountingRule("qnn", qnn, dynamic_attention=False),
        CountingRule("nonzero", nonzero),
    )
}


def rule_named(name: str) -> CountingRule:
    """A rule.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in RULES:
        raise ConfigError(f"unknown counting rule {name!r}", where="rule", hint=nearest(name, RULES))
    return RULES[name]


def activation_bits(steps: int) -> int:
    """``ceil(log2(T + 1))``: bits of an activation that says as much as the spike count of T steps (Yan et al.)."""
    return steps.bit_length()


def _weighted(layer: LayerCounts) -> int:
    if layer.weighted is None:
        hint = "count the run again: `spikefold energy RUN`"
        raise ConfigError("it was counted without looking at the weights", where=layer.name, hint=hint)
    return layer.weighted


def _dense_at_rate(layer: LayerCounts, rates: Rates) -> Fraction:
    if not layer.dense_padded:
        return _NONE  # neurons without synapses of their own
    if layer.name not in rates:
        raise ConfigError(
            f"no input rate is known for {layer.name}",
            where="rates",
            hint="give the rates of `input_rates(network, frames, trace)`",
        )
    return layer.dense_padded * rates[layer.name]
