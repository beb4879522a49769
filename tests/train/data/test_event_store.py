# SPDX-License-Identifier: Apache-2.0
"""Recordings whose events lie in a file are the recordings that they were; a data set keeps no events in memory."""

from __future__ import annotations

import gc
import os
from copy import copy
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest

from spikefold.config import DataConfig
from spikefold.errors import EnvironmentLacksError
from spikefold.event_dtype import EVENT_DTYPE
from spikefold.train.data.datasets import load_dataset
from spikefold.train.data.event_store import EventStore, KeptRecording
from spikefold.train.data.events import Recording, save_packed
from spikefold.train.data.first_windows import FirstWindows
from spikefold.train.data.frames import Binning
from spikefold.train.data.repairs import Repairs


def _recording(count: int, seed: int = 0) -> Recording:
    rng, events = np.random.default_rng(seed), np.zeros(count, EVENT_DTYPE)
    events["t"] = np.sort(rng.integers(0, 10**6, count))
    events["x"], events["y"], events["p"] = (
        rng.integers(0, 9, count),
        rng.integers(0, 6, count),
        rng.integers(0, 2, count),
    )
    return Recording(events, (6, 9), seed % 3, f"clip {seed}", Repairs(outside=seed), seed % 2)


def test_events_come_back_as_they_went() -> None:
    store, recordings = EventStore(), [_recording(count, seed) for seed, count in enumerate((7, 0, 3000, 1))]
    kept = store.keep_all(recordings)
    for one, other in zip(recordings, kept, strict=True):
        assert isinstance(other, KeptRecording)
        assert other.events.dtype == EVENT_DTYPE
        assert other.events.tobytes() == one.events.tobytes()
        assert not other.events.flags.writeable
        for name in ("sensor", "label", "name", "repairs", "part", "duration_us"):
            assert getattr(other, name) == getattr(one, name)
        back = copy(other)  # as one gets it who has not the file
        assert type(back) is Recording
        assert back.events.tobytes() == one.events.tobytes()
    larger = store.keep(recordings[2]).on((60, 90))
    assert (larger.sensor, larger.label, larger.events.tobytes()) == ((60, 90), 2, recordings[2].events.tobytes())


def test_another_process_is_sent_the_file_and_not_the_events() -> None:
    store, recordings = EventStore(), [_recording(20_000, seed) for seed in range(3)]
    kept = FirstWindows(store.keep_all(recordings), Binning((6, 9), 1, 10**5, 8))
    sent = bytes(ForkingPickler.dumps(kept))
    assert len(sent) < 3000
    assert len(copy(kept.recordings[0]).events) == 20_000
    files = len(os.listdir("/proc/self/fd"))
    received = ForkingPickler.loads(sent)
    assert all(type(one) is KeptRecording for one in received.recordings)
    assert [(one.sensor, one.label) for one in received.recordings] == [((6, 9), label) for label in (0, 1, 2)]
    del store, kept  # whoever sent it may go
    gc.collect()
    sizes = [len(clip) for clip in received]
    assert all(10_000 < size < 20_000 for size in sizes)
    for clip, recording, size in zip(received, recordings, sizes, strict=True):
        assert clip.tobytes() == recording.events[:size].tobytes()
        assert recording.events["t"][size - 1] < 8 * 10**5 <= recording.events["t"][size]
    both = received[1:]
    assert [clip.tobytes() for clip in both] == [received[1].tobytes(), received[2].tobytes()]
    del received, both
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= files


def test_the_file_goes_with_its_last_recording() -> None:
    before = len(os.listdir("/proc/self/fd"))
    store = EventStore()
    kept = store.keep(_recording(5))
    del store
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before + 1
    assert len(kept.events) == 5
    del kept
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_full_disk_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(EnvironmentLacksError, match="No space left") as told:
        EventStore().keep(_recording(5))
    assert "TMPDIR" in told.value.hint


@pytest.mark.parametrize("source", ["npz", "folder", "digits"])
def test_a_data_set_keeps_no_events_in_memory(tmp_path: Path, source: str) -> None:
    for split in ("train", "test"):
        save_packed(tmp_path / f"{split}.npz", [_recording(50, seed) for seed in range(6)])
    for name in ("a", "b"):
        (tmp_path / "classes" / name).mkdir(parents=True)
        save_packed(tmp_path / "classes" / name / "0.npz", [_recording(50, seed) for seed in range(4)])
    place = {"npz": f"npz:{tmp_path}", "folder": f"folder:{tmp_path / 'classes'}", "digits": "digits"}[source]
    config = DataConfig(source=place, train=11, test=11)
    names = []
    for _ in range(2):  # of a generated set, made and read back
        found = load_dataset(config, 0, lambda *news: None)
        recordings = [*found.train, *found.test]
        names.append([one.name for one in recordings])
        assert len(recordings) >= 8
        assert all(isinstance(one, KeptRecording) and "events" not in vars(one) for one in recordings)
        assert all(len(one.events) > 40 for one in recordings)
    assert names[0] == names[1]
