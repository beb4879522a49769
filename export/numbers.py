# SPDX-License-Identifier: Apache-2.0
"""Holds `NumberFormat`: the integers that a chip's synapses and neurons are made of, in the unit of its weights.

A chip that stores weights in another unit (Loihi's netx writes ``2 * q``) is described here in units of ``q``;
the exporter multiplies.
"""

from __future__ import annotations

from dataclasses import dataclass

from spikefold.export.neuron import Fire, Overflow, Reset


@dataclass(frozen=True)
class NumberFormat:
    """Widths and rules of one chip.

    Attributes:
        weight_bits: signed width of a weight.
        bias_bits: signed width of a bias; None where a neuron cannot have one.
        threshold_max: largest threshold.
        state_bits: width of the membrane potential.
        state_shift: the state is kept in units of ``2**-state_shift`` weights.
        overflow: what the state does outside its width.
        v_min: lower bound of the state that the chip applies, in weight units; None for none.
        leak_shift: denominator ``2**leak_shift`` of the leak; None where the chip cannot leak.
        current_shift: denominator ``2**current_shift`` of what a synaptic current keeps; None where an input acts in
            one step only.
        lasting_bias_bits: signed width of a bias beside a current that lasts; None where it is that of any bias.
        fire_leaky: how a neuron with a leak or a current compares with its threshold. Others compare ``>=``: their
            states are whole weight units, so every chip can be given an exact threshold.
        resets: the resets it knows.
        max_spikes: most spikes of a neuron in a step; None where as many as thresholds fit.
        sum_max: largest sum of one neuron's input in one step, bias included; None where the state's width says it.
    """

    weight_bits: int
    bias_bits: int | None
    threshold_max: int
    state_bits: int
    overflow: Overflow
    resets: frozenset[Reset]
    state_shift: int = 0
    v_min: int | None = None
    leak_shift: int | None = None
    current_shift: int | None = None
    lasting_bias_bits: int | None = None
    fire_leaky: Fire = Fire.GE
    max_spikes: int | None = 1
    sum_max: int | None = None

    def __post_init__(self) -> None:
        if self.max_spikes is not None and self.max_spikes < 1:
            raise ValueError(f"at most {self.max_spikes} spikes a step: a neuron that cannot fire is none")

    def allows(self, max_spikes: int | None) -> bool:
        """Whether neurons that fire at most so often in a step, None for as often as fits, can be had."""
        return self.max_spikes is None or (max_spikes is not None and max_spikes <= self.max_spikes)
