# SPDX-License-Identifier: Apache-2.0
"""Our readers against the vendor's own library, on random recordings that it writes; skipped where it is absent.

``dv-processing`` (iniVation, Apache 2.0) writes and reads AEDAT 4. Not used: ``expelliarmus``, whose licence is
the GPL, and ``evlib`` (MIT), which needs polars, pyarrow and pandera.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikefold.train.data.readers import read
from tests.train.data.formats.format_cases import tuples


@pytest.mark.parametrize("compression", ["NONE", "LZ4", "LZ4_HIGH", "ZSTD", "ZSTD_HIGH"])
def test_aedat4_of_dv_processing_is_read_as_it_wrote_it(compression: str, tmp_path: Path) -> None:
    dv = pytest.importorskip("dv_processing", reason="dv-processing is absent: nothing to compare with")
    if compression != "NONE":
        pytest.importorskip("lz4" if compression.startswith("LZ4") else "zstandard")
    rng = np.random.default_rng(len(compression))
    count, (height, width) = 20_000, (260, 346)
    t = np.sort(rng.integers(1_700_000_000_000_000, 1_700_000_001_000_000, count))
    rows = np.stack([t, rng.integers(0, width, count), rng.integers(0, height, count), rng.integers(0, 2, count)], 1)
    store = dv.EventStore()
    for stamp, x, y, p in rows.tolist():
        store.push_back(stamp, x, y, bool(p))
    path = tmp_path / "a.aedat4"
    packing = getattr(dv.CompressionType, compression)
    config = dv.io.MonoCameraWriter.EventOnlyConfig("DAVIS346_1", (width, height), packing)
    writer = dv.io.MonoCameraWriter(str(path), config)
    writer.writeEvents(store)
    del writer  # closes the file
    (recording,) = read(path)
    assert recording.sensor == (height, width)
    theirs = dv.io.MonoCameraRecording(str(path))
    batches = iter(theirs.getNextEventBatch, None)
    events = [(e.timestamp(), e.x(), e.y(), int(e.polarity())) for batch in batches for e in batch]
    start = int(rows[0, 0])
    assert tuples(recording, start) == events == [tuple(row) for row in rows.tolist()]
    assert len(events) == count
