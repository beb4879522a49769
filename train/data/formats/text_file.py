# SPDX-License-Identifier: Apache-2.0
"""Text: a line ``t x y p`` for each event, as DVS128 Gait is published.

Format: https://github.com/zhangxiann/TPAMI_Gait_Identification, in ``EV-Gait-IMG`` the file
``convert_event_to_channel_image_tool.py``: four numbers separated by blanks, microseconds, column, row, and a
polarity that is 1 for ON and 0 or -1 for OFF. Columns count from the left and rows from the top, as in the images
that this program makes of them. Other text files have seconds: ``data.time_unit`` says so.
"""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np

from spikefold.errors import DataError
from spikefold.train.data.parsing.columns import from_columns
from spikefold.train.data.parsing.raw_events import RawEvents
from spikefold.train.data.parsing.reading import AS_IT_IS, Reading


def decode_text(data: bytes, reading: Reading = AS_IT_IS) -> RawEvents:
    """The events of a file. A last line of fewer than four numbers counts as cut short.

    Raises:
        DataError: bytes that are no text, or lines that are not four numbers.
    """
    hint = "each line is t x y p: microseconds, column, row, 0 or 1"
    body, newline, last = data.rpartition(b"\n")
    lost = len(last) if last.strip() and len(last.split()) < len("txyp") else 0
    whole = body + newline if lost else data
    if not whole.strip():
        raise DataError("no line of text", hint=hint)
    reading.check_events(whole.count(b"\n"), len(data))
    try:
        table = np.loadtxt(io.StringIO(whole.decode("ascii")), ndmin=2)
    except (ValueError, OverflowError) as error:
        raise DataError(f"no text of events: {error}", hint=hint) from error
    if table.shape[1] != len("txyp"):
        raise DataError(f"{table.shape[1]} columns", hint=hint)
    t, x, y, p = table.T
    raw = from_columns({"t": t, "x": x, "y": y, "p": p})
    return replace(raw, truncated=lost > 0, lost_bytes=lost)
