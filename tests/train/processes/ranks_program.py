# SPDX-License-Identifier: Apache-2.0
"""What each process of `test_parallel` runs under torchrun: trainings and attentions with a share of every batch."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from safetensors.torch import save_file

from spikefold.train.loop import train
from spikefold.train.processes.parallel import joined
from spikefold.train.state import Epoch
from tests.train.training_cases import GATED, SHARES, gated, shared_by_ranks

STOP_AFTER = 2


class StoppedError(Exception):
    """Stands for a kill between two epochs."""


def stop(epoch: Epoch) -> None:
    """Report, and end."""
    if epoch.number == STOP_AFTER:
        raise StoppedError


def main(out: Path) -> None:
    """Train each case, one of them stopped half way and taken up again; every rank writes what it got.

    Then one step of each attention on its own.
    """
    with joined() as ranks:
        for name in GATED:
            for share, sizes in SHARES.items():
                save_file(gated(name, sizes, ranks), out / f"{name}, {share}.{ranks.rank}.safetensors")
        for name, (config, clips) in shared_by_ranks().items():
            epochs: list[Epoch] = []
            state = out / "half.safetensors" if name == "resumed" else None
            if state is not None:
                try:
                    train(config, clips, 2, stop, state=state, ranks=ranks)
                except StoppedError:
                    pass
                else:
                    raise RuntimeError("not stopped")
            model = train(config, clips, 2, epochs.append, state=state, ranks=ranks)
            told = [[epoch.loss, epoch.accuracy] for epoch in epochs]
            (out / f"{name}.{ranks.rank}.json").write_text(json.dumps(told))
            save_file(model.state_dict(), out / f"{name}.{ranks.rank}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
