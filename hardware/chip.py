# SPDX-License-Identifier: Apache-2.0
"""Defines `Chip`, the contract: everything that the rest of the program may ask of a target, and nothing else.

Nobody outside a chip's own folder compares its name with a string or imports its modules. What a chip lacks is None
or empty, and whoever asks for it is refused with a typed error or leaves that part out and says so in the report.

The rules of a chip are functions; `rules_of` makes of their names and docstrings what ``spikefold chips NAME``
prints, so that the check, its message and the manual cannot drift apart.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import Network
from spikefold.export.numbers import NumberFormat

if TYPE_CHECKING:  # only the types: whoever asks for a chip's name need not load the simulators
    from spikefold.hardware.board import Board
    from spikefold.hardware.core_work import CoreWork
    from spikefold.hardware.event_engine import EventEngine
    from spikefold.hardware.simulators.parity import Runner
    from spikefold.hardware.simulators.trace import Trace

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
"""Names become folders and, before a dot, names of variants."""


@dataclass(frozen=True)
class Rule:
    """One constraint for people: its name in words, and the docstring of its function on one line."""

    name: str
    text: str


@dataclass(frozen=True)
class Table:
    """A table of text: rows under a title. Without ``columns`` the rows explain themselves.

    Raises:
        ValueError: a row has not as many cells as there are columns.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if self.columns and any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"{self.title}: {len(self.columns)} columns, rows of {sorted(set(map(len, self.rows)))}")


def rules_of(*functions: Callable[..., object]) -> tuple[Rule, ...]:
    """The rules that these functions check, in order.

    Raises:
        ValueError: one has no docstring, so nobody could read the rule.
    """
    rules = []
    for function in functions:
        text = " ".join((inspect.getdoc(function) or "").replace("``", "").split())
        if not text:
            raise ValueError(f"{function.__name__} has no docstring: the docstring is the rule")
        rules.append(Rule(function.__name__.strip("_").replace("_", " "), text))
    return tuple(rules)


@dataclass(frozen=True)
class Use:
    """What one layer takes of a chip.

    Attributes:
        layer: the weight layer.
        cores: how many cores hold it.
        memory: by resource, in the unit of its name, what is used and what is allowed on the core where it is
            tightest. A layer that is cut over cores by its neurons has the key ``neurons``; a layer without that key
            is taken to be cut by its output channels.
        limited_by: the resource that decided the number of cores.
    """

    layer: str
    cores: int
    memory: Mapping[str, tuple[int, int]]
    limited_by: str


@dataclass(frozen=True)
class Resources:
    """What a network takes of a chip.

    Attributes:
        layers: one entry a weight layer, in network order.
        chips: how many chips hold all cores.
        limited_by: what decided the number of chips.
        estimate: whether the counts are an estimate, because the vendor's own placement is not public.
        placement: core number by spiking layer; empty where cores are only counted.
    """

    layers: tuple[Use, ...]
    chips: int
    limited_by: str
    estimate: bool
    placement: Mapping[str, int]

    @property
    def cores(self) -> int:
        """Cores of all layers."""
        return sum(use.cores for use in self.layers)


@dataclass(frozen=True)
class Lowered:
    """What was written of a network for a chip.

    Attributes:
        files: their names, in the folder that was given.
        notes: what the user of the files must know, one sentence each.
        placement: core number by spiking layer; empty where the vendor's own tool places.
    """

    files: tuple[str, ...]
    notes: tuple[str, ...] = ()
    placement: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedProfiles:
    """The technology profiles that were published of a chip, each by the name or the path of its TOML file.

    Attributes:
        own: of the chip itself; None where nobody published any.
        reference: of another chip, to stand beside it in the report; None for none.
        label: says in words what the reference is.
    """

    own: str | None = None
    reference: str | None = None
    label: str = ""


@dataclass(frozen=True)
class NotRun:
    """One line of the report: what a reader might take for granted, and why it was not done."""

    what: str
    why: str


class ReadNetwork(Protocol):
    """Reads a file of a vendor's training tool as an integer network, or refuses it."""

    def __call__(
        self,
        path: Path,
        *,
        steps: int | None = None,
        dt_us: int = 10_000,
        classes: int | None = None,
        input_shape: tuple[int, int, int] | None = None,
        ignore_input_bias: bool = False,
    ) -> Network:
        """Read one file.

        Args:
            path: the file.
            steps: time steps of a clip; by default what the file says.
            dt_us: length of a step in microseconds.
            classes: groups of output neurons; by default one each.
            input_shape: ``(C, H, W)`` of the input, where the file does not say it.
            ignore_input_bias: hold the bias of an input layer at 0, whatever the file says.

        Raises:
            ConfigError: neither the file nor ``steps`` says how long a clip is.
            DataError: the file is missing or damaged.
            UnsupportedError: everything in it that cannot be imported exactly.
        """


