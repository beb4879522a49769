# SPDX-License-Identifier: Apache-2.0
"""Drives an open Speck board: what the protocol of `run` does, in calls of samna.

The calls are those that sinabs 3.1.3 makes (``dynapcnn_network.py``, ``io.py``, ``config_builder.py``) and its power
notebook, and no others. samna is a value here, never imported. Whatever it raises becomes an `EnvironmentLacksError`
that names the step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikefold.errors import EnvironmentLacksError, Issue, MismatchError, UnsupportedError
from spikefold.hardware.speck.board.config import differences, essential, fingerprint
from spikefold.hardware.speck.board.samna_standin import CnnLayerConfig, as_values, fill

SPIKE_DTYPE = np.dtype([("t", "<i8"), ("core", "<i8"), ("c", "<i8"), ("y", "<i8"), ("x", "<i8")])
"""One spike that a board reported: microseconds of its stop watch, the core, and the neuron."""
RESET_HINT = "press the board's reset button, close other programs that use it, check cable and USB rights, and retry"
_FAILURES = (RuntimeError, OSError, AttributeError, TypeError, ValueError)


@dataclass(frozen=True)
class BoardType:
    """A board by samna's names: of its type, of the chip's module, and of the nodes that events go through."""

    samna_name: str
    module: str
    source: str
    sink: str


_SPECK2E = (
    "speck2e",
    "BasicSourceNode_speck2e_event_speck2e_input_event",
    "BasicSinkNode_speck2e_event_output_event",
)
_SPECK2F = ("speck2f", "BasicSourceNode_speck2f_event_input_event", "BasicSinkNode_speck2f_event_output_event")
BOARDS: Mapping[str, BoardType] = {
    "speck2e": BoardType("Speck2eTestBoard", *_SPECK2E),
    "speck2edevkit": BoardType("Speck2eDevKit", *_SPECK2E),
    "speck2fmodule": BoardType("Speck2fModuleDevKit", *_SPECK2F),
    "speck2fdevkit": BoardType("Speck2fDevKit", *_SPECK2F),
}
"""By sinabs' names (3.1.3 ``io.py``, ``chips/speck2e.py``, ``chips/speck2f.py``)."""


@contextmanager
def naming_the_step(what: str) -> Iterator[None]:
    """Whatever samna raises becomes one error that names the step.

    Raises:
        EnvironmentLacksError: samna raised.
    """
    try:
        yield
    except _FAILURES as error:
        raise EnvironmentLacksError(
            f"samna could not {what}: {type(error).__name__}: {error}", where="samna", hint=RESET_HINT
        ) from error


