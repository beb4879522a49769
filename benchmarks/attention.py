# SPDX-License-Identifier: Apache-2.0
"""Attention against none, as trained and on the chips: accuracy, spikes, operations, energy over several seeds.

``python -m benchmarks.attention --data npz:DIR --seeds 0 1 2 3 4 [--out DIR] [--set KEY=VALUE ...]`` makes one run
for each seed (one that exists is read), and prints four tables: each seed's accuracy and spikes; means with standard
deviations, with the difference of the pairs (attention - baseline of one seed, on the same chip); what each
adaptation did on the training recordings that chose; time and memory of each run. Minutes a run.

The baseline is the same network without attention and without the penalty on operations, trained and adapted alike.
MAC, AC and energy are by the run's rule and profile, attention's own products included.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PAIRS = {
    "float": "vanilla",
    "constant": "vanilla",
    "speck2f": "speck2f.vanilla",
    "speck2f.events": "speck2f.vanilla.events",
    "loihi2": "loihi2.vanilla",
}
"""Each network and what stands beside it; ``constant`` has gates that are one number a layer."""
_COST = "benchmark.json"
Network = dict[str, Any]
"""A variant of the ladder together with its counts and its budget."""
_COLUMNS: dict[str, tuple[Callable[[Network], float], str]] = {
    "accuracy": (lambda found: found["accuracy"], ".3f"),
    "spikes": (lambda found: found["spikes_per_clip"], ",.0f"),
    "SynOps": (lambda found: sum(_operations(found)), ",.0f"),
    "behind the input": (lambda found: sum(_operations(found)[1:]), ",.0f"),
    "AC": (lambda found: found["budget"]["ac_per_clip"], ",.0f"),
    "MAC": (lambda found: found["budget"]["mac_per_clip"], ",.0f"),
    "energy_uj": (lambda found: found["budget"]["energy_pj_per_clip"] / 1e6, ".3f"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="gestures")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/attention"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    chosen = parser.parse_args()
    folders = [chosen.out / f"seed-{seed}" for seed in chosen.seeds]
    reports = [run(folder, chosen.data, seed, chosen.set) for folder, seed in zip(folders, chosen.seeds, strict=True)]
    print(f"{chosen.data}, {platform.machine()} {_processor()}")
    each_seed(chosen.seeds, reports)
    means(reports)
    adaptations(chosen.seeds, reports)
    costs(chosen.seeds, folders)


def run(folder: Path, data: str, seed: int, sets: list[str]) -> dict[str, Any]:
    """The report of a run, which is made where it does not exist."""
    if not (folder / "report.json").is_file():
        keys = [f"seed={seed}", *sets]
        command = [sys.executable, "-m", "spikefold.pipeline", "run", "--data", data, "--out", str(folder)]
        began = time.perf_counter()
        subprocess.run([*command, *(part for key in keys for part in ("--set", key))], check=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cost = {"seconds": time.perf_counter() - began, "peak_mb": used.ru_maxrss / 1024}
        (folder / _COST).write_text(json.dumps(cost), encoding="utf-8")
    found: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return found


def each_seed(seeds: list[int], reports: list[dict[str, Any]]) -> None:
    """Accuracy and spikes a clip of each seed."""
    print(f"| accuracy; spikes a clip | {' | '.join(f'seed {seed}' for seed in seeds)} | mean |")
    print("|---" * (len(seeds) + 2) + "|")
    for name in dict.fromkeys([*PAIRS, *PAIRS.values()]):
        found = [network(report, name) for report in reports]
        cells = [f"{one['accuracy']:.3f}; {one['spikes_per_clip']:,.0f}" for one in found]
        mean = (
            statistics.mean(one["accuracy"] for one in found),
            statistics.mean(one["spikes_per_clip"] for one in found),
        )
        print(f"| {name} | {' | '.join(cells)} | {mean[0]:.3f}; {mean[1]:,.0f} |")


def means(reports: list[dict[str, Any]]) -> None:
    """Means with their spread, of each network, of its baseline, and of the difference."""
    energy = reports[0]["energy"]
    print(f"\n{len(reports)} seeds, a clip, {energy['profile']['name']}, rule {reports[0]['config']['energy_rule']}")
    print(f"| network | {' | '.join(_COLUMNS)} |")
    print("|---" * (len(_COLUMNS) + 1) + "|")
    for name, beside in PAIRS.items():
        values = [
            {key: [read(network(report, of)) for report in reports] for key, (read, _) in _COLUMNS.items()}
            for of in (beside, name)
        ]
        pairs = {key: [b - a for a, b in zip(values[0][key], values[1][key], strict=True)] for key in _COLUMNS}
        for kind, found in ((beside, values[0]), (name, values[1]), (f"{name} - {beside}", pairs)):
            print(f"| {kind} | {' | '.join(_mean(found[key], form) for key, (_, form) in _COLUMNS.items())} |")
        shares = (
            f"{100 * statistics.mean(pairs[key]) / statistics.mean(values[0][key]):+.0f} %"
            if statistics.mean(values[0][key])
            else "-"
            for key in _COLUMNS
        )
        print(f"| the same in per cent | {' | '.join(shares)} |")


def adaptations(seeds: list[int], reports: list[dict[str, Any]]) -> None:
    """What each adaptation did on the training recordings that no weight was trained on."""
    print("\n| seed, chip | held | before | kept | accuracy | spikes |")
    print("|---" * 6 + "|")
    for seed, report in zip(seeds, reports, strict=True):
        for chip, adapted in report["adapted"].items():
            if (selection := adapted["selection"]) is None:
                continue
            by_name = {one["name"]: one for one in selection["candidates"]}
            before, kept = by_name["before"], by_name[selection["kept"]]
            print(
                f"| {seed}, {chip} | {selection['held']} | {before['accuracy']:.3f}; {before['spikes']:,.0f} "
                f"| {kept['name']} | {kept['accuracy']:.3f} ({kept['accuracy'] - before['accuracy']:+.3f}) "
                f"| {kept['spikes']:,.0f} |"
            )


def costs(seeds: list[int], folders: list[Path]) -> None:
    """Seconds, and the largest process so far in megabytes."""
    print("\n| seed | seconds | peak MB |\n|---|---|---|")
    for seed, folder in zip(seeds, folders, strict=True):
        if (folder / _COST).is_file():
            cost = json.loads((folder / _COST).read_text(encoding="utf-8"))
            print(f"| {seed} | {cost['seconds']:.0f} | {cost['peak_mb']:.0f} |")


def network(report: dict[str, Any], name: str) -> Network:
    """A variant of the ladder with its counts."""
    variant = next(variant for variant in report["accuracy_ladder"] if variant["name"] == name)
    found: Network = variant | report["energy"]["networks"][name]
    return found


def _operations(found: Network) -> list[float]:
    """Synaptic operations a clip by layer, that of the input first."""
    return [layer["events"] / found["counts"]["clips"] for layer in found["counts"]["layers"]]


def _mean(values: list[float], form: str) -> str:
    spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread}"


def _processor() -> str:
    """The name of the processor, where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


if __name__ == "__main__":
    main()
