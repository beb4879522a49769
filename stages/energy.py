# SPDX-License-Identifier: Apache-2.0
"""``7_energy``: count the operations of every rung of the ladder, price them, Eq. 11 against the twin."""

from __future__ import annotations

from typing import Any

from spikefold.config import ModelConfig
from spikefold.energy.budget import (
    AttentionCost,
    Budget,
    Profile,
    attention_cost,
    budget,
    equation_11,
    load_profile,
)
from spikefold.energy.counts import count
from spikefold.export.io import load_network
from spikefold.export.network import Network
from spikefold.export.ops import Gate
from spikefold.hardware.trace import load_trace
from spikefold.session import ENERGY, FOLD, SIMULATE, TWIN, Session, read_json, write_json


def energy_stage(session: Session) -> None:
    """Write counts and budgets by rung; only the trained network pays for dynamic attention."""
    profile = load_profile(session.config.energy_profile)
    test, simulated = session.clips("test"), session.path(SIMULATE)
    unfolded = load_network(session.path(FOLD) / "unfolded")
    cost = _attention_cost(unfolded, session.config.model, len(test))
    networks = {}
    for name, rung in read_json(simulated / "simulate.json").items():
        # the twin has the same connections: batch norm, pools and gates carry no synapses
        network = load_network(session.folder / rung["network"])
        counts = count(network, test.frames, load_trace(simulated / f"trace.{name}.npz"))
        networks[name] = counts, budget(counts, profile, cost if name == "float" else None)
    results: dict[str, Any] = {"profile": profile.model_dump(mode="json")}
    if TWIN in networks:
        twin = networks[TWIN][1]
        results["eq11"] = {
            "dynamic": equation_11(networks["float"][1], twin, profile).to_json(),
            "static": equation_11(_same_geometry(unfolded, session, profile), twin, profile).to_json(),
        }
    results["networks"] = {name: {"counts": c.to_json(), "budget": b.to_json()} for name, (c, b) in networks.items()}
    with session.writing(ENERGY) as folder:
        write_json(folder / "energy.json", results)
    for name, (c, b) in networks.items():
        session.reporter.line(f"{name}: {b.energy_pj_per_clip / 1e6:.3f} uJ per clip, NASFR {c.nasfr:.4f}")


def _same_geometry(unfolded: Network, session: Session, profile: Profile) -> Budget:
    """The static network's spikes on the unfolded connections: Eq. 11 is to see attention alone, not folding."""
    trace = load_trace(session.path(SIMULATE) / "trace.folded.npz")
    return budget(count(unfolded, session.clips("test").frames, trace), profile)


def _attention_cost(unfolded: Network, config: ModelConfig, clips: int) -> AttentionCost:
    shapes = {layer.name: unfolded.shapes[layer.name] for layer in unfolded if isinstance(layer.op, Gate)}
    return attention_cost(shapes, unfolded.input.steps, clips, mlp=config.attention == "asa1")
