# SPDX-License-Identifier: Apache-2.0
"""``validate`` on many workers: each chip is compared by one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spikefold.export.network import Network
from spikefold.hardware.simulators.parity import Parity
from spikefold.session import Reporter
from spikefold.stages.chip_files import compare_runners
from spikefold.stages.spread.engine import Cluster, Task, spread
from spikefold.stages.spread.worker import Quiet, with_threads
from spikefold.train.processes.device import threads_of_process


@dataclass(frozen=True, eq=False)
class _Chip:
    name: str
    networks: tuple[Network, Network]
    frames: np.ndarray
    vendor_clips: int
    threads: int


def compare_spread(
    networks: Mapping[str, tuple[Network, Network]],
    frames: np.ndarray,
    vendor_clips: int,
    reporter: Reporter,
    cluster: Cluster,
) -> dict[str, Parity]:
    """As `compare_runners` with silent layers allowed, by the workers of a cluster; same arguments and errors."""
    count = threads_of_process()
    tasks = [Task(name, _Chip(name, both, frames, vendor_clips, count)) for name, both in networks.items()]
    found = dict(zip(networks, spread(_compared, tasks, cluster, reporter, "validate"), strict=True))
    for name, parity in found.items():
        for comparison in parity.comparisons:
            reporter.line(f"{name}: {comparison.describe()}")
    return found


def _compared(given: _Chip) -> Parity:
    with with_threads(given.threads):
        networks = {given.name: given.networks}
        return compare_runners(networks, given.frames, given.vendor_clips, Quiet(), allow_silent=True)[given.name]
