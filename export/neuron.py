# SPDX-License-Identifier: Apache-2.0
"""Holds `Neuron`: everything about a spiking neuron that other formats leave implicit, and disagree about.

One step of one neuron, with ``v`` the state kept from the step before and ``x`` the summed input (the bias of
the layer before it included)::

    u  <- x * 2**state_shift, and what the current keeps of the last u where there is a current
    v  <- leak(v)            order LEAK_FIRST: before the input is added; INPUT_FIRST: leak(v + u) instead
    v  <- v + u
    v  <- overflow(v)        only where state_bits is given
    n  <- how many thresholds fit under v (fire GE: v >= k*theta, GT: v > k*theta), at most max_spikes
    v  <- reset(v, n)        ZERO: 0 where n > 0;  SUBTRACT: v - n*theta;  VALUE: reset_value where n > 0
    v  <- max(v, v_min)      where v_min is given

with ``theta = threshold * 2**state_shift``. The integer leak is ``trunc(v * keep / 2**shift)``, rounded toward
zero; the real one is ``v * keep``; a current is kept by the same rule, and a spike leaves it as it is. A current
that ``state_bits`` cannot hold is counted as overflow and left, whatever ``overflow`` says of the state.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from spikefold.errors import NetworkError

MOST_SHIFT = 62
LARGEST = 2**62
"""Of a shift, and of the whole numbers of a neuron: with more no engine is exact in 64 bits."""


def shown(value: object) -> str:
    """A number as it is shown in a message: one of thousands of digits in short."""
    try:
        return str(value)[:40]
    except ValueError:  # Python refuses to print those
        return "an integer of thousands of digits"


class Fire(StrEnum):
    """Whether a neuron fires at equality with its threshold."""

    GE = ">="
    GT = ">"


class Reset(StrEnum):
    """What happens to the state of a neuron that fired."""

    ZERO = "zero"
    SUBTRACT = "subtract"
    VALUE = "value"


class Order(StrEnum):
    """Whether the leak acts on the old state alone or on old state and input together."""

    LEAK_FIRST = "leak, input, fire, reset"
    INPUT_FIRST = "input, leak, fire, reset"


class Overflow(StrEnum):
    """What a state of ``state_bits`` bits does with a value that it cannot hold.

    FORBID counts it and leaves the value; SATURATE clips to ``+-(2**(bits-1) - 1)``; WRAP is two's complement.
    """

    FORBID = "forbid"
    SATURATE = "saturate"
    WRAP = "wrap"


@dataclass(frozen=True)
class Leak:
    """What is kept of the state from one step to the next: ``keep / 2**shift``.

    A real network has ``shift`` 0 and ``keep`` in [0, 1]; an integer one ``keep`` in [0, 2**shift], and rounds
    toward zero.
    """

    keep: float
    shift: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.shift <= MOST_SHIFT or not 0 <= self.keep <= 2**self.shift:
            what = f"leak keeps {shown(self.keep)}/2^{shown(self.shift)}, which is not a share between 0 and 1"
            raise NetworkError(what, hint=f"a shift from 0 to {MOST_SHIFT}")
        if self.shift and self.keep != int(self.keep):
            raise NetworkError(f"an integer leak needs a whole numerator, got {self.keep}")


@dataclass(frozen=True, eq=False)
class Neuron:
    """A layer of spiking neurons; see the module's docstring for the order of one step.

    Attributes:
        threshold: scalar ``()``, per channel ``(C, 1, 1)`` or per neuron ``(C, H, W)``; above 0.
        fire: at equality or only above it.
        reset: to zero, by subtraction, or to ``reset_value``.
        leak: None for integrate-and-fire.
        v_min: lower bound of the state after the reset, in the unit of the state; None for none.
        max_spikes: per neuron and step; None for as many as thresholds fit.
        order: when the leak acts.
        state_shift: the state is kept in units of ``2**-state_shift`` input units (Loihi: 6).
        state_bits: width of the state; None for unbounded.
        overflow: what happens outside that width.
        current: what a synaptic current keeps from one step to the next; None for input that acts in one step only.
    """

    threshold: np.ndarray
    fire: Fire = Fire.GE
    reset: Reset = Reset.ZERO
    reset_value: float = 0.0
    leak: Leak | None = None
    v_min: float | None = None
    max_spikes: int | None = 1
    order: Order = Order.LEAK_FIRST
    state_shift: int = 0
    state_bits: int | None = None
    overflow: Overflow = Overflow.FORBID
    current: Leak | None = None

    def __post_init__(self) -> None:
        threshold = np.array(self.threshold)
        if threshold.ndim not in (0, 3):
            raise NetworkError(f"threshold has shape {threshold.shape}", hint="give a scalar, (C, 1, 1) or (C, H, W)")
        if not np.all(np.isfinite(threshold)) or not np.all(threshold > 0):
            raise NetworkError(f"thresholds must be finite and above 0, lowest is {threshold.min()}")
        if self.max_spikes is not None and not 1 <= self.max_spikes <= LARGEST:
            raise NetworkError(f"max_spikes is {shown(self.max_spikes)}, needs at least 1 or None")
        if self.v_min is not None and self.v_min > 0:
            raise NetworkError(f"the lower bound of the state is {shown(self.v_min)}, above 0")
        if not 0 <= self.state_shift <= MOST_SHIFT:
            raise NetworkError(f"a state in units of shift {shown(self.state_shift)}", hint=f"from 0 to {MOST_SHIFT}")
        # not as numbers of NumPy: an integer beyond 64 bits would become an object there
        if not all(-LARGEST <= value <= LARGEST for value in (self.reset_value, self.v_min or 0.0)):
            what = f"reset value {shown(self.reset_value)}, lower bound {shown(self.v_min)}"
            raise NetworkError(what, hint="finite, and within 62 bits")
        if (self.reset_value != 0) != (self.reset is Reset.VALUE):
            raise NetworkError("reset_value is for Reset.VALUE alone, and Reset.VALUE needs one other than 0")
        if self.state_bits is not None and not 2 <= self.state_bits <= 62:
            raise NetworkError(f"a state of {self.state_bits} bits cannot be simulated exactly")
        threshold.setflags(write=False)
        object.__setattr__(self, "threshold", threshold)

    @property
    def is_integer(self) -> bool:
        """Whether threshold, bound, reset value, leak and current are all whole numbers."""
        whole = [self.reset_value, self.v_min if self.v_min is not None else 0.0]
        leaks = [leak for leak in (self.leak, self.current) if leak is not None]
        leaks_whole = all(leak.shift > 0 or leak.keep in (0, 1) for leak in leaks)
        return np.issubdtype(self.threshold.dtype, np.integer) and leaks_whole and all(v == int(v) for v in whole)

    def output_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Neurons keep the shape ``(C, H, W)``; a threshold that does not fit it is refused."""
        if self.threshold.ndim and np.broadcast_shapes(self.threshold.shape, shape) != shape:
            raise NetworkError(f"threshold {self.threshold.shape} does not fit neurons {shape}")
        return shape
