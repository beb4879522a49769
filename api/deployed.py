# SPDX-License-Identifier: Apache-2.0
"""`Deployed`: a network in one chip's integers, with the four verdicts on it; what ``spikefold.deploy`` gives."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikefold.api.recordings import whole_frames
from spikefold.errors import DataError, SpikefoldError
from spikefold.export.io import identity
from spikefold.export.network import Network
from spikefold.files import write_text
from spikefold.hardware.fit import FitReport
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.accuracy import predictions
from spikefold.stages.chip_files import ChipNetwork, write_chip
from spikefold.stages.files.base import plain
from spikefold.stages.files.validate import ParityForm
from spikefold.stages.report.verdicts import Verdict


@dataclass(frozen=True, eq=False)
class Deployed:
    """A network on one chip.

    Attributes:
        network: its name, for people.
        made: the network before and after quantisation, and what was rewritten.
        fit: what it takes of the chip.
        verdicts: by ``fit``, ``spikes``, ``accuracy`` and ``energy``.
        parity: every comparison of runners; None where there were no clips.
        energy: counts, prices and the chip's budget, as an entry of ``energy.json``; None where there were no clips.
        passes: each fold with its proof; those that the chip needed are in ``made``.
        source: what it ran on, in words.
        constants: every number of a technology profile that the figures are made of, by file and line.
    """

    network: str
    made: ChipNetwork
    fit: FitReport
    verdicts: Mapping[str, Verdict]
    parity: ParityForm | None = None
    energy: Mapping[str, Any] | None = None
    passes: tuple[Mapping[str, Any], ...] = ()
    source: str = ""
    constants: tuple[Mapping[str, Any], ...] = ()

    @property
    def chip(self) -> str:
        """Its name."""
        return self.made.chip.name

    @property
    def real(self) -> Network:
        """The network as the chip carries it, before its numbers were rounded."""
        return self.made.real

    @property
    def integer(self) -> Network:
        """The network that the chip runs."""
        return self.made.integer

    def summary(self) -> str:
        """The four verdicts, a line each."""
        lines = [f"{self.network} on {self.made.chip.title}; {self.source or 'no recordings'}"]
        for verdict in self.verdicts.values():
            (line,) = verdict.lines
            lines.append(f"  {verdict.question:<26} {line.word}: {line.number}; {line.text}")
        return "\n".join(lines)

    def predict(self, frames: Any) -> np.ndarray:
        """The class of each clip by the chip's integers in clocked steps, ``(N,)`` int64.

        Args:
            frames: counts of events ``(T, N, C, H, W)``.

        Raises:
            DataError: frames that do not go into the network.
        """
        trace = clocked.run(self.integer, whole_frames(frames, self.integer.input, "frames"))
        return predictions(trace.output_counts(self.integer.classes))

    def write(self, folder: str | Path) -> tuple[str, ...]:
        """Write the chip's own files and both networks into a new folder; their names there.

        Raises:
            UnsupportedError: nothing here writes files for that chip, or its vendor's tool refuses the network.
            DataError: something is there.
        """
        target = Path(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise DataError("something is there", where=str(target), hint="name a folder that is not there yet")
        try:
            written = write_chip(self.made, target)
        except SpikefoldError:
            shutil.rmtree(target, ignore_errors=True)  # nothing half-written is left
            raise
        return tuple(name.partition("/")[2] for name in written["artefacts"])

    def report(self, path: str | Path) -> Path:
        """Write one page: the verdicts, what was compared, cores and memory, operations and energy; its path."""
        target = Path(path)
        write_text(target, self._page())
        return target

    def to_json(self) -> dict[str, Any]:
        """Plain values: everything that the page shows."""
        of_chip = {
            "title": self.made.chip.title,
            "scales": [one.to_json() for one in self.made.scales],
            "passes": [dict(one) for one in self.made.passes if "clips" in one],
        }
        return {
            "schema_version": 1,
            "network": self.network,
            "chip": self.chip,
            "source": self.source,
            "identity": identity(self.integer),
            "verdicts": {key: verdict.to_json() for key, verdict in self.verdicts.items()},
            "fit": {self.chip: self.fit.to_json()},
            "parity": {} if self.parity is None else {self.chip: plain(self.parity)},
            "passes": [dict(one) for one in self.passes],
            "chips": {self.chip: of_chip},
            "energy": None if self.energy is None else dict(self.energy),
            "constants": [dict(one) for one in self.constants],
        }

    def _page(self) -> str:
        from spikefold.stages.report.network_page import NetworkPage, network_page

        content = self.to_json()
        return network_page(
            NetworkPage(
                f"{self.network} on {self.made.chip.title}",
                self.source or "no recordings were given, so nothing was compared",
                content["identity"],
                content["chips"],
                verdicts=content["verdicts"],
                fit=content["fit"],
                parity=content["parity"],
                passes=content["passes"],
                networks={} if self.energy is None else {self.chip: self.energy},
                constants=content["constants"],
            )
        )

    def _repr_html_(self) -> str:
        """The verdicts, for a notebook."""
        from spikefold.stages.report.network_page import verdict_table

        caption = f"{self.network} on {self.made.chip.title}"
        return verdict_table(caption, {key: verdict.to_json() for key, verdict in self.verdicts.items()})
