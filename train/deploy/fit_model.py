# SPDX-License-Identifier: Apache-2.0
"""Searches the smallest change of an architecture that fits a chip: fewer channels, a larger stride, a smaller input.

Each thing that may change has a price for its first step: how often the step halves the layer's output. The n-th step
of the same thing costs n times as much, and the search takes the least sum::

    input side            2     halved: each input is the sum of 2x2 pixels, and every map behind it shrinks
    strides               2     doubled, up to 8
    channels, hidden      1     halved
    reduction             1     3x3 convolutions and sum pools of their spikes instead of strides, or the other way
    voters                1/2   halved: fewer neurons speak for a class
    reduction, max pools  1/4   sum pools of the spikes instead; or else strides
    neuron                1/4   integrate-and-fire instead of a leak

A halved count is then increased again to the largest that fits. The network of a proposal is another function and has
to be trained; only that it fits is promised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from spikefold.config import Config, DataConfig
from spikefold.errors import ConfigError, Issue, UnsupportedError
from spikefold.export.network import InputSpec
from spikefold.hardware.chip import Chip
from spikefold.hardware.fit import FitReport, broken_rules, fit_report
from spikefold.train.deploy.skeleton import Skeletons
from spikefold.train.deploy.smallest_change import SearchAxis, Setting, halvings, smallest_change
from spikefold.train.models.architectures import Architecture, network

INPUT = "input summed over squares of side"
_INPUT, _STRIDE, _WIDTH, _POOL, _VOTERS, _KIND = 2.0, 2.0, 1.0, 1.0, 0.5, 0.25
_REDUCTIONS = {
    "pool": (("spike_mean",), _POOL),
    "stride": (("spike_mean",), _POOL),
    "spike_max": (("spike_mean", "stride"), _KIND),
    "spike_mean": (("stride",), _POOL),
}
"""For each way of reduction: which other ways are tried, one after the other, and the price of the first."""
_LARGEST_STRIDE, _SMALLEST_INPUT = 8, 4
_SENSOR = 128
"""The side in pixels of the sensor (DVS128) whose frames an architecture reads."""


@dataclass(frozen=True)
class Change:
    """One change of an architecture.

    Attributes:
        what: a key of ``[model]``, or `INPUT`.
        before: its value in the architecture.
        after: its value in the proposal.
        why: the layers that break a rule without this change, with what they would need.
    """

    what: str
    before: Any
    after: Any
    why: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.what}: {self.before} -> {self.after} ({'; '.join(self.why)})"

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return asdict(self)


@dataclass(frozen=True)
class Proposal:
    """An architecture that fits a chip.

    Attributes:
        changes: the differences; empty where the architecture fits as it is.
        architecture: the changed architecture.
        report: the chip's report on its network.
    """

    changes: tuple[Change, ...]
    architecture: Architecture
    report: FitReport

    def config(self, base: Config) -> Config:
        """The configuration with which ``spikefold run`` trains the changed model for this chip alone.

        Args:
            base: everything else; its down-sampling is that of the unchanged architecture, and is increased here.
        """
        factor = next((change.after for change in self.changes if change.what == INPUT), 1)
        side = base.data.downsample
        data = base.data.model_copy(update={"downsample": None if side is None else side * factor})
        chips = base.chips.model_copy(update={"names": (self.report.chip,)})
        return base.model_copy(update={"data": data, "model": self.architecture.model, "chips": chips})

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return {
            "changes": [change.to_json() for change in self.changes],
            "input": list(self.architecture.shape),
            "model": self.architecture.model.model_dump(mode="json"),
            "fit": self.report.to_json(),
        }


def sized(architecture: Architecture, sensor: tuple[int, int]) -> Architecture:
    """The architecture with the input that recordings of a sensor give, summed to sides as near to its own as can be.

    Args:
        architecture: whose layers stay.
        sensor: rows and columns in pixels.
    """
    side = _down_sampling(architecture, sensor)
    height, width = (-(-size // side) for size in sensor)
    return replace(architecture, shape=(architecture.shape[0], height, width))


def _down_sampling(architecture: Architecture, sensor: tuple[int, int]) -> int:
    return max(1, round(max(sensor) / max(architecture.shape[1:])))


def base_config(architecture: Architecture, sensor: tuple[int, int] = (_SENSOR, _SENSOR)) -> Config:
    """The configuration that makes the architecture's input of recordings, of a DVS128 by default."""
    side = _down_sampling(architecture, sensor)
    data = DataConfig(steps=architecture.steps, dt_us=architecture.dt_us, downsample=side)
    return Config(data=data, model=architecture.model)


