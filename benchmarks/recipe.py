# SPDX-License-Identifier: Apache-2.0
"""What each part of the recipe is worth, by cross-validation on training recordings alone.

``python -m benchmarks.recipe --data npz:DIR [--seeds 0 1 2] [--variant NAME ...] [--out DIR]`` cuts the training
recordings into three folds. For each variant and seed it makes a run whose test set is a fold of the *training*
recordings (another one each seed) and whose training set is the rest; the real test recordings are never read. It
prints accuracy and spikes a clip of the float network, by events on Speck and on Loihi 2: means with standard
deviations over the seeds. Minutes a run.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np

from benchmarks.attention import network, run
from spikefold.config import Config, load_config
from spikefold.config_sections import RECORDED_CHANNELS, RECORDED_PENALTY, SAMPLE_CHANNELS, SAMPLE_PENALTY
from spikefold.train.data.datasets import load_dataset
from spikefold.train.data.events import save_packed

FOLDS = 3
_SHOWN = ("float", "speck2f.events", "loihi2")
VARIANTS = {
    "recipe": (),
    "no augmentation": ("train.augment=none", "train.shift=1"),
    "no label smoothing": ("train.label_smoothing=0",),
    "no penalty": ("train.synops_penalty=0", "adapt.spike_limit=0"),
    "penalty of the sample run": (f"train.synops_penalty={SAMPLE_PENALTY}",),
    "penalty for files": (f"train.synops_penalty={RECORDED_PENALTY}",),
    "gain 20": ("train.gain=20",),
    "16 epochs": ("train.epochs=16",),
    "spikes by events as before": ("adapt.spike_limit=1",),
    "batches of 20 by events": ("adapt.event_batch=20",),
    "8 epochs by events": ("adapt.event_epochs=8",),
    "4 epochs of adaptation": ("adapt.epochs=4",),
    "channels of the sample run": (f"model.channels={list(SAMPLE_CHANNELS)}",),
    "half as wide again": (f"model.channels={list(RECORDED_CHANNELS)}",),
    "adapted in steps": ("adapt.by=steps",),
    "not adapted": ("adapt.epochs=0",),
    "before this recipe": (
        "train.augment=none", "train.shift=1", "train.label_smoothing=0", "train.synops_penalty=0", "train.gain=20",
        "train.weight_decay=0", "train.decoupled_decay=false", "train.lr=2e-3", "train.epochs=16",
        "adapt.by=steps", "adapt.held_share=0",
    ),
}  # fmt: skip
"""What differs from the defaults, by name."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variant", action="append", choices=VARIANTS, default=[])
    parser.add_argument("--out", type=Path, default=Path("runs/recipe"))
    chosen = parser.parse_args()
    config = load_config(None, (f"data.source={chosen.data}",))
    fixed = [
        # a fold lies in files, what it was cut from perhaps not
        f"model.channels={list(config.model.channels)}",
        f"train.synops_penalty={config.train.synops_penalty}",
        "train.baseline=false",
        "chips.vendor_clips=1",
        "chips.parity_clips=5",
    ]
    for fold in {seed % FOLDS for seed in chosen.seeds}:
        _write_fold(config, fold, chosen.out / f"fold-{fold}")
    print(f"{chosen.data}, {len(chosen.seeds)} seeds, {FOLDS} folds of the training recordings")
    print(f"| variant | {' | '.join(f'{name}: accuracy | spikes' for name in _SHOWN)} |")
    print("|---" * (2 * len(_SHOWN) + 1) + "|")
    for name in chosen.variant or VARIANTS:
        reports = [
            run(
                chosen.out / f"{name.replace(' ', '-')}-{seed}",
                f"npz:{chosen.out / f'fold-{seed % FOLDS}'}",
                seed,
                [*fixed, *VARIANTS[name]],
            )
            for seed in chosen.seeds
        ]
        cells = []
        for shown in _SHOWN:
            found = [network(report, shown) for report in reports]
            cells += [_mean([one["accuracy"] for one in found], ".4f")]
            cells += [_mean([one["spikes_per_clip"] for one in found], ",.0f")]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _write_fold(config: Config, fold: int, folder: Path) -> None:
    """A data set whose test recordings are every third of the training recordings."""
    if (folder / "test.npz").is_file():
        return
    recordings = load_dataset(config.data, config.seed, lambda *_: None).train
    held = np.random.default_rng(0).permutation(len(recordings))[fold::FOLDS]
    folder.mkdir(parents=True, exist_ok=True)
    left = [one for index, one in enumerate(recordings) if index not in set(held.tolist())]
    save_packed(folder / "train.npz", left)
    save_packed(folder / "test.npz", [recordings[index] for index in sorted(held)])


def _mean(values: list[float], form: str) -> str:
    spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread}"


if __name__ == "__main__":
    main()
