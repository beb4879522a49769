# SPDX-License-Identifier: Apache-2.0
"""Turns the ``CUBA`` neurons of a ``.net`` file, as netx reads them, into our `Neuron`, or says why it cannot.

Equations (lava-nc 0.10.0 ``proc/lif/models.py``; weights w, bias b and threshold as written)::

    u <- trunc(u * (4096 - iDecay) / 4096) + 64 * sum(w * s)
    v <- trunc(v * (4096 - vDecay) / 4096) + u + 64 * b, within 24 bits; fires where v > 64 * vThMant

A layer becomes int8 weights q = w / 2 with states in 1/128 where every number of it is even, and the threshold too
(or odd, without leak and current: ``>= (vThMant + 1) / 2`` is the same of whole states); that is what `to_netx`
writes. Other layers keep the file's numbers, with states in 1/64. Threshold 0 is imported where no weight or bias is
negative (spikes joined by OR): then nothing ever stays in a state, and ``> 0`` is ``>= 1`` without a leak.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.neuron import Fire, Leak, Neuron, Overflow
from spikefold.export.ops import Conv2d, Dense
from spikefold.hardware.loihi.netx_file import Entry
from spikefold.hardware.loihi.rules import FILE_SHIFT, LEAK_SHIFT, STATE_BITS, largest_current

_DECAY_ONE = 2**LEAK_SHIFT
_CURRENT_MAX = 2**17
"""netx's current of 24 bits wraps above ``2**23``, 64 a weight."""
_KINDS = ("CUBA", "LOIHI")
_FIELDS = {
    "type", "iDecay", "vDecay", "vThMant", "refDelay", "gradedSpike", "wgtExp", "messageBits", "scaleRho", "tauRho",
    "theta",
}  # fmt: skip
_IGNORED = (("refDelay", 1), ("wgtExp", 0), ("gradedSpike", 0))


@dataclass(frozen=True, eq=False)
class Driven:
    """Neurons and what drives them: ``count`` events an input and step at most, ``steps`` a clip.

    ``by_bias`` are the neurons of an input layer: they have no current.
    """

    entry: Entry
    op: Conv2d | Dense
    count: int
    steps: int
    by_bias: bool = False

    @property
    def current(self) -> Leak | None:
        """What the current keeps; None where it lasts one step."""
        decay = _DECAY_ONE if self.by_bias else self.entry.number("iDecay")
        return None if decay == _DECAY_ONE else _kept(decay)

    @property
    def leak(self) -> Leak | None:
        """What the state keeps; None where it keeps all."""
        decay = self.entry.number("vDecay")
        return _kept(decay) if decay else None

    @property
    def theta(self) -> int:
        """The threshold, in the file's half weights."""
        return self.entry.number("vThMant")

    @property
    def bias(self) -> np.ndarray:
        """Its biases, zeros where it has none."""
        return np.zeros(len(self.op.weight), np.int64) if self.op.bias is None else self.op.bias


def neuron(driven: Driven) -> tuple[Neuron, int]:
    """Our neuron, and how many of the file's half weights one of the layer's numbers shall count.

    Raises:
        DataError: a field is missing or no whole number.
        UnsupportedError: with everything that our neuron cannot be.
    """
    issues = list(_kind(driven.entry)) or [*_decays(driven.entry, driven.by_bias)]
    if not issues:
        issues = [*_ignored(driven.entry), *_current(driven), *_threshold(driven)]
    if issues:
        raise UnsupportedError("the neurons cannot be imported", where=driven.entry.where, issues=issues)
    theta, leak, current = driven.theta, driven.leak, driven.current
    even = not (driven.op.weight % 2).any() and not (driven.bias % 2).any()
    fire, unit = Fire.GT, 1
    if theta == 0:
        theta, fire, leak, unit = 1, Fire.GE, None, 2 if even else 1
    elif even and theta % 2 == 0:
        theta, unit = theta // 2, 2
    elif even and leak is None and current is None:
        theta, fire, unit = (theta + 1) // 2, Fire.GE, 2
    shift = FILE_SHIFT if unit == 1 else FILE_SHIFT + 1
    made = Neuron(
        np.array(theta),
        fire=fire,
        leak=leak,
        current=current,
        state_shift=shift,
        state_bits=STATE_BITS,
        overflow=Overflow.SATURATE,
    )
    return made, unit


def _kept(decay: int) -> Leak:
    return Leak(_DECAY_ONE - decay, LEAK_SHIFT)


def _kind(entry: Entry) -> Iterator[Issue]:
    if entry.kind not in _KINDS:
        sigma_delta = "sdnn" in entry.kind.lower() or "delta" in entry.kind.lower()
        why = "sigma-delta neurons send changes of an activation and no spikes: " if sigma_delta else ""
        hint = f"{why}train with slayer's CUBA blocks"
        yield Issue("CUBA neurons", entry.where, entry.kind, " or ".join(_KINDS), hint)


def _decays(entry: Entry, by_bias: bool) -> Iterator[Issue]:
    for key in ("vDecay",) if by_bias else ("iDecay", "vDecay"):
        value = entry.number(key)
        if not 0 <= value <= _DECAY_ONE:
            yield Issue(key, entry.where, str(value), f"0 to {_DECAY_ONE}", "a decay is a share of 4096")


def _ignored(entry: Entry) -> Iterator[Issue]:
    """What the training knew and netx leaves out."""
    if strange := sorted(set(entry.fields) - _FIELDS):
        yield Issue("known fields", entry.where, f"{strange}", f"{sorted(_FIELDS)}", "netx 0.6.0 ignores it")
    for key, harmless in _IGNORED:
        if (value := entry.number(key, harmless)) != harmless:
            yield Issue(key, entry.where, str(value), str(harmless), "netx ignores it, the training did not")


def _current(driven: Driven) -> Iterator[Issue]:
    where, current = driven.entry.where, driven.current
    if current is not None and driven.bias.any():
        hint = "lava adds it to the state, our neurons to the current: train without one of the two"
        got = f"iDecay {driven.entry.number('iDecay')} and biases"
        yield Issue("no bias beside a current that lasts", where, got, "one of them", hint)
    rows = driven.op.weight.reshape(len(driven.op.weight), -1) * driven.count
    ends = int(rows.clip(min=0).sum(axis=1).max()), int(-rows.clip(max=0).sum(axis=1).min())
    high, low = (largest_current(end, current, driven.steps) for end in ends)
    if not driven.by_bias and (high > _CURRENT_MAX or low >= _CURRENT_MAX):
        hint = f"the current wraps beyond, and the neuron stays silent: scale the weights down (count {driven.count})"
        limit = f"above {-_CURRENT_MAX}, to {_CURRENT_MAX}"
        yield Issue("sum of weights", where, f"{-low} to {high}", limit, hint)


def _threshold(driven: Driven) -> Iterator[Issue]:
    theta = driven.theta
    negative = driven.op.weight.min() < 0 or driven.bias.min() < 0
    if theta < 0 or (theta == 0 and (negative or driven.current is not None)):
        hint = "0 only without a current that lasts, and where no weight or bias is negative"
        yield Issue("vThMant", driven.entry.where, str(theta), "above 0", hint)
