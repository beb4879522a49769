# SPDX-License-Identifier: Apache-2.0
"""Clips for a network, however they were given: a source of recordings by name, or frames and labels as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from spikefold.api.loading import Net
from spikefold.api.quiet import Quiet
from spikefold.errors import DataError
from spikefold.export.network import InputSpec
from spikefold.stages.chip_files import SAMPLE_CLIPS
from spikefold.stages.exchange.foreign import Foreign, recorded
from spikefold.train.data.clips import ClipSet

if TYPE_CHECKING:
    import torch

    Frames: TypeAlias = np.ndarray | torch.Tensor
    Data: TypeAlias = str | Frames | tuple[Frames, Frames]

_MOST = np.iinfo(np.uint16).max


@dataclass(frozen=True, eq=False)
class Given:
    """Clips to run a network on.

    Attributes:
        test: frames ``(T, N, C, H, W)`` and a label each; zeros where none were given.
        calibration: training frames for the search of the scales; None: the largest weight decides.
        labelled: whether the labels are real, so that an accuracy can be told.
        source: in words.
    """

    test: ClipSet
    calibration: np.ndarray | None
    labelled: bool
    source: str


def given(net: Net, data: Data | None, calibration: Frames | None) -> tuple[Foreign, Given | None]:
    """The network with what the recordings say of its steps, and the clips.

    Args:
        net: the network.
        data: ``npz:DIR`` or another source of ``spikefold run --data``; frames ``(T, N, C, H, W)``; or frames and
            labels ``(N,)``. None: a run's own test set, and nothing for other networks.
        calibration: training frames ``(T, N, C, H, W)``; by default those of the recordings.

    Raises:
        ConfigError: an unknown source.
        DataError: frames of another shape, that are no whole counts, or labels that do not go with them.
    """
    spec = net.network.input
    scales = None if calibration is None else whole_frames(calibration, spec, "calibration")
    if data is None:
        return net.foreign, _of_run(net, scales)
    if isinstance(data, str):
        foreign, found = recorded(net.foreign, data, net.dt_us, Quiet())
        return foreign, Given(found.test, found.calibration if scales is None else scales, True, data)
    frames, labels = data if isinstance(data, tuple) and len(data) == 2 else (data, None)
    clips = whole_frames(frames, spec, "data")
    told = np.zeros(clips.shape[1], np.int64) if labels is None else whole_labels(labels, clips.shape[1])
    return net.foreign, Given(ClipSet(clips, told), scales, labels is not None, f"{clips.shape[1]} clips")


def _of_run(net: Net, scales: np.ndarray | None) -> Given | None:
    if net.session is None:
        return None
    if scales is None:
        scales = net.session.first_clips("train", SAMPLE_CLIPS).frames
    return Given(net.session.clips("test"), scales, True, f"test clips of {net.name}")


def whole_frames(frames: Any, spec: InputSpec, where: str) -> np.ndarray:
    """Frames as ``(T, N, C, H, W)`` uint16.

    Raises:
        DataError: in words, another number of axes or steps, another shape of a frame, no clip, no whole counts.
    """
    found = np.asarray(frames)
    expected = f"({spec.steps} steps, clips, {spec.shape[0]} channels, {spec.shape[1]} rows, {spec.shape[2]} columns)"
    if found.ndim != 5 or (found.shape[0], *found.shape[2:]) != (spec.steps, *spec.shape) or not found.shape[1]:
        axes = ("steps", "clips", "channels", "rows", "columns")
        wrong = [
            f"{got} {name} where {need} are needed" for name, got, need in
            zip(axes, found.shape, (spec.steps, None, *spec.shape), strict=False) if need is not None and got != need
        ]  # fmt: skip
        what = f"it has {found.ndim} axes" if found.ndim != 5 else "; ".join(wrong) or "there is no clip"
        raise DataError(
            f"frames of shape {found.shape} do not go into this network: {what}",
            where=where,
            hint=f"give {expected}; `load` says steps=, and a batch with clips first is turned by swapaxes(0, 1)",
        )
    if found.dtype == bool:
        return found.astype(np.uint16)
    if not np.isfinite(found).all() or (found != np.round(found)).any() or found.min() < 0 or found.max() > _MOST:
        raise DataError(
            f"frames hold {float(found.min()):g} to {float(found.max()):g}, or parts of events",
            where=where,
            hint=f"a frame counts events: whole numbers from 0 to {_MOST:,}",
        )
    return found.astype(np.uint16)


def whole_labels(labels: Any, clips: int) -> np.ndarray:
    """Labels as ``(N,)`` int64.

    Raises:
        DataError: another number of them, or no whole numbers.
    """
    found = np.asarray(labels)
    if found.shape != (clips,) or not np.issubdtype(found.dtype, np.integer):
        got = f"shape {found.shape}, {found.dtype}"
        raise DataError("labels do not go with the clips", where="data", hint=f"{clips} whole numbers; got {got}")
    return found.astype(np.int64)
