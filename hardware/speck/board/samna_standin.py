# SPDX-License-Identifier: Apache-2.0
"""Stands in for samna's configuration classes, so that sinabs' Speck path works where samna is not installed.

All of ``sinabs.backend.dynapcnn`` imports samna, but it only touches it to fill in a configuration. The classes here
have the attributes that the datasheet lists (3.2.2) and sinabs 3.1.3 sets, and no others: setting or reading another
raises, as it does on samna's compiled classes. What is left out here keeps samna's default on the device.

`as_values` and `fill` read and write any object with these attributes, samna's own as well.
"""

from __future__ import annotations

import json
import operator
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, ClassVar

from spikefold.hardware.speck.board.samna_probe import samna_status
from spikefold.hardware.speck.board.samna_rules import validate_configuration
from spikefold.hardware.speck.cores import CORES

_SINABS_PART = "sinabs.backend.dynapcnn"
Coerce = Callable[[Any], Any]


def _integer(value: Any) -> int:
    return operator.index(value)  # like pybind: a float is refused, a numpy integer is not


def _integers(value: Any) -> Any:
    """A copy of nested lists of integers, as pybind copies a vector."""
    return [_integers(item) for item in value] if isinstance(value, list | tuple) else _integer(value)


class Struct:
    """A class with exactly the attributes in ``fields``: how each is converted, and its first value."""

    fields: ClassVar[Mapping[str, tuple[Coerce, Callable[[], Any]]]] = {}

    def __init__(self) -> None:
        for name, (_, default) in self.fields.items():
            object.__setattr__(self, name, default())

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{type(self).__name__} of the samna stand-in has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.fields:
            raise AttributeError(f"{type(self).__name__} of the samna stand-in has no attribute {name!r}")
        try:
            converted = self.fields[name][0](value)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}.{name} cannot be {value!r:.60}: {error}") from error
        object.__setattr__(self, name, converted)

    @classmethod
    def coerce(cls, value: Any) -> Struct:
        """The value itself, or a new one from a dictionary."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise TypeError(f"{cls.__name__} or a dictionary is needed, got {type(value).__name__}")
        made = cls()
        for name, item in value.items():
            setattr(made, name, item)
        return made

    def to_json(self) -> str:
        """The values as JSON text. The layout is ours; that of samna is not public."""
        return json.dumps(as_values(self))


def _fixed(value: Any) -> Any:
    raise TypeError("the cores and destinations are fixed; change their attributes")


def _made(kind: type[Struct]) -> tuple[Coerce, Callable[[], Any]]:
    return kind.coerce, kind


def _row(kind: type[Struct], count: int) -> tuple[Coerce, Callable[[], Any]]:
    return _fixed, lambda: tuple(kind() for _ in range(count))


_FLAG: tuple[Coerce, Callable[[], Any]] = (bool, bool)
_INT: tuple[Coerce, Callable[[], Any]] = (_integer, int)
_ONE: tuple[Coerce, Callable[[], Any]] = (_integer, lambda: 1)
_LIST: tuple[Coerce, Callable[[], Any]] = (_integers, list)


class Vec2(Struct):
    """A pair of numbers along x and y."""

    fields: ClassVar = {"x": _INT, "y": _INT}


class Vec2Ones(Struct):
    """A pair that starts at one."""

    fields: ClassVar = {"x": _ONE, "y": _ONE}


class Flags2(Struct):
    """A pair of flags along x and y."""

    fields: ClassVar = {"x": _FLAG, "y": _FLAG}


class Extent(Struct):
    """Size and features of a map."""

    fields: ClassVar = {"size": _made(Vec2), "feature_count": _INT}


class Dimensions(Struct):
    """Geometry of one core."""

    fields: ClassVar = {
        "input_shape": _made(Extent),
        "output_shape": _made(Extent),
        "padding": _made(Vec2),
        "stride": _made(Vec2Ones),
        "kernel_size": _INT,
    }


class Destination(Struct):
    """Where the sensor's layer sends its events: core number, and the side of the sum pool."""

    fields: ClassVar = {"layer": _INT, "enable": _FLAG, "pooling": _ONE}


