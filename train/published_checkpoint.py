# SPDX-License-Identifier: Apache-2.0
"""The authors' checkpoints of ASA-SNNs as networks of ours.

They are what ``train_test.py`` of BICLab/ASA-SNN (c68b2d0) saves: ``torch.save(model.state_dict())``. Layout, with
SpikingJelly 0.0.0.0.12, whose containers are sequences:

    architectures A and D   ConvAttLIFs.<i>.conv.0, .bn.0, .attn, and FCs.<i>.linear.0
    architectures B and C   ConvAttLIFs.<i>.0.conv.0, .bn.0, .attn, .spike.0.w, and FCs.<i>.1.fc, .spike.0.w
    attn                    alpha, beta, fc (or fc.0 and fc.2 where its reduction is above 1), conv1, conv2

Their frames are ``(polarity, x, y)`` where ours are ``(polarity, y, x)``, so kernels are transposed, and so is the
map that the first dense layer reads. ``ConvAttLIFs.<i>.spike.0.attn`` is attention that the code builds and
never calls. A state dict says widths, steps, classes and attention; threshold and
leak are those of the architecture's runs.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch

from spikefold.config import ModelConfig
from spikefold.errors import DataError, Issue
from spikefold.train.models.architectures import Architecture, architecture
from spikefold.train.models.spiking_net import SpikingNet, final_map

Tensors = Mapping[str, torch.Tensor]
_UNUSED = ".spike.0.attn."
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


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


def from_published(state: Tensors, arch: str, where: str = "") -> tuple[Architecture, SpikingNet]:
    """The network that a state dict of the authors' code describes, in evaluation mode.

    Args:
        state: tensors by the names of their code.
        arch: ``a`` to ``d``.
        where: the file, for messages.

    Raises:
        DataError: it is no checkpoint of that architecture; with every key that is missing, too much or misshapen.
    """
    names = _names(state, arch)
    sizes = _sizes(state, arch, names, where)
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
    unread = [key for key in state if key not in names.values() and _UNUSED not in key]
    issues += [Issue("only tensors of the architecture", key, str(tuple(state[key].shape)), "none",
                     "another --arch?") for key in unread]  # fmt: skip
    if issues:
        raise DataError(f"the checkpoint is none of architecture {arch}", where=where, issues=issues)
    # a batch norm that was saved before it counted its batches
    model.load_state_dict({key: made.get(key, value) for key, value in expected.items()})
    return sizes, model.eval()


def _names(state: Tensors, arch: str) -> dict[str, str]:
    """Their name of each of our tensors, as far as the checkpoint's attention goes."""
    deep = arch in ("b", "c")
    body = "ConvAttLIFs.{}.0" if deep else "ConvAttLIFs.{}"
    names: dict[str, str] = {}
    convolutions, hidden = (5, 1) if deep else (3, 1)
    for number in range(1, convolutions + 1):
        their = body.format(number - 1)
        names |= {
            f"layers.conv{number}.{key}": f"{their}.conv.0.{key}" for key in ("weight", *(() if deep else ("bias",)))
        }
        names |= {f"layers.bn{number}.{key}": f"{their}.bn.0.{key}" for key in _NORM if f"{their}.bn.0.{key}" in state
                  or key != "num_batches_tracked"}  # fmt: skip
        names |= _attention_names(state, f"layers.asa{number}", f"{their}.attn")
        names |= {f"layers.sn{number}.w": f"{their}.spike.0.w"} if arch == "b" else {}
    for number in range(hidden + 1):
        fc, neurons = ("fc", "out") if number == hidden else (f"fc{convolutions + 1}", f"sn{convolutions + 1}")
        their = f"FCs.{number}.1.fc" if deep else f"FCs.{number}.linear.0"
        names |= {f"layers.{fc}.{key}": f"{their}.{key}" for key in ("weight", "bias")}
        names |= {f"layers.{neurons}.w": f"FCs.{number}.1.spike.0.w"} if arch == "b" else {}
    return names


def _attention_names(state: Tensors, ours: str, their: str) -> dict[str, str]:
    if f"{their}.conv1.weight" not in state:
        return {}
    names = {f"{ours}.alpha": f"{their}.alpha", f"{ours}.beta": f"{their}.beta",
             f"{ours}.important.weight": f"{their}.conv1.weight",
             f"{ours}.sub_important.weight": f"{their}.conv2.weight"}  # fmt: skip
    if f"{their}.fc.0.weight" in state:
        return names | {f"{ours}.mix.{part}.weight": f"{their}.fc.{part}.weight" for part in (0, 2)}
    return names | {f"{ours}.mix.weight": f"{their}.fc.weight"}


def _sizes(state: Tensors, arch: str, names: Mapping[str, str], where: str) -> Architecture:
    """The architecture with the widths, steps, classes and attention of the checkpoint."""
    found = architecture(arch)
    shapes = {ours: tuple(state[theirs].shape) for ours, theirs in names.items() if theirs in state}
    channels = [
        shapes.get(f"layers.conv{number}.weight", (0,))[0] for number in range(1, len(found.model.channels) + 1)
    ]
    wide = len(found.model.channels) + 1
    dense, last = shapes.get(f"layers.fc{wide}.weight"), shapes.get("layers.fc.weight")
    if not all(channels) or dense is None or last is None:
        have = ", ".join(sorted(state)[:4])
        raise DataError(f"the checkpoint is none of architecture {arch}: it begins with {have}", where=where,
                        hint="state dicts of BICLab/ASA-SNN's models: --arch a, b, c or d")  # fmt: skip
    mix, narrow = shapes.get("layers.asa1.mix.weight"), shapes.get("layers.asa1.mix.0.weight")
    attention = "asa1" if mix or narrow else "none"
    steps = mix[1] if mix else narrow[1] if narrow else found.steps
    model = ModelConfig.model_validate(found.model.model_dump() | {
        "channels": channels, "hidden": (dense[0],), "attention": attention,
        "reduction_ratio": max(1, round(steps / narrow[0])) if narrow else 1,
        "asa_mode": "batch",  # the published code's masks: the union over the clips that are judged together
    })  # fmt: skip
    classes, rest = divmod(last[0], model.voters)
    if rest:
        raise DataError(
            f"{last[0]} outputs are no {model.voters} voters a class", where=where, hint="another --arch?"
        )
    return Architecture(found.name, found.title, model, found.shape, steps, found.dt_us, classes, found.reasons)


def _turned(ours: str, value: torch.Tensor, sizes: Architecture) -> torch.Tensor:
    """A tensor for frames ``(polarity, y, x)``."""
    if value.ndim == 4:
        return value.transpose(-1, -2).contiguous()
    if ours == f"layers.fc{len(sizes.model.channels) + 1}.weight":
        height, width = final_map(sizes.model, sizes.shape[1:])
        if value.shape[1] == sizes.model.channels[-1] * height * width:
            maps = value.reshape(len(value), sizes.model.channels[-1], width, height)
            return maps.transpose(-1, -2).flatten(1).contiguous()
    if ours.endswith((".alpha", ".beta")):
        return value.reshape(())
    return value
