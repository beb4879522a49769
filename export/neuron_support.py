# SPDX-License-Identifier: Apache-2.0
"""Declares which fields of a `Neuron` an engine, an exporter or a pass carries, and refuses all others.

Each of them has one `NeuronSupport` that says for every field of `Neuron` whether any value is carried (`CARRIED`),
only some (`Limited`), or none but the default (`Refused`). `refuse` is the one function that turns this into an
error. A field that a declaration does not name is refused like one it cannot carry, so that a field added to
`Neuron` later is never dropped in silence by something that was written before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import numpy as np

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import Network
from spikefold.export.neuron import Neuron

UNDECLARED = "a field of neurons that nobody said is carried"


@dataclass(frozen=True)
class Carried:
    """Every value of the field is carried exactly."""


@dataclass(frozen=True)
class Limited:
    """Only some values are carried.

    Attributes:
        allows: whether this neuron's value is one of them; its other fields may decide.
        limit: the values that are, in words.
        hint: what to do about another one.
        rule: what the field is, in words; its name by default.
        got: how a message puts the value; as it is by default.
    """

    allows: Callable[[Neuron], bool]
    limit: str
    hint: str
    rule: str = ""
    got: Callable[[Neuron], str] | None = None


@dataclass(frozen=True)
class Refused:
    """No value but the default is carried; the attributes are those of `Limited`."""

    hint: str
    limit: str = "none"
    rule: str = ""
    got: Callable[[Neuron], str] | None = None


CARRIED = Carried()
Carriage = Carried | Limited | Refused


@dataclass(frozen=True)
class NeuronSupport:
    """What one engine, exporter or pass carries.

    Attributes:
        name: for messages, such as "the ONNX writer".
        fields: by the name of each field of `Neuron`.
        what: what the name cannot do with a network that it refuses, for the message.
    """

    name: str
    fields: Mapping[str, Carriage] = field(default_factory=dict)
    what: str = "cannot carry these neurons"

    def undeclared(self, neuron: type[Neuron] = Neuron) -> tuple[str, ...]:
        """The fields of a kind of neuron that this declaration does not name."""
        return tuple(one.name for one in fields(neuron) if one.name not in self.fields)

    def unknown(self, neuron: type[Neuron] = Neuron) -> tuple[str, ...]:
        """The names in this declaration that are no field of a neuron."""
        return tuple(sorted(self.fields.keys() - {one.name for one in fields(neuron)}))


def everything(name: str) -> NeuronSupport:
    """The declaration of an engine that carries every field there is today.

    The fields are named one by one: one that is added to `Neuron` is not among them.
    """
    names = (
        "threshold", "fire", "reset", "reset_value", "leak", "v_min", "max_spikes", "order", "state_shift",
        "state_bits", "overflow", "current",
    )  # fmt: skip
    return NeuronSupport(name, dict.fromkeys(names, CARRIED))


def among(of: str, values: Iterable[object], hint: str, *, limit: str = "", rule: str = "") -> Limited:
    """Only these values of the field ``of`` are carried."""
    allowed = tuple(values)
    return Limited(
        lambda neuron: getattr(neuron, of) in allowed,
        limit or " or ".join(map(_text, allowed)),
        hint,
        rule,
    )


def refuse(network: Network, support: NeuronSupport) -> None:
    """Nothing, if every neuron of the network is carried.

    Raises:
        UnsupportedError: with every field of every layer that is not.
    """
    if issues := refusals(network, support):
        raise UnsupportedError(f"{support.name} {support.what}", issues=issues)


def refusals(network: Network, support: NeuronSupport) -> list[Issue]:
    """One issue for each field of each spiking layer that is not carried, in the order of the network."""
    return [issue for layer in network.neurons for issue in neuron_refusals(layer.neuron, support, layer.name)]


def neuron_refusals(neuron: Neuron, support: NeuronSupport, where: str) -> list[Issue]:
    """The same for one neuron.

    Args:
        neuron: of any kind: the fields are those of its own class.
        support: what is carried.
        where: the name of its layer.
    """
    issues = []
    for one in fields(neuron):
        carriage, value = support.fields.get(one.name), getattr(neuron, one.name)
        match carriage:
            case Carried():
                continue
            case Limited():
                carried, limit, hint = carriage.allows(neuron), carriage.limit, carriage.hint
            case Refused():
                carried, limit, hint = is_default(one.default, value), carriage.limit, carriage.hint
            case None:
                carried, limit = is_default(one.default, value), _text(one.default)
                hint = f"declare {one.name!r} in the NeuronSupport of {support.name}"
                if not carried:
                    issues.append(Issue(UNDECLARED, where, f"{one.name} = {_text(value)}", limit, hint))
                continue
        if not carried:
            got = carriage.got(neuron) if carriage.got else _text(value)
            issues.append(Issue(carriage.rule or one.name, where, got, limit, hint))
    return issues


def is_default(default: object, value: Any) -> bool:
    """Whether a field has its default; one that has none never does."""
    return default is not MISSING and not isinstance(value, np.ndarray) and bool(value == default)


def _text(value: object) -> str:
    if value is None or value is MISSING:
        return "none"
    return str(getattr(value, "value", value))
