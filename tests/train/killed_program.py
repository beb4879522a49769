# SPDX-License-Identifier: Apache-2.0
"""What `test_state` kills: a training that says which batch it is in, and stands still in the middle of an epoch."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from spikefold.train.data.clips import ClipSet
from spikefold.train.loop import train
from tests.train.training_cases import CONFIG, halves, with_everything


class Slow(ClipSet):
    """Stops in the third batch of the fourth epoch until it is killed."""

    seen = 0

    def batch(self, chosen: np.ndarray, epoch: int) -> np.ndarray:
        """The clips, and a line on stdout."""
        type(self).seen = self.seen + 1 if epoch == 4 else 0
        sys.stdout.write(f"epoch {epoch} batch {self.seen}\n")
        sys.stdout.flush()
        if self.seen == 3:
            time.sleep(600)
        return super().batch(chosen, epoch)


if __name__ == "__main__":
    clips = halves()
    slow = Slow(clips.frames, clips.labels)
    train(with_everything(CONFIG), slow, 2, lambda epoch: None, state=Path(sys.argv[1]))
