# SPDX-License-Identifier: Apache-2.0
"""Says what Loihi 2 and Loihi 1 (Intel) are: 8-bit weights, 24-bit states in units of 1/128 weight, 12-bit leak.

Loihi 2 is reached through lava-dl's netx, which writes ``2 * q`` for an int8 weight q; the state counts 1/64 of a
written weight: 1/128 of q. Thresholds (17 bit) and biases (13 bit) are written doubled as well, so both have one bit
less here. Loihi 1 has the same numbers (its mixed weights are 9 bits wide and even, so ``2 * q`` again), another
memory and no graded spikes. For Loihi 1 we say whether a network fits; nothing here writes its files or simulates it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikefold.errors import Issue
from spikefold.export.network import INPUT, Network
from spikefold.export.neuron import Fire, Overflow, Reset
from spikefold.export.numbers import NumberFormat
from spikefold.export.passes.maxpool_to_or import maxpool_to_or
from spikefold.export.passes.pool_into_weights import pool_into_weights
from spikefold.hardware.chip import Chip, Lowered, NetworkReader, NotRun, PublishedProfiles, Resources, rules_of
from spikefold.hardware.loihi import cores as loihi_cores
from spikefold.hardware.loihi import loihi1_cores
from spikefold.hardware.loihi.always_on import always_on
from spikefold.hardware.loihi.rules import (
    LEAK_SHIFT,
    NUMBER_RULES,
    RULES,
    STATE_BITS,
    STATE_SHIFT,
    SUM_MAX,
    THRESHOLD_MAX,
    Site,
    broken,
    violations,
)

if TYPE_CHECKING:
    from spikefold.hardware.core_work import CoreWork
    from spikefold.hardware.simulators.parity import Runner
    from spikefold.hardware.simulators.trace import Trace

NUMBERS = NumberFormat(
    weight_bits=8,
    bias_bits=12,
    threshold_max=THRESHOLD_MAX,
    state_bits=STATE_BITS,
    overflow=Overflow.SATURATE,
    resets=frozenset({Reset.ZERO}),
    state_shift=STATE_SHIFT,
    leak_shift=LEAK_SHIFT,
    current_shift=LEAK_SHIFT,
    lasting_bias_bits=8,
    fire_leaky=Fire.GT,
    sum_max=SUM_MAX,
)


def binary_input(site: Site) -> Iterator[Issue]:
    """An input is 0 or 1 in a step: Loihi 1 has no graded spikes."""
    if INPUT in site.layer.inputs and site.count > 1:
        hint = "clip the counts at 1, or bin into shorter steps"
        yield Issue("An input is 0 or 1 in a step", site.layer.name, f"up to {site.count}", "1", hint)


LOIHI1_LAYER_RULES = (*NUMBER_RULES, binary_input)


def a_core_holds_a_part(network: Network) -> list[Issue]:
    """A layer can be cut until one core holds a part: 1024 neurons, 4096 axons in, 4096 out, 2^20 synaptic bits."""
    if not network.is_integer:  # how much memory a weight takes is not known yet
        return []
    return [
        Issue(
            "A layer can be cut until one core holds a part",
            name,
            f"{finest.used[limit]} {limit}",
            str(loihi1_cores.LIMITS[limit]),
            "stride or pool before it, or use fewer channels",
        )
        for name, _, finest in loihi1_cores.cuts(network)
        for limit in finest.over
    ]


def loihi1_violations(network: Network) -> list[Issue]:
    """Every rule of Loihi 1 that the network breaks."""
    return broken(LOIHI1_LAYER_RULES, network) + a_core_holds_a_part(network)


def _lower(real: Network, integer: Network, folder: Path) -> Lowered:
    from spikefold.hardware.loihi.to_netx import write_net, write_script

    write_net(integer, folder / "network.net")
    inputs = always_on(integer).inputs
    script = write_script(folder / "network.py", inputs)
    most = integer.input.max_count or 1
    graded = f"input spikes carry event counts up to {most}: graded spikes, which Loihi 2 has and Loihi 1 has not"
    on = f"the last {inputs} inputs of network.net are on in every step, for biases beside a current that lasts: "
    on += "network.py adds them"
    return Lowered(("network.net", script.name), ((graded,) if most > 1 else ()) + ((on,) if inputs else ()))


def _simulator(real: Network, integer: Network) -> Runner:
    from spikefold.hardware.loihi.lava import client

    def run(frames: np.ndarray, *, potentials: bool = False) -> Trace:
        return client.run(integer, frames, potentials=potentials)

    return run


def _resources(network: Network) -> Resources:
    return loihi_cores.resources(always_on(network).network)


def _rounding(real: Network, integer: Network, frames: np.ndarray) -> dict[str, Any]:
    from spikefold.hardware.loihi.rounding import measure

    return measure(real, integer, frames).to_json()


def _core_work(network: Network, frames: np.ndarray, trace: Trace) -> dict[str, CoreWork]:
    from spikefold.hardware.loihi.core_work import core_work

    return core_work(network, frames, trace)


def _read_net(
    path: Path,
    *,
    steps: int | None = None,
    dt_us: int = 10_000,
    classes: int | None = None,
    input_shape: tuple[int, int, int] | None = None,
    ignore_input_bias: bool = False,
) -> Network:
    from spikefold.hardware.loihi.from_netx import from_net

    return from_net(
        path, steps=steps, dt_us=dt_us, classes=classes, input_shape=input_shape, ignore_input_bias=ignore_input_bias
    )


def _environment() -> Mapping[str, str]:
    from spikefold.hardware.loihi.lava.provision import VERSIONS, is_provisioned

    return {"lava": VERSIONS if is_provisioned() else "absent"}


def _not_run() -> tuple[NotRun, ...]:
    return (NotRun("Loihi 2 hardware", "needs Intel's research community and its closed runtime"),)


# a .net file has one threshold a layer, so a factor per neuron has no place; one per channel goes into the weights
_GATE_FORMS = ("channel", "mask")
# neither chip has pools, and sums of spikes are graded spikes that only the weights behind them take
_REWRITES = (pool_into_weights, maxpool_to_or)
LOIHI2 = Chip(
    "loihi2",
    "Intel Loihi 2",
    NUMBERS,
    violations,
    gate_forms=_GATE_FORMS,
    rules=rules_of(*RULES),
    resources=_resources,
    rewrites=_REWRITES,
    counts_any=True,
    lower=_lower,
    vendor_simulator=_simulator,
    rounding_report=_rounding,
    core_work=_core_work,
    published=PublishedProfiles(
        "loihi2",
        "loihi1-presilicon",
        "numbers of Loihi 1, pre-silicon, with the cores that Loihi 2 would use: of Loihi 2 itself no energy by "
        "operation is published, only what bounds it",
    ),
    readers=(NetworkReader("net", _read_net),),
    not_run=_not_run,
    environment=_environment,
)
LOIHI1 = Chip(
    "loihi1",
    "Intel Loihi 1",
    NUMBERS,
    loihi1_violations,
    gate_forms=_GATE_FORMS,
    rules=rules_of(*LOIHI1_LAYER_RULES, a_core_holds_a_part),
    resources=loihi1_cores.resources,
    rewrites=_REWRITES,
    published=PublishedProfiles("loihi1-presilicon"),
)
