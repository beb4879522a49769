# SPDX-License-Identifier: Apache-2.0
"""A strict samna in front of `samna_chip`: what the documents name and sinabs 3.1.3 calls, and nothing else.

An attribute that is not documented raises AttributeError, a value of the wrong type TypeError, as pybind does.
"""

from __future__ import annotations

import copy
from collections import deque
from types import SimpleNamespace
from typing import Any

from spikefold.hardware.speck.board.samna_rules import validate_configuration
from spikefold.hardware.speck.board.samna_standin import SpeckConfiguration
from tests.hardware.speck.board.samna_chip import Board, DvsEvent, Spike, WriteNeuronValue


class _Named:
    """Exactly the methods of the subclass."""

    __slots__ = ("_board",)

    def __init__(self, board: Board) -> None:
        self._board = board


class StopWatch(_Named):
    __slots__ = ()

    def reset(self) -> None:
        self._board.alive()
        self._board.elapsed_us, self._board.due = 0, deque()

    def start(self) -> None:
        """From where it was stopped."""
        self._board.alive()
        self._board.watch_us = self._board.time.us - self._board.elapsed_us
        self._board.log.append("start")

    def stop(self) -> None:
        self._board.alive()
        self._board.advance()
        assert self._board.watch_us is not None
        self._board.elapsed_us = self._board.time.us - self._board.watch_us
        self._board.watch_us = None
        self._board.log.append("stop")


class IoModule(_Named):
    __slots__ = ()

    def set_slow_clk(self, on: bool) -> None:
        self._board.alive()
        if not isinstance(on, bool):
            raise TypeError("set_slow_clk(): incompatible function arguments")
        self._board.advance()
        self._board.slow_us, self._board.ticks = self._board.time.us if on else None, 0

    def set_slow_clk_rate(self, hertz: int) -> None:
        self._board.alive()
        if not isinstance(hertz, int) or hertz < 1:
            raise TypeError("set_slow_clk_rate(): incompatible function arguments")
        self._board.slow_hz = hertz


class PowerMonitor(_Named):
    __slots__ = ()

    def get_source_node(self) -> Any:
        return ("power", self._board)

    def start_auto_power_measurement(self, hertz: float) -> None:
        self._board.alive()
        if not 0 < hertz <= 100:
            raise ValueError("rate out of range")
        self._board.power_hz, self._board.sampled_us = hertz, self._board.time.us

    def stop_auto_power_measurement(self) -> None:
        self._board.alive()
        self._board.sampled_us = None
        self._board.log.append("power off")


class Model(_Named):
    __slots__ = ()

    def apply_configuration(self, configuration: Any) -> None:
        self._board.apply(configuration)

    def get_sink_node(self) -> Any:
        return ("into", self._board)

    def get_source_node(self) -> Any:
        return ("from", self._board)


class Handle(_Named):
    __slots__ = ()

    def get_model(self) -> Model:
        self._board.alive()
        return Model(self._board)

    def get_stop_watch(self) -> StopWatch:
        return StopWatch(self._board)

    def get_io_module(self) -> IoModule:
        return IoModule(self._board)

    def get_power_monitor(self) -> PowerMonitor:
        if self._board.faults.no_power:
            raise RuntimeError("no power monitor on this board")
        return PowerMonitor(self._board)


class Node:
    """A buffer of the host: connected by a graph to a board, or to nothing."""

    __slots__ = ("_board",)

    def __init__(self) -> None:
        self._board: Board | None = None

    def _there(self) -> Board:
        if self._board is None:
            raise RuntimeError("the graph does not run")
        return self._board


class SourceNode(Node):
    __slots__ = ()

    def write(self, events: list[Any]) -> None:
        self._there().write(events)


class SinkNode(Node):
    __slots__ = ()

    def get_events(self) -> list[Any]:
        return self._there().read()


class PowerNode(Node):
    __slots__ = ()

    def get_events(self) -> list[Any]:
        return self._there().samples()


class EventFilterGraph:
    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends: Any = None

    def sequential(self, nodes: list[Any]) -> list[Any]:
        first, second = nodes
        kinds = {
            "into": (first, second, SourceNode),
            "from": (second, first, SinkNode),
            "power": (second, first, PowerNode),
        }
        there = first if isinstance(first, tuple) else second
        ours, _, kind = kinds[there[0]]
        if type(ours) is not kind:
            raise TypeError(f"a {type(ours).__name__} cannot be connected there")
        self._ends = (ours, there[1])
        return nodes

    def start(self) -> None:
        node, board = self._ends
        node._board = board

    def stop(self) -> None:
        self._ends[0]._board = None


class _Forgetful(SpeckConfiguration):
    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        return copy.deepcopy(value) if name == "cnn_layers" else value


def samna(boards: dict[str, Board] | list[tuple[str, Board]]) -> SimpleNamespace:
    """The module, with these boards connected: type by samna's name and board, in USB order backwards."""
    pairs = list(boards.items()) if isinstance(boards, dict) else boards
    infos = [
        SimpleNamespace(device_type_name=name, usb_device_address=10 - place, board=board)
        for place, (name, board) in enumerate(pairs)
    ]

    def open_device(info: Any) -> Handle | None:
        if info not in infos:
            raise TypeError("open_device(): incompatible function arguments")
        if info.board.faults.refuses_open == "timeout":
            raise RuntimeError("LIBUSB_ERROR_TIMEOUT")
        if info.board.faults.refuses_open == "none":
            return None
        info.board.open = True
        return Handle(info.board)

    def close_device(handle: Any) -> None:
        if not isinstance(handle, Handle):
            raise TypeError("close_device(): incompatible function arguments")
        handle._board.closed += 1
        handle._board.alive()
        handle._board.open = False

    kind = _Forgetful if any(board.faults.forgetful for _, board in pairs) else SpeckConfiguration
    chip = SimpleNamespace(
        configuration=SimpleNamespace(SpeckConfiguration=kind),
        validate_configuration=validate_configuration,
        event=SimpleNamespace(Spike=Spike, WriteNeuronValue=WriteNeuronValue, DvsEvent=DvsEvent),
    )
    return SimpleNamespace(
        device=SimpleNamespace(
            get_all_devices=lambda: list(infos), open_device=open_device, close_device=close_device
        ),
        graph=SimpleNamespace(EventFilterGraph=EventFilterGraph),
        speck2e=chip,
        speck2f=chip,
        BasicSourceNode_speck2e_event_speck2e_input_event=SourceNode,
        BasicSinkNode_speck2e_event_output_event=SinkNode,
        BasicSourceNode_speck2f_event_input_event=SourceNode,
        BasicSinkNode_speck2f_event_output_event=SinkNode,
        BasicSinkNode_unifirm_modules_events_measurement=PowerNode,
    )
