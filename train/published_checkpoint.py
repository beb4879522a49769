# SPDX-License-Identifier: Apache-2.0
"""The authors' checkpoints of ASA-SNNs as networks of ours.

They are what ``train_test.py`` of BICLab/ASA-SNN (c68b2d0) saves: ``torch.save(model.state_dict())``; the names of
its tensors are in `published_names`. Its frames are ``(polarity, x, y)`` where ours are ``(polarity, y, x)``, so
kernels are transposed, and so is the map that the first dense layer reads. SpikingJelly's ``sew_resnet18`` has our
axes. A state dict says widths, steps, classes and attention; threshold and leak are those of the architecture's runs.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path

import torch

from spikefold.config import ModelConfig
from spikefold.errors import ConfigError, DataError, Issue, nearest
from spikefold.export.ops import Shape
from spikefold.train.models.architectures import Architecture, architecture
from spikefold.train.models.spiking_net import SpikingNet, final_map
from spikefold.train.published_names import UNUSED, Tensors, names_of

PUBLISHED = ("a", "b", "c", "d", "sew18")
"""The architectures whose checkpoints can be read."""


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a ``.pth`` file, which are read without running any code in it.

    Raises:
        DataError: no such file, or it holds something else than a state dict.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, LookupError) as error:
        raise DataError(
            f"cannot read the checkpoint: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            where=str(path), hint="a state dict of tensors alone, as torch.save(model.state_dict(), path) writes it",
        ) from error  # fmt: skip
    if isinstance(found, dict) and isinstance(found.get("net"), dict):
        found = found["net"]
    tensors = isinstance(found, dict) and all(isinstance(value, torch.Tensor) for value in found.values())
    if not tensors or not found:
        raise DataError("the file holds no state dict", where=str(path), hint="torch.save(model.state_dict(), path)")
    return {key.removeprefix("module."): value for key, value in found.items()}


def from_published(
    state: Tensors, arch: str, where: str = "", *, shape: Shape | None = None, steps: int | None = None,
    reduction: int | None = None,
) -> tuple[Architecture, SpikingNet]:  # fmt: skip
    """The network that a published state dict describes, in evaluation mode.

    Args:
        state: tensors by the names of their code.
        arch: one of `PUBLISHED`.
        where: the file, for messages.
        shape: ``(C, H, W)`` of the frames, where they are not those of the architecture.
        steps: T of a clip, where the checkpoint does not say: only a temporal MLP has that width.
        reduction: of the temporal MLP, as the training was told; None: what its tensors say. Architectures B and C
            have none, whatever they were told.

    Raises:
        ConfigError: no such architecture.
        DataError: it is no checkpoint of that architecture; with every key that is missing, too much or misshapen.
    """
    if arch not in PUBLISHED:
        raise ConfigError(f"no published checkpoints of {arch!r}", where="--arch", hint=nearest(arch, PUBLISHED))
    names = names_of(state, arch)
    sizes = _sizes(state, arch, names, where)
    sizes = replace(sizes, shape=shape or sizes.shape)
    sizes = _in_time(sizes, state, names, steps, reduction)
    model = SpikingNet(sizes.model, sizes.shape, sizes.steps, sizes.classes)
    expected, issues, made = model.state_dict(), [], {}
    for ours, theirs in names.items():
        if theirs not in state:
            issues.append(Issue("a tensor of the architecture", theirs, "missing", str(tuple(expected[ours].shape)),
                                "another --arch? batch norm needs track_running_stats"))  # fmt: skip
            continue
        value = _turned(ours, state[theirs], sizes)
        if ours in expected and value.shape != expected[ours].shape:
            issues.append(Issue("the shape of a tensor", theirs, str(tuple(state[theirs].shape)),
                                str(tuple(expected[ours].shape)), "another --arch?"))  # fmt: skip
        made[ours] = value
    unread = [key for key in state if key not in names.values() and UNUSED not in key]
    issues += [Issue("only tensors of the architecture", key, str(tuple(state[key].shape)), "none",
                     "another --arch?") for key in unread]  # fmt: skip
    if issues:
        raise DataError(f"the checkpoint is none of architecture {arch}", where=where, issues=issues)
    # a batch norm that was saved before it counted its batches
    model.load_state_dict({key: made.get(key, value) for key, value in expected.items()})
    return sizes, model.eval()


def reads(state: Tensors, arch: str, shape: Shape) -> bool:
    """Whether the first dense layer of a checkpoint fits frames ``(C, H, W)``, and its first convolution too."""
    names = names_of(state, arch)
    first = state.get(names["layers.conv1.weight"])
    if first is None or first.ndim != 4 or first.shape[1] != shape[0]:
        return False
    if arch == "sew18":  # it takes the mean over its last map, whatever its size
        return True
    model = architecture(arch).model
    wide = len(model.channels) + 1
    last, dense = (state.get(names[f"layers.{layer}.weight"]) for layer in (f"conv{wide - 1}", f"fc{wide}"))
    if last is None or dense is None or min(shape[1:]) < prod(model.strides):
        return False
    return int(dense.shape[-1]) == int(last.shape[0]) * prod(final_map(model, shape[1:]))


def _sizes(state: Tensors, arch: str, names: Mapping[str, str], where: str) -> Architecture:
    """The architecture with the widths, classes and attention of the checkpoint."""
    found = architecture(arch)
    shapes = {ours: tuple(state[theirs].shape) for ours, theirs in names.items() if theirs in state}
    first = "layers.block{}a.main.conv1.weight" if arch == "sew18" else "layers.conv{}.weight"
    channels = [shapes.get(first.format(number), (0,))[0] for number in range(1, len(found.model.channels) + 1)]
    dense, last = shapes.get(f"layers.fc{len(channels) + 1}.weight"), shapes.get("layers.fc.weight")
    if not all(channels) or last is None or (dense is None and arch != "sew18"):
        have = ", ".join(sorted(state)[:4])
        raise DataError(f"the checkpoint is none of architecture {arch}: it begins with {have}", where=where,
                        hint="state dicts of BICLab/ASA-SNN's models (a, b, c, d), or of sew_resnet18")  # fmt: skip
    attended = any(name.startswith("layers.asa") for name in names)
    model = ModelConfig.model_validate(found.model.model_dump() | {
        "channels": channels, "hidden": () if dense is None else (dense[0],),
        "attention": "asa1" if attended else "none",
        "asa_mode": "batch",  # the published code's masks: the union over the clips that are evaluated together
    })  # fmt: skip
    classes, rest = divmod(last[0], model.voters)
    if rest:
        raise DataError(
            f"{last[0]} outputs are no {model.voters} voters a class", where=where, hint="another --arch?"
        )
    reading = shapes["layers.conv1.weight"][1] if "layers.conv1.weight" in shapes else found.shape[0]
    return replace(found, model=model, shape=(reading, *found.shape[1:]), classes=classes)


def _in_time(
    sizes: Architecture, state: Tensors, names: Mapping[str, str], steps: int | None, reduction: int | None
) -> Architecture:
    """The sizes with the steps and the reduction of the temporal MLP.

    Raises:
        DataError: the tensors say something else than what was asked for.
    """
    square, narrow = (
        state.get(names.get(f"layers.asa1.mix{part}.weight", ""), torch.zeros(0, 0)).shape for part in ("", ".0")
    )
    width = square[-1] or narrow[-1] or steps or sizes.steps
    # T // r is what the code makes of r; T // (T // r) gives it again
    ratio = max(1, width // narrow[0]) if narrow[0] else 1
    if steps is not None and width != steps:
        raise DataError(f"the temporal MLP has {width} steps, {steps} were asked for", where="data.steps",
                        hint=f"data.steps = {width}")  # fmt: skip
    told = reduction is not None and sizes.name in ("a", "d") and sizes.model.attention == "asa1"
    if told and reduction is not None and width // reduction != (narrow[0] or width):
        raise DataError(
            f"the temporal MLP goes from {width} steps to {narrow[0] or width}, with a reduction of {reduction} it "
            f"would go to {width // reduction}", where="--reduction", hint=f"--reduction {ratio}, or leave it out",
        )  # fmt: skip
    return replace(sizes, steps=width, model=sizes.model.model_copy(update={"reduction_ratio": ratio}))


def _turned(ours: str, value: torch.Tensor, sizes: Architecture) -> torch.Tensor:
    """A tensor for frames ``(polarity, y, x)``."""
    if ours.endswith((".alpha", ".beta")):
        return value.reshape(())
    if sizes.model.family == "sew":
        return value
    if value.ndim == 4:
        return value.transpose(-1, -2).contiguous()
    if ours == f"layers.fc{len(sizes.model.channels) + 1}.weight":
        height, width = final_map(sizes.model, sizes.shape[1:])
        if value.shape[1] == sizes.model.channels[-1] * height * width:
            maps = value.reshape(len(value), sizes.model.channels[-1], width, height)
            return maps.transpose(-1, -2).flatten(1).contiguous()
    return value
