# SPDX-License-Identifier: Apache-2.0
"""Static attention against none, on the chips: accuracy and synaptic operations over several seeds.

``python -m benchmarks.attention --data npz:DIR --seeds 0 1 2 [--budget SHARE] [--out DIR]`` makes two runs for each
seed (a run that exists is read), with equal training and adaptation, and prints one table. With a budget the network
with attention is adapted to SHARE of the synaptic operations of its seed's vanilla network. Minutes a run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np


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
        sets = [f"seed={seed}", f"model.attention={attention}", "train.twin=false"]
        sets += [] if budget is None else [f"adapt.synops_budget={budget:.0f}"]
        command = [sys.executable, "-m", "spikefold.pipeline", "run", "--data", data, "--out", str(folder)]
        subprocess.run([*command, *(part for key in sets for part in ("--set", key))], check=True)
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def _rung(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(rung for rung in report["ladder"] if rung["name"] == name)


def _synops(report: dict[str, Any], name: str) -> float:
    return float(_rung(report, name)["synops_per_clip"])


def _table(vanilla: list[dict[str, Any]], asa: list[dict[str, Any]]) -> None:
    print("| network | accuracy by seed | mean | SynOps a clip | against vanilla | behind the input |")
    print("|---|---|---|---|---|---|")
    for name in ("float", "folded", "speck2f", "loihi2"):
        base = {key: np.mean([_operations(r, name)[key] for r in vanilla]) for key in ("all", "hidden")}
        for kind, reports in (("vanilla", vanilla), ("ASA", asa)):
            accuracies = [_rung(r, name)["accuracy"] for r in reports]
            found = {key: np.mean([_operations(r, name)[key] for r in reports]) for key in ("all", "hidden")}
            shares = {key: f"{100 * (found[key] / base[key] - 1):+.0f} %" for key in found}
            each = " ".join(f"{a:.3f}" for a in accuracies)
            print(f"| {name} {kind} | {each} | {np.mean(accuracies):.3f} | {found['all']:,.0f} | {shares['all']} "
                  f"| {shares['hidden']} |")  # fmt: skip


def _operations(report: dict[str, Any], name: str) -> dict[str, float]:
    counts = report["energy"]["networks"][name]["counts"]
    by_layer = [layer["events"] / counts["clips"] for layer in counts["layers"]]
    return {"all": sum(by_layer), "hidden": sum(by_layer[1:])}


if __name__ == "__main__":
    main()