class CoreDestination(Destination):
    """Where a core sends its spikes (12 is the readout), and what it adds to their feature numbers on the way."""

    fields: ClassVar = {**Destination.fields, "feature_shift": _INT}


class CnnLayerConfig(Struct):
    """One core. ``weights`` is ``[f][c][x][y]``, ``neurons_initial_value`` ``[f][x][y]``."""

    fields: ClassVar = {
        "dimensions": _made(Dimensions), "destinations": _row(CoreDestination, 2), "weights": _LIST, "biases": _LIST,
        "leak_enable": _FLAG, "leak_internal_slow_clk_enable": _FLAG, "return_to_zero": _FLAG,
        "threshold_high": _INT, "threshold_low": _INT, "monitor_enable": _FLAG, "neurons_initial_value": _LIST,
        "input_congestion_balancer_enable": _FLAG, "output_decimator_enable": _FLAG,
        "output_decimator_interval": _INT,
    }  # fmt: skip


class DvsLayerConfig(Struct):
    """The event pre-processing layer."""

    fields: ClassVar = {
        "destinations": _row(Destination, 2),
        "pass_sensor_events": (bool, lambda: True),
        "merge": _FLAG,
        "mirror": _made(Flags2),
        "mirror_diagonal": _FLAG,
        "cut": _made(Vec2),
        "origin": _made(Vec2),
        "pooling": _made(Vec2Ones),
        "on_channel": (bool, lambda: True),
        "off_channel": (bool, lambda: True),
        "monitor_enable": _FLAG,
        "raw_monitor_enable": _FLAG,
    }


class SpeckConfiguration(Struct):
    """The parts of a Speck2e or Speck2f configuration that sinabs fills in."""

    fields: ClassVar = {"cnn_layers": _row(CnnLayerConfig, len(CORES)), "dvs_layer": _made(DvsLayerConfig)}


def as_values(configuration: Any, kind: type[Struct] | None = None) -> dict[str, Any]:
    """The attributes that `SpeckConfiguration` names, as plain nested values, from it or from samna's own object."""
    values: dict[str, Any] = {}
    template = (kind or type(configuration))()
    for name in template.fields:
        value, example = getattr(configuration, name), getattr(template, name)
        if isinstance(example, Struct):
            value = as_values(value, type(example))
        elif isinstance(example, tuple):
            value = [as_values(item, type(example[0])) for item in value]
        values[name] = value
    return values


def fill(configuration: Any, values: Mapping[str, Any]) -> None:
    """Set the attributes of a configuration, samna's own or the stand-in, from `as_values` of another."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            fill(getattr(configuration, name), value)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            row = getattr(configuration, name)
            for index, item in enumerate(value):
                fill(row[index], item)
        else:
            setattr(configuration, name, value)


class _Module(ModuleType):
    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self.__name__}.{name} needs samna itself, which is not installed; this is a stand-in")


def _modules() -> dict[str, ModuleType]:
    names = ["samna", "samnagui", "samna.device"]
    for chip in ("samna.speck2e", "samna.speck2f"):
        names += [chip, f"{chip}.configuration"]
    modules: dict[str, ModuleType] = {name: _Module(name) for name in names}
    for name, module in modules.items():
        module.__spec__, module.__dict__["__path__"] = ModuleSpec(name, None, is_package=True), []
        parent, _, leaf = name.rpartition(".")
        if parent:
            setattr(modules[parent], leaf, module)
        if leaf == "configuration":
            module.__dict__["SpeckConfiguration"] = SpeckConfiguration
            modules[parent].__dict__["validate_configuration"] = validate_configuration
    modules["samna.device"].__dict__["DeviceInfo"] = object
    return modules


@contextmanager
def standin() -> Iterator[bool]:
    """Stand in for samna while sinabs' Speck part is imported, and leave no trace in ``sys.modules``.

    Yields:
        Whether the stand-in is in place: not with the real samna, nor once that part of sinabs is loaded.
    """
    if _SINABS_PART in sys.modules or samna_status() == "real":
        yield False
        return
    modules = _modules()
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ("samna", "samnagui")}
    for name in before:
        del sys.modules[name]
    sys.modules.update(modules)
    try:
        yield True
    finally:
        for name in modules:
            sys.modules.pop(name, None)
        sys.modules.update(before)