def propose(architecture: Architecture, chip: Chip) -> Proposal:
    """Search the cheapest change of the architecture that fits the chip, and check it on the network itself.

    Raises:
        UnsupportedError: no change of the kinds above fits, or the architecture has residual blocks.
    """
    if architecture.model.family != "chain":
        raise UnsupportedError(
            f"{architecture.name} has residual blocks, and changes are known for chains only",
            where=architecture.name,
            hint="name a chain: `spikefold inspect --help`",
        )
    axes = _search_axes(architecture)
    skeletons = Skeletons(InputSpec(architecture.shape, architecture.dt_us, architecture.steps), architecture.classes)

    def check(setting: Setting) -> list[Issue] | None:
        changed = _with(architecture, axes, setting)
        try:
            return broken_rules(skeletons.network(changed.model, changed.shape), chip)
        except ConfigError:
            return None  # the strides leave nothing of the input

    setting = smallest_change(axes, check)
    changed = _with(architecture, axes, setting)
    report = fit_report(network(changed), chip, f"{architecture.name}, changed,")
    if not report.fits:
        raise UnsupportedError(
            "the proposal fits by its shapes, but its network does not",
            where=architecture.name,
            issues=report.violations,
        )
    changes = []
    for index, axis in enumerate(axes):
        before, after = axis.values[0], setting[index]
        if after != before:
            without = check((*setting[:index], before, *setting[index + 1 :])) or ()
            changes.append(Change(axis.what, before, after, tuple(f"{la.where}: {la.got}" for la in without)))
    return Proposal(tuple(changes), changed, report)


def _search_axes(architecture: Architecture) -> list[SearchAxis]:
    """The axes of the search: the factor of the input first, then the fields of the model.

    Rules that depend on shapes are reported at weight layers, rules that depend on the kind of neuron and the pools
    behind it at spiking layers, and rules against pools at the pools; so these are the layers that an axis touches.
    """
    model, sides = architecture.model, architecture.shape[1:]
    convs = len(model.channels)
    numbers = range(1, convs + len(model.hidden) + 1)
    weights = [f"conv{n}" if n <= convs else f"fc{n}" for n in numbers] + ["fc"]
    spiking, pools = [f"sn{n}" for n in numbers] + ["out"], [f"pool{n}" for n in numbers[:convs]]
    factors = tuple(2**n for n in range(8) if n == 0 or min(sides) >= _SMALLEST_INPUT * 2**n)
    axes = [SearchAxis(INPUT, factors, _INPUT, frozenset(weights))]
    for index, count in enumerate((*model.channels, *model.hidden)):
        what = f"channels[{index}]" if index < convs else f"hidden[{index - convs}]"
        axes.append(SearchAxis(what, halvings(count), _WIDTH, frozenset(weights[index : index + 2]), counts=True))
    for index, stride in enumerate(model.strides):
        doubled = tuple(stride * 2**n for n in range(4) if n == 0 or stride * 2**n <= _LARGEST_STRIDE)
        axes.append(SearchAxis(f"strides[{index}]", doubled, _STRIDE, frozenset([*weights[index:], spiking[index]])))
    axes.append(SearchAxis("voters", halvings(model.voters), _VOTERS, frozenset(weights[-1:])))
    reductions, price = _REDUCTIONS[model.reduction]
    touched = frozenset([*weights[:convs], *spiking[:convs], *pools])
    axes.append(SearchAxis("reduction", (model.reduction, *reductions), price, touched))
    if model.neuron != "if":
        axes.append(SearchAxis("neuron", (model.neuron, "if"), _KIND, frozenset(spiking)))
    return axes


def _with(architecture: Architecture, axes: Sequence[SearchAxis], setting: Setting) -> Architecture:
    values = {axis.what: value for axis, value in zip(axes, setting, strict=True)}
    fields: dict[str, object] = {key: values[key] for key in ("voters", "reduction", "neuron") if key in values}
    for key in ("channels", "hidden", "strides"):
        own = getattr(architecture.model, key)
        fields[key] = tuple(values[f"{key}[{index}]"] for index in range(len(own)))
    channels, height, width = architecture.shape
    factor = values[INPUT]
    shape = channels, -(-height // factor), -(-width // factor)
    return replace(architecture, model=architecture.model.model_copy(update=fields), shape=shape)
