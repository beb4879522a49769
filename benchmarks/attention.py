# SPDX-License-Identifier: Apache-2.0
"""Attention against none, as trained and on the chips: accuracy, firing rate, operations, energy over several seeds.

``python -m benchmarks.attention --data npz:DIR --seeds 0 1 2 [--budget SHARE] [--out DIR]`` makes two runs for each
seed (a run that exists is read), with equal training and adaptation, and prints one table. With a budget the network
with attention is adapted to SHARE of the synaptic operations of its seed's vanilla network. Minutes a run.

Each figure is a mean over the seeds with its standard deviation, and the difference of the pairs (ASA - vanilla of
one seed) with theirs. MAC, AC and energy are by the run's rule and profile, attention's own products included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="gestures")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budget", type=float)
    parser.add_argument("--out", type=Path, default=Path("runs/attention"))
    chosen = parser.parse_args()
    vanilla, asa = [], []
    for seed in chosen.seeds:
        vanilla.append(_run(chosen.out / f"vanilla-{seed}", chosen.data, seed, "none", None))
        budget = None if chosen.budget is None else chosen.budget * _synops(vanilla[-1], "speck2f")
        name = f"asa-{seed}" if budget is None else f"asa-{seed}-{chosen.budget}"
        asa.append(_run(chosen.out / name, chosen.data, seed, "asa1", budget))
    _table(vanilla, asa)


def _run(folder: Path, data: str, seed: int, attention: str, budget: float | None) -> dict[str, Any]:
    if not (folder / "report.json").is_file():
        sets = [f"seed={seed}", f"model.attention={attention}", "train.baseline=false"]
        sets += [] if budget is None else [f"adapt.synops_budget={budget:.0f}"]
        command = [sys.executable, "-m", "spikefold.pipeline", "run", "--data", data, "--out", str(folder)]
        subprocess.run([*command, *(part for key in sets for part in ("--set", key))], check=True)
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


Network = dict[str, Any]
"""A variant of the ladder together with its counts and its budget."""

_COLUMNS: dict[str, tuple[Callable[[Network], float], str]] = {
    "accuracy": (lambda found: found["accuracy"], ".3f"),
    "NASFR": (lambda found: found["counts"]["nasfr"], ".4f"),
    "spikes": (lambda found: found["spikes_per_clip"], ",.0f"),
    "SynOps": (lambda found: sum(_operations(found)), ",.0f"),
    "behind the input": (lambda found: sum(_operations(found)[1:]), ",.0f"),
    "AC": (lambda found: found["budget"]["ac_per_clip"], ",.0f"),
    "MAC": (lambda found: found["budget"]["mac_per_clip"], ",.0f"),
    "energy_uj": (lambda found: found["budget"]["energy_pj_per_clip"] / 1e6, ".3f"),
}


def _network(report: dict[str, Any], name: str) -> Network:
    variant = next(variant for variant in report["accuracy_ladder"] if variant["name"] == name)
    return variant | report["energy"]["networks"][name]


def _synops(report: dict[str, Any], name: str) -> float:
    return float(_network(report, name)["synops_per_clip"])


def _operations(found: Network) -> list[float]:
    """Synaptic operations a clip by layer, that of the input first."""
    return [layer["events"] / found["counts"]["clips"] for layer in found["counts"]["layers"]]


def _table(vanilla: list[dict[str, Any]], asa: list[dict[str, Any]]) -> None:
    print(f"{len(asa)} seeds, a clip, {asa[0]['energy']['profile']['name']}, rule {asa[0]['config']['energy_rule']}")
    print(f"| network | {' | '.join(_COLUMNS)} |")
    print("|---" * (len(_COLUMNS) + 1) + "|")
    for name in ("float", "folded", "speck2f", "speck2f.events", "loihi2"):
        values = [
            {key: [read(_network(report, name)) for report in reports] for key, (read, _) in _COLUMNS.items()}
            for reports in (vanilla, asa)
        ]
        pairs = {key: [b - a for a, b in zip(values[0][key], values[1][key], strict=True)] for key in _COLUMNS}
        for kind, found in zip(("vanilla", "ASA", "ASA - vanilla"), (*values, pairs), strict=True):
            cells = (_mean(found[key], form) for key, (_, form) in _COLUMNS.items())
            print(f"| {name}, {kind} | {' | '.join(cells)} |")
        shares = (
            f"{100 * statistics.mean(pairs[key]) / statistics.mean(values[0][key]):+.0f} %"
            if statistics.mean(values[0][key])
            else "-"
            for key in _COLUMNS
        )
        print(f"| {name}, difference | {' | '.join(shares)} |")


def _mean(values: list[float], form: str) -> str:
    spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread}"


if __name__ == "__main__":
    main()
