# SPDX-License-Identifier: Apache-2.0
"""Peak memory and time of simulate, energy and evaluate as the recordings grow: ``python -m benchmarks.growth``.

One small network on made-up recordings, then each command in a process of its own on 500, 1000, 2000 and 4000.
Memory is the process's largest resident set. The exponent of time is of what the clips take, without the start of the
process: that of ``t(4000) - t(2000)`` against ``t(1000) - t(500)``, which are of four times as many clips.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

# what is heavy is imported by the processes that are measured: a child's largest set begins with its parent's
SIZES = (500, 1000, 2000, 4000)
VERBS = ("simulate", "energy", "evaluate")
SENSOR, EVENTS, CLASSES = 24, 200, 5
SETTINGS = (
    "data.steps=5", "model.channels=[6,8]", "model.strides=[2,2]", "train.epochs=10", "train.batch=10",
    "adapt.epochs=1", "gates.tolerance=1.0", "chips.parity_clips=5",
)  # fmt: skip


def recordings(folder: Path, split: str, count: int) -> None:
    """Pack made-up recordings: a spot of each class's own place, in noise."""
    import numpy as np

    from spikefold.train.data.events import Recording, pack_events, save_packed

    def one(index: int) -> Recording:
        rng, label = np.random.default_rng([count, index]), index % CLASSES
        t, p = np.sort(rng.integers(0, 50_000, EVENTS)), rng.integers(0, 2, EVENTS)
        place = np.where(rng.random((2, EVENTS)) < 0.7, 3 + 4 * label + rng.integers(0, 3, (2, EVENTS)), SENSOR)
        x, y = np.where(place == SENSOR, rng.integers(0, SENSOR, (2, EVENTS)), place)
        return Recording(pack_events(t, x, y, p), (SENSOR, SENSOR), label, f"{split} {index}")

    folder.mkdir(parents=True, exist_ok=True)
    save_packed(folder / f"{split}.npz", [one(index) for index in range(count)])


def prepare(place: Path, sizes: tuple[int, ...]) -> None:
    """Train, fold, adapt and export one run, and copy it for each size with as many test recordings."""
    from spikefold.config import load_config, to_toml
    from spikefold.files import write_text
    from spikefold.session import CONFIG, new_session
    from spikefold.stage_table import ADAPT, EXPORT, FOLD, TRAIN

    recordings(place / "small", "train", 150)
    recordings(place / "small", "test", 10)
    config = load_config(None, SETTINGS)
    config = config.model_copy(update={"data": config.data.model_copy(update={"source": f"npz:{place / 'small'}"})})
    session = new_session(config, place / "run", _Silent())
    for stage in (TRAIN, FOLD, ADAPT, EXPORT):
        stage.load()(session)
    for size in sizes:
        recordings(place / str(size), "test", size)
        shutil.copy(place / "small" / "train.npz", place / str(size))
        run = place / f"run{size}"
        shutil.copytree(session.folder, run)
        data = session.resolved().data.model_copy(update={"source": f"npz:{place / str(size)}"})
        write_text(run / CONFIG, to_toml(config.model_copy(update={"data": data})))


def measure(verb: str, place: Path, size: int) -> dict[str, float]:
    """Do one command in this process: peak memory in MB, processor seconds."""
    from spikefold.session import open_session
    from spikefold.stage_table import ENERGY, SIMULATE

    session = open_session(place / f"run{size}", _Silent())
    if verb == "evaluate":
        from spikefold.stages.evaluate.on_recordings import Asked, evaluate
        from spikefold.stages.evaluate.write import write_evaluation

        write_evaluation(evaluate(session, Asked(f"npz:{place / str(size)}")), place / f"evaluation{size}")
    else:
        {"simulate": SIMULATE, "energy": ENERGY}[verb].load()(session)
    return {"mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "s": time.process_time()}


def table(sizes: tuple[int, ...] = SIZES) -> Iterator[tuple[str, str]]:
    """Rows for the benchmarks."""
    with tempfile.TemporaryDirectory() as folder:
        _child("prepare", folder, *map(str, sizes))
        for verb in VERBS:
            found = [json.loads(_child(verb, folder, str(size))) for size in sizes]
            for size, one in zip(sizes, found, strict=True):
                growth = one["mb"] / found[0]["mb"] - 1
                yield f"{verb}, {size} clips", f"{one['mb']:7.0f} MB ({growth:+.1%})  {one['s']:7.1f} s"
            yield f"{verb}, exponent of time", f"{exponent([one['s'] for one in found]):.2f}"


def exponent(seconds: list[float]) -> float:
    """Of the time that clips take, of sizes that double each time; what a process takes to start drops out."""
    steps = [after - before for before, after in pairwise(seconds)]
    return math.log2(steps[-1] / steps[0]) / (len(steps) - 1)


def _child(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.growth", *arguments]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=one_thread)
    return done.stdout


class _Silent:
    """Reports nothing."""

    def line(self, text: str) -> None:
        """Nothing."""

    def progress(self, task: str, done: int, of: int, note: str = "") -> None:
        """Nothing."""


def main() -> None:
    """Print the table, or be one of the processes that it measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", nargs="?", choices=("table", "prepare", *VERBS), default="table")
    parser.add_argument("place", nargs="?", type=Path)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
    given = parser.parse_args()
    if given.verb == "prepare":
        prepare(given.place, tuple(given.sizes))
    elif given.verb in VERBS:
        print(json.dumps(measure(given.verb, given.place, given.sizes[0])))
    else:
        for name, figure in table():
            print(f"{name:<30} {figure}", flush=True)


if __name__ == "__main__":
    main()
