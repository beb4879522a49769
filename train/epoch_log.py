# SPDX-License-Identifier: Apache-2.0
"""Epochs for other tools to read: all of them as CSV, and as TensorBoard's event files while they are trained."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spikefold.errors import EnvironmentLacksError
from spikefold.train.state import Epoch

CSV = "epochs.csv"
TENSORBOARD = "tensorboard"
"""Folder of the event files in a run."""
_COLUMNS = ("network", "epoch", "of", "loss", "accuracy", "judged")
NamedEpoch = Callable[[str, Epoch], None]


def epochs_as_csv(history: Mapping[str, Sequence[Epoch]]) -> str:
    """One line an epoch and network; ``judged`` is empty where nothing chose among the epochs."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(_COLUMNS)
    for name, epochs in history.items():
        for one in epochs:
            judged = "" if one.judged is None else one.judged
            lines.writerow((name, one.number, one.of, one.loss, one.accuracy, judged))
    return text.getvalue()


@contextmanager
def watched(folder: Path | None) -> Iterator[NamedEpoch]:
    """Give every epoch to TensorBoard as it ends: ``loss``, ``accuracy`` and ``judged``, one line for each network.

    Args:
        folder: for the event files, a sub-folder for each network; None for none.

    Raises:
        EnvironmentLacksError: TensorBoard is not installed.
    """
    if folder is None:
        yield lambda name, epoch: None
        return
    writer_of = _writer_class()
    writers: dict[str, Any] = {}

    def note(name: str, epoch: Epoch) -> None:
        if name not in writers:
            writers[name] = writer_of(str(folder / name))
        for key in ("loss", "accuracy", "judged"):
            value = getattr(epoch, key)
            if value is not None:
                writers[name].add_scalar(key, value, epoch.number)
        writers[name].flush()

    try:
        yield note
    finally:
        for writer in writers.values():
            writer.close()


def _writer_class() -> Callable[[str], Any]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise EnvironmentLacksError(
            f"TensorBoard cannot be loaded: {error}", where="--tensorboard", hint="pip install tensorboard"
        ) from error
    return SummaryWriter