class Board:
    """An open board. Every method raises `EnvironmentLacksError` when samna fails in it."""

    def __init__(self, samna: Any, board_type: BoardType, handle: Any) -> None:
        self.board_type = board_type
        self._samna, self._handle = samna, handle
        with naming_the_step(f"offer {board_type.module}"):
            self._chip = getattr(samna, board_type.module)
        self._graphs: list[Any] = []
        self._source: Any = None
        self._sink: Any = None
        self._monitor: Any = None
        self._samples: Any = None
        self._zeros: dict[int, list[Any]] = {}

    def close(self) -> None:
        """Stop what runs and close the device."""
        with naming_the_step("close the board"):
            try:
                if self._monitor is not None:
                    self._monitor.stop_auto_power_measurement()
                for graph in reversed(self._graphs):
                    graph.stop()
            finally:
                self._samna.device.close_device(self._handle)

    def configure(self, configuration: Mapping[str, Any], monitored: Sequence[int]) -> str:
        """Fill in, read back, validate and apply a configuration, and connect the event streams.

        Args:
            configuration: plain values under samna's names, as `SpeckModel.configuration` gives them.
            monitored: cores whose spikes are reported.

        Returns:
            `fingerprint` of the configuration, which samna then holds.

        Raises:
            ConfigError: it is no configuration of a Speck.
            MismatchError: samna holds other values than it was given.
            UnsupportedError: with samna's reasons, an issue each, why the configuration is not valid.
        """
        wanted = essential(configuration)
        with naming_the_step("fill in the configuration"):
            made = self._chip.configuration.SpeckConfiguration()
            made.dvs_layer.pass_sensor_events = wanted["pass_sensor_events"]
            for number, core in wanted["cores"].items():
                fill(made.cnn_layers[int(number)], core | {"monitor_enable": int(number) in monitored})
            cores = {number: as_values(made.cnn_layers[int(number)], CnnLayerConfig) for number in wanted["cores"]}
            held = {"cores": cores, "pass_sensor_events": bool(made.dvs_layer.pass_sensor_events)}
        hint = "this samna changes what it is given: report it, with its version"
        if issues := list(differences(wanted, held, "samna holds what it was given", hint)):
            raise MismatchError("samna does not hold the configuration it was given", where="samna", issues=issues)
        self._validate(made)
        with naming_the_step("apply the configuration"):
            model = self._handle.get_model()
            model.apply_configuration(made)
            self._source = getattr(self._samna, self.board_type.source)()
            self._sink = getattr(self._samna, self.board_type.sink)()
            self._connect(self._source, model.get_sink_node())
            self._connect(model.get_source_node(), self._sink)
        return fingerprint(wanted)

    def _validate(self, made: Any) -> None:
        with naming_the_step("validate the configuration"):
            valid, said = self._chip.validate_configuration(made)
        if valid:
            return
        reasons = [line for line in str(said).splitlines() if line.strip()] or ["no reason given"]
        hint = "`spikefold chips speck2f` lists the limits"
        issues = [Issue("samna's validate_configuration", "configuration", why, "valid", hint) for why in reasons]
        raise UnsupportedError("samna refuses the configuration", where="samna", issues=issues)

    def _connect(self, *nodes: Any) -> None:
        graph = self._samna.graph.EventFilterGraph()
        graph.sequential(list(nodes))
        graph.start()
        self._graphs.append(graph)

    def zero(self, words: Mapping[int, int]) -> None:
        """Write 0 to the first words of the neuron memory of each core; words by core.

        Give the whole memory: then it does not matter where in it a neuron lies. (Its address is ``(y << (cb + xb)) |
        (x << cb) | c``, cb and xb the bits of the channel and the column; sinabs 3.1.3 ``io.py`` shifts y by the bits
        of the row instead, and collides on maps wider than high.) A new configuration would not do: states were seen
        to survive it (sinabs issue 148).
        """
        with naming_the_step("zero the neurons"):
            for core, count in words.items():
                if core not in self._zeros:
                    self._zeros[core] = [self._zero(core, address) for address in range(count)]
                self._source.write(self._zeros[core])

    def _zero(self, core: int, address: int) -> Any:
        event = self._chip.event.WriteNeuronValue()
        event.layer, event.address, event.neuron_state = core, address, 0
        return event

    def start(self, slow_clock_hz: int | None) -> int:
        """Start the slow clock, where a rate is given, and the stop watch from 0.

        Returns:
            How many spikes were still waiting to be read. They are dropped: their times are of another clip.
        """
        waiting = len(self.received())
        with naming_the_step("start the stop watch"):
            if slow_clock_hz is not None:
                module = self._handle.get_io_module()
                module.set_slow_clk_rate(slow_clock_hz)
                module.set_slow_clk(True)
            watch = self._handle.get_stop_watch()
            watch.reset()
            watch.start()
        return waiting

    def stop(self, slow_clock_hz: int | None) -> None:
        """Stop the stop watch, and the slow clock, which would go on adding biases to zeroed neurons."""
        with naming_the_step("stop the stop watch"):
            self._handle.get_stop_watch().stop()
            if slow_clock_hz is not None:
                self._handle.get_io_module().set_slow_clk(False)

    def send(self, cores: Sequence[int], events: np.ndarray) -> None:
        """Write events, fields ``t`` (of the stop watch), ``x, y, p``, each to every one of the cores in turn."""
        with naming_the_step("send events"):
            spikes = []
            for t, x, y, p in zip(*(events[name].tolist() for name in "txyp"), strict=True):
                for core in cores:
                    spike = self._chip.event.Spike()
                    spike.layer, spike.feature, spike.x, spike.y, spike.timestamp = core, p, x, y, t
                    spikes.append(spike)
            self._source.write(spikes)

    def received(self) -> np.ndarray:
        """Spikes reported since the last call, of `SPIKE_DTYPE`; events of other kinds are left out."""
        with naming_the_step("read spikes"):
            spikes = [event for event in self._sink.get_events() if isinstance(event, self._chip.event.Spike)]
            rows = [(event.timestamp, event.layer, event.feature, event.y, event.x) for event in spikes]
        return np.array(rows, SPIKE_DTYPE)

    def measure_power(self, rate_hz: float) -> str | None:
        """Begin to measure; why the board cannot, or None."""
        try:
            with naming_the_step("start the power monitor"):
                monitor = self._handle.get_power_monitor()
                samples = self._samna.BasicSinkNode_unifirm_modules_events_measurement()
                self._connect(monitor.get_source_node(), samples)
                monitor.start_auto_power_measurement(rate_hz)
        except EnvironmentLacksError as error:
            return error.what
        self._monitor, self._samples = monitor, samples
        return None

    def power(self) -> list[tuple[int, float]]:
        """Rail and watts of each sample since the last call; none where nothing is measured.

        Their timestamps come in bursts (a user's report), so they are not read.
        """
        if self._samples is None:
            return []
        with naming_the_step("read the power monitor"):
            return [(int(sample.channel), float(sample.value)) for sample in self._samples.get_events()]
