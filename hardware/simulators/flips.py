# SPDX-License-Identifier: Apache-2.0
"""Compares two real networks that are one function in real numbers: every spike in which float64 makes them differ.

A pass reorders and merges sums, so its network rounds otherwise, and a state that lies within rounding of its
threshold may cross it in one of the two. Such a *root* flip is excused only if that is what happened: its layer read
the same spikes in both runs so far in this clip, the neuron had fired alike, and both states lie within the bound
below of a threshold. What differs behind a root, or in the neuron that flipped, are consequences.

The bound. Write ``u = 2^-53`` and ``gamma_n = n u / (1 - n u)``. A sum of monomials (products of parameters and
inputs), evaluated in floating point in any order, is off by at most ``gamma_n M``, with n the most roundings on a way
from an input to the result and M the sum of the monomials' absolute values (Higham, "Accuracy and Stability of
Numerical Algorithms", 2nd ed., Lemma 3.1 and section 4.2). A fold computes its parameters from the same monomials,
each in no more roundings than ``before`` needs plus a few for scales; twice as many plus 8 are allowed here. So for
the current of one step, in units of ``before``::

    |x - x'| <= e = 2 gamma_n M,     n = depth(after) + 2 depth(before) + 8

and for the states, L the share that is kept, S a bound on both, S = D = 0 at the start and after a reset to zero::

    S <- L S + M     D <- L D + e + 2 gamma_4 S       (input first: L (S + M), L (D + e) + 2 gamma_4 S)
    reset by subtraction   S as it is (0 <= v - n theta <= v),   D <- D + 2 gamma_4 S
    reset to a value       S <- |value|,                         D <- 2 gamma_4 |value|
    lower bound            S <- max(S, |v_min|),                 D <- D + 2 gamma_4 |v_min|

A synaptic current is a state of its own, which no spike resets. With K the share of it that is kept, its bounds take
the places of M and e above::

    M <- K M + M of this step     e <- K e + e of this step + 2 gamma_4 M

States are compared in units of ``before``: where the pass scaled a channel, by the ratio of the two thresholds, which
adds ``2 gamma_4 (S + theta)``. One percent on top covers the rounding of the bound itself.

A layer that never fires has no spikes to compare, and is refused, unless others carry spikes around it from the input
to the output (a residual block may learn to be silent), or the caller allows it and says so in its report. Its states
are then compared with the bound instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

import numpy as np

from spikefold.errors import MismatchError
from spikefold.export.network import INPUT, Network, SpikingLayer
from spikefold.export.neuron import Neuron, Order, Reset
from spikefold.export.neuron_support import CARRIED, NeuronSupport, Refused, refuse
from spikefold.hardware.simulators.reference import add, apply, check_frames, drive, fire, gathered
from spikefold.hardware.simulators.rounding_bound import Majorant, depths_of, gamma

_SLACK = 1.01
_SCALED = ("threshold", "v_min", "reset_value", "overflow")
NEURONS = NeuronSupport(
    "the comparison of two real networks",
    {
        **dict.fromkeys(
            (
                "threshold",
                "fire",
                "reset",
                "reset_value",
                "leak",
                "v_min",
                "max_spikes",
                "order",
                "state_shift",
                "current",
            ),
            CARRIED,
        ),
        # a state without a width has none of the two
        "state_bits": Refused("compare before quantising", rule="width of the state"),
        "overflow": CARRIED,
    },
)
"""The neurons for which the bound of the docstring holds."""


@dataclass(frozen=True)
class Flip:
    """A spike that one of two runs fired, with nothing before it that differed: distances in units of ``before``."""

    layer: str
    step: int
    clip: int
    neuron: tuple[int, int, int]
    spikes: tuple[int, int]
    distance: tuple[float, float]
    bound: float


@dataclass(frozen=True)
class FlipReport:
    """What was compared, and what differed.

    Attributes:
        layers: spiking layers that both networks have.
        steps: steps of a clip.
        clips: how many.
        neurons: in the layers compared.
        spikes: of ``before``.
        ties: states of ``before`` exactly on a threshold.
        roots: each within its bound, else there is no report.
        consequences: differing spike counts behind a root.
        bounds: the largest bound of each layer.
        silent: layers that never fire, whose states were compared instead.
    """

    layers: int
    steps: int
    clips: int
    neurons: int
    spikes: int
    ties: int
    roots: tuple[Flip, ...]
    consequences: int
    bounds: Mapping[str, float]
    silent: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return asdict(self)

    def describe(self) -> str:
        """One line for people."""
        bounds = ", ".join(f"{name} {bound:.2g}" for name, bound in self.bounds.items())
        return (
            f"{len(self.roots)} flips within rounding of the threshold, {self.consequences} behind them "
            f"({self.layers} layers, {self.neurons} neurons, {self.steps} steps, {self.clips} clips, {self.spikes} "
            f"spikes; bounds {bounds})"
        )


def flips(before: Network, after: Network, frames: np.ndarray, *, allow_silent: bool = False) -> FlipReport:
    """Run two real networks on clips ``(T, N, C, H, W)`` and bound every spike in which they differ.

    A layer that ``after`` lacks is taken to have fired alike; one that only ``after`` has is not looked at. With
    ``allow_silent`` any layer may be silent: its states are compared, and it is named in the report.

    Raises:
        MismatchError: a root flip beyond its bound; an integer network; no layer in common, the outputs not among
            them, layers of different shapes or neurons; or a layer that is silent in both with no way around it, so
            that nothing was compared there; or one with a way around, whose states are apart beyond the bound.
        NetworkError: the frames do not have the networks' input shape.
        UnsupportedError: neurons for which the bound is not derived.
    """
    names = _common(before, after)
    for network in (before, after):
        check_frames(network, frames)
        refuse(network, NEURONS)
    one, two = _Run(before, frames.shape[1]), _Run(after, frames.shape[1])
    depths = depths_of(before), depths_of(after)
    watched = {name: _Watched.of(before, after, name, frames.shape[1], depths) for name in names}
    sources = {name: _sources(before, name) for name in names}
    largest = Majorant(before)
    for step, frame in enumerate(frames):
        spikes, others = one.step(frame), two.step(frame)
        currents = largest.step(frame, spikes)
        for name in names:
            tainted = np.zeros(frames.shape[1], bool)
            for source in sources[name]:
                tainted |= watched[source].differed if source in watched else False
            watched[name].step(step, currents[name], (one, two), (spikes[name], others[name]), tainted)
    silent = tuple(name for name, layer in watched.items() if not layer.fires)
    if silent and not allow_silent and not _carried(before, silent):
        raise MismatchError(
            f"{', '.join(silent)} never fires, so nothing was compared there",
            hint="use input that makes every layer fire",
        )
    if apart := [name for name in silent if watched[name].apart > 1]:
        raise MismatchError(
            f"the states of {', '.join(apart)}, which never fires, differ beyond rounding",
            where=apart[0],
            hint="the pass changed the function: a bug",
        )
    beyond = [flip for layer in watched.values() for flip in layer.roots if max(flip.distance) > flip.bound]
    if beyond:
        raise MismatchError(
            f"{len(beyond)} spikes differ beyond rounding, first {beyond[0]}",
            where=beyond[0].layer,
            hint="the pass changed the function: a bug",
        )
    return FlipReport(
        len(names),
        frames.shape[0],
        frames.shape[1],
        sum(int(np.prod(before.shapes[name])) for name in names),
        sum(layer.spikes for layer in watched.values()),
        sum(layer.ties for layer in watched.values()),
        tuple(flip for layer in watched.values() for flip in layer.roots),
        sum(layer.consequences for layer in watched.values()),
        {name: layer.bound for name, layer in watched.items()},
        silent,
    )


def _carried(network: Network, silent: tuple[str, ...]) -> bool:
    """Whether the input reaches the output without these layers."""
    reached = {INPUT}
    for layer in network:
        if layer.name not in silent and not reached.isdisjoint(layer.inputs):
            reached.add(layer.name)
    return network.layers[-1].name in reached


def _common(before: Network, after: Network) -> list[str]:
    if before.is_integer or after.is_integer:
        raise MismatchError("integer networks have no rounding to excuse a flip", hint="compare their traces")
    theirs = {layer.name: layer for layer in after.neurons}
    ours = {layer.name: layer for layer in before.neurons if layer.name in theirs}
    names = list(ours)
    if before.layers[-1].name not in names or after.layers[-1].name not in names:
        raise MismatchError(f"the outputs are {before.layers[-1].name} and {after.layers[-1].name}: not comparable")
    for name in names:
        if before.shapes[name] != after.shapes[name]:
            raise MismatchError(f"shapes {before.shapes[name]} and {after.shapes[name]}", where=name)
        one, two = _rules(ours[name].neuron), _rules(theirs[name].neuron)
        if one != two:
            raise MismatchError(f"{one} against {two}", where=name)
    return names


def _rules(neuron: Neuron) -> tuple[object, ...]:
    """The fields that a pass leaves as they are: all but the numbers that scale, which the spikes tell of."""
    same = [getattr(neuron, one.name) for one in fields(neuron) if one.name not in _SCALED]
    return (*same, neuron.v_min is None)


class _Run:
    """One network, step by step; ``charged`` holds the states before firing."""

    def __init__(self, network: Network, clips: int) -> None:
        self.network = network
        self.states = {la.name: np.zeros((clips, *network.shapes[la.name])) for la in network.neurons}
        self.currents = dict(self.states)
        self.charged: dict[str, np.ndarray] = {}

    def step(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        values: dict[str, np.ndarray] = {INPUT: frame.astype(np.float64)}
        for layer in self.network:
            x = gathered(layer, values)
            if isinstance(layer, SpikingLayer):
                self.currents[layer.name], _ = drive(layer.neuron, self.currents[layer.name], x)
                v, _ = add(layer.neuron, self.states[layer.name], self.currents[layer.name])
                self.charged[layer.name] = v
                values[layer.name], self.states[layer.name] = fire(layer.neuron, v)
            else:
                values[layer.name] = apply(layer.op, x)
        return values


def _sources(network: Network, name: str) -> set[str]:
    """The spiking layers that a layer reads, through everything between."""
    found, names = set(), list(network[name].inputs)
    while names:
        source = names.pop()
        if source != INPUT and isinstance(network[source], SpikingLayer):
            found.add(source)
        elif source != INPUT:
            names += network[source].inputs
    return found


@dataclass
class _Watched:
    """One spiking layer of both networks: the bounds S and D of the docstring, and what was found."""

    name: str
    neuron: Neuron
    ratio: np.ndarray
    terms: int
    size: np.ndarray
    error: np.ndarray
    flipped: np.ndarray
    driven: np.ndarray | float = 0.0
    driven_error: np.ndarray | float = 0.0
    roots: list[Flip] = field(default_factory=list)
    consequences: int = 0
    spikes: int = 0
    fires: bool = False
    ties: int = 0
    bound: float = 0.0
    apart: float = 0.0
    """The largest distance of the two states, in bounds, where nothing before differed."""

    @classmethod
    def of(
        cls, before: Network, after: Network, name: str, clips: int, depths: tuple[dict[str, int], dict[str, int]]
    ) -> _Watched:
        one, two = (next(la.neuron for la in net.neurons if la.name == name) for net in (before, after))
        shape = (clips, *before.shapes[name])
        ratio = np.broadcast_to(two.threshold / one.threshold, before.shapes[name])
        terms = depths[1][name] + 2 * depths[0][name] + 8
        return cls(name, one, ratio, terms, np.zeros(shape), np.zeros(shape), np.zeros(shape, bool))

    @property
    def differed(self) -> np.ndarray:
        """By clip, whether any neuron here has fired differently so far."""
        return np.asarray(self.flipped.any(axis=(1, 2, 3)))

    def step(
        self,
        step: int,
        current: np.ndarray,
        runs: tuple[_Run, _Run],
        spikes: tuple[np.ndarray, np.ndarray],
        tainted: np.ndarray,
    ) -> None:
        """One step: ``current`` bounds it, ``tainted`` are the clips in which this layer read different spikes."""
        keep = 1.0 if self.neuron.leak is None else self.neuron.leak.keep / 2**self.neuron.leak.shift
        fresh = 2 * gamma(self.terms) * current
        if (lasting := self.neuron.current) is not None:
            share = lasting.keep / 2**lasting.shift
            current = self.driven = share * self.driven + current
            fresh = self.driven_error = share * self.driven_error + fresh + 2 * gamma(4) * current
        if self.neuron.order is Order.INPUT_FIRST:
            self.size, self.error = keep * (self.size + current), keep * (self.error + fresh)
        else:
            self.size, self.error = keep * self.size + current, keep * self.error + fresh
        self.error += 2 * gamma(4) * self.size
        theta = self.neuron.threshold * 2.0**self.neuron.state_shift
        bound = _SLACK * (self.error + 2 * gamma(4) * (self.size + theta))
        states = runs[0].charged[self.name], runs[1].charged[self.name] / self.ratio
        away = [self._distance(v, theta) for v in states]
        self.spikes += int(spikes[0].sum())
        self.fires |= bool(spikes[0].any() or spikes[1].any())
        self.ties += int((away[0] == 0).sum())
        self.bound = max(self.bound, float(bound.max()))
        differs = spikes[0] != spikes[1]
        excused = self.flipped | tainted[:, None, None, None]
        apart = np.abs(states[0] - states[1]) / bound
        self.apart = max(self.apart, float(apart[~excused].max(initial=0)))
        self.consequences += int((differs & excused).sum())
        for clip, *neuron in np.argwhere(differs & ~excused).tolist():
            spot = (clip, *neuron)
            self.roots.append(
                Flip(
                    self.name,
                    step,
                    clip,
                    (neuron[0], neuron[1], neuron[2]),
                    (int(spikes[0][spot]), int(spikes[1][spot])),
                    (float(away[0][spot]), float(away[1][spot])),
                    float(bound[spot]),
                )
            )
        self.flipped |= differs
        self._reset(spikes[0])

    def _distance(self, v: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """From the nearest state at which the number of spikes changes."""
        multiple = np.maximum(np.rint(v / theta), 1)
        if self.neuron.max_spikes is not None:
            multiple = np.minimum(multiple, self.neuron.max_spikes)
        return np.abs(v - multiple * theta)

    def _reset(self, spikes: np.ndarray) -> None:
        fired = spikes > 0
        if self.neuron.reset is Reset.SUBTRACT:
            self.error = np.where(fired, self.error + 2 * gamma(4) * self.size, self.error)
        else:
            value = abs(self.neuron.reset_value)
            self.size = np.where(fired, value, self.size)
            self.error = np.where(fired, 2 * gamma(4) * value, self.error)
        if self.neuron.v_min is not None:
            least = abs(self.neuron.v_min)
            self.size = np.maximum(self.size, least)
            self.error = self.error + 2 * gamma(4) * least
