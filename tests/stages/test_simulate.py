# SPDX-License-Identifier: Apache-2.0
"""The size of the parts in which clips stream through changes nothing; sums are those of the whole set."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from spikefold.export.io import load_network
from spikefold.hardware.simulators import clocked
from spikefold.hardware.simulators.accuracy import accuracy
from spikefold.session import Session, open_session
from spikefold.stages import simulate
from spikefold.stages.files.counts import counts_of_run
from spikefold.stages.files.simulate import SimulateFile
from spikefold.stages.files.traces import trace_of_run
from tests.silent import Silent


@pytest.fixture(scope="module")
def parts(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """The run, simulated again with 7 of its 30 clips at a time."""
    folder = tmp_path_factory.mktemp("parts") / "run"
    shutil.copytree(finished_run, folder)
    session = open_session(folder, Silent())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulate, "clips_at_once", lambda config: 7)
        simulate.simulate_stage(session)
    return session


def test_the_size_of_parts_changes_nothing(finished_run: Path, parts: Session) -> None:
    whole = open_session(finished_run, Silent())
    one, other = SimulateFile.of_run(whole), SimulateFile.of_run(parts)
    assert (one.shown, one.frames, one.labels) == (other.shown, other.frames, other.labels)
    assert one.variants == other.variants
    assert sum(variant.spikes for variant in one.variants.values()) > 10_000
    for name, variant in one.variants.items():
        found, again = (counts_of_run(session, name, variant) for session in (whole, parts))
        assert found.counts == again.counts
        assert found.rates == again.rates
        assert found.right.tolist() == again.right.tolist()
        for key in ("events", "spikes", "active_updates", "weighted"):
            assert np.array_equal(found.counts.by_step(key), again.counts.by_step(key))
        trace, same = (trace_of_run(session, name, variant) for session in (whole, parts))
        assert all(np.array_equal(trace.layers[key].raster, same.layers[key].raster) for key in trace.layers)


def test_sums_are_those_of_all_clips_run_at_once(parts: Session) -> None:
    clips = parts.clips("test")
    network = load_network(parts.folder / "4_export" / "loihi2" / "network")
    trace, found = clocked.run(network, clips.frames), SimulateFile.of_run(parts)
    variant, hits = found.variants["loihi2"], accuracy(trace.output_counts(10), clips.labels)
    assert (variant.accuracy, variant.ties, variant.clips) == (hits.share, hits.ties, 30)
    for name, layer in trace.layers.items():
        told = variant.layers[name]
        assert (told.spikes, told.rate, told.overflow) == (layer.spikes, float(layer.raster.mean()), layer.overflow)
        assert told.v_range == layer.v_range
        assert told.shown == int(layer.raster[:, found.shown].sum()) == layer.raster[:, found.shown].sum()
    kept = trace_of_run(parts, "loihi2", variant, network)
    assert all(
        np.array_equal(kept.layers[name].raster[:, 0], layer.raster[:, found.shown])
        for name, layer in trace.layers.items()
    )
    assert trace.spikes > 1000