@dataclass(frozen=True)
class NetworkReader:
    """A kind of file that holds networks in one chip's integers.

    Attributes:
        kind: the suffix of the file without its dot, which is also the prefix ``KIND:FILE`` on the command line.
        read: reads one.
    """

    kind: str
    read: ReadNetwork


@dataclass(frozen=True)
class Chip:
    """One target, and everything that the rest of the program may ask of it.

    The functions import what is heavy (PyTorch, a vendor's package) when they are called, not before.

    Attributes:
        name: as written on the command line; small letters, digits, ``_`` and ``-``.
        title: the same for people.
        numbers: its integers.
        violations: every rule that a network breaks, empty where it fits. An integer network is asked every rule; a
            real one those that do not depend on the rounding.
        gate_forms: the static gates that it can carry, by the names of `spikefold.train.deploy.gates`.
        rules: what ``violations`` checks, in its order.
        memory: one row for each core that a layer can be placed on; None where layers are not placed on cores here.
        resources: what a network that keeps the rules takes of the chip. Without it a chip has no energy budget.
        rewrites: exact passes that make of what it lacks what it has, such as OR neurons of max pools, in this order.
            Each leaves alone what it cannot do, or refuses with UnsupportedError; see `hardware.rewrites`.
        counts_any: whether ``resources`` also counts a network that breaks rules, or a real one.
        laid_out: the form in which the chip runs an integer network, spike for spike the same: layers split over
            cores; None where the network is run as it is.
        event_driven: whether the chip works event by event, so that it has no time steps of its own.
        lower: writes the chip's own files of a real network and its integers into a folder, and raises
            UnsupportedError or MismatchError where it cannot; None where nothing here writes its files.
        vendor_simulator: the simulator that the chip's vendor made, bound to a real network and its integers; None
            where there is none here.
        event_engine: runs an integer network event by event, as the chip does; None where nothing here does.
        rounding_report: what each cause of rounding changes between a real network and its integers on frames
            ``(T, N, C, H, W)``, as plain values for the report; None where nothing here takes that apart.
        core_work: what each of its cores does in each step of a run, by weight layer, of a network, its frames
            ``(T, N, C, H, W)`` and its trace; raises UnsupportedError for a network that it cannot say it of. None
            where nothing here counts by core.
        published: its technology profiles.
        boards: the boards that carry it and can be asked to run a network (``spikefold validate --on``).
        readers: the kinds of files of its vendor's tools that can be read.
        not_run: what the report must say was not run, and why, as long as none of its boards did.
        environment: installed packages that decide what can be run, with what was found of each, for the report.

    Raises:
        ValueError: a name that cannot be a folder, or no gate form.
    """

    name: str
    title: str
    numbers: NumberFormat
    violations: Callable[[Network], list[Issue]]
    gate_forms: tuple[str, ...]
    rules: tuple[Rule, ...] = ()
    memory: Table | None = None
    resources: Callable[[Network], Resources] | None = None
    rewrites: tuple[Callable[[Network], Network], ...] = ()
    counts_any: bool = False
    laid_out: Callable[[Network], Network] | None = None
    event_driven: bool = False
    lower: Callable[[Network, Network, Path], Lowered] | None = None
    vendor_simulator: Callable[[Network, Network], Runner] | None = None
    event_engine: EventEngine | None = None
    rounding_report: Callable[[Network, Network, np.ndarray], dict[str, Any]] | None = None
    core_work: Callable[[Network, np.ndarray, Trace], Mapping[str, CoreWork]] | None = None
    published: PublishedProfiles = PublishedProfiles()
    boards: tuple[Board, ...] = ()
    readers: tuple[NetworkReader, ...] = ()
    not_run: Callable[[], tuple[NotRun, ...]] | None = None
    environment: Callable[[], Mapping[str, str]] | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a chip: small letters, digits, _ and -")
        if not self.gate_forms:
            raise ValueError(f"{self.name} carries no form of a static gate: name at least one")

    def require_files(self) -> Callable[[Network, Network, Path], Lowered]:
        """The function `lower`.

        Raises:
            UnsupportedError: nothing here writes files for this chip; ``spikefold fit`` still answers for it.
        """
        if self.lower is None:
            raise UnsupportedError(
                f"nothing here writes files for {self.title}",
                where=self.name,
                hint="`spikefold chips` shows which chips have files; `spikefold fit` answers for this one",
            )
        return self.lower
