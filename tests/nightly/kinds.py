# SPDX-License-Identifier: Apache-2.0
"""Every format that is read, with an honest file of it: recordings, networks, checkpoints, settings, images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nir
import numpy as np
import torch
from PIL import Image

from spikefold.config import ModelConfig, load_config, to_toml
from spikefold.energy.prices.load import DEFAULT, load_profile
from spikefold.export.io import load_network, save_network
from spikefold.export.nir.from_nir import read as read_nir
from spikefold.hardware.loihi.from_netx import from_net
from spikefold.hardware.simulators import reference
from spikefold.hardware.simulators.trace import load_trace, save_trace
from spikefold.stages.sweep.space import read_space
from spikefold.train.checkpoint import ABOUT, WEIGHTS, Checkpoint, load, save
from spikefold.train.data.parsing.reading import Reading
from spikefold.train.data.readers import read
from spikefold.train.data.repairs import OnFault
from spikefold.train.data.sources.har_dvs import _image
from spikefold.train.models.spiking_net import SpikingNet
from spikefold.train.published_checkpoint import read_state
from tests.export.io_cases import integer_network
from tests.export.nir.nir_cases import OURS, chain_file, lif_node
from tests.hardware.loihi.netx_cases import slayer_layers
from tests.hardware.loihi.netx_cases import write as write_net
from tests.nightly.crafted import Kind
from tests.train.data.test_orientation import FILES
from tests.train.test_checkpoint import BINNING

SPACE = """how = "random"
draws = 3
seed = 1
[base]
data.source = "digits"
[axes]
"model.threshold" = [0.5, 1.0]
"""
_READINGS = (Reading(), Reading(OnFault.REPAIR))


def _repairing(path: Path) -> object:
    for reading in _READINGS:
        found = read(path, reading)
    return found


def _network_files(folder: Path, suffix: str) -> bytes:
    """Without the checksum, which would refuse every edit before the content is looked at."""
    save_network(integer_network(), folder / "net")
    about = json.loads((folder / "net.json").read_text(encoding="utf-8"))
    del about["sha256"]
    (folder / "net.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    return (folder / f"net{suffix}").read_bytes()


def _checkpoint(folder: Path, name: str) -> bytes:
    torch.manual_seed(1)
    model = SpikingNet(ModelConfig(channels=(3, 5), strides=(1, 2)), BINNING.shape, BINNING.steps, 2)
    save(folder, Checkpoint(model, BINNING, ("left", "right")))
    return (folder / name).read_bytes()


def _published(folder: Path) -> bytes:
    torch.save({"net": {"weight": torch.ones(3, 2), "bias": torch.ones(3)}}, folder / "net.pth")
    return (folder / "net.pth").read_bytes()


def _trace(folder: Path) -> bytes:
    network = integer_network()
    frames = np.random.default_rng(0).poisson(1.0, (4, 2, *network.input.shape)).clip(max=network.input.max_count)
    save_trace(reference.run(network, frames), folder / "a.npz")
    return (folder / "a.npz").read_bytes()


def _png(folder: Path) -> bytes:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)).save(folder / "a.png")
    return (folder / "a.png").read_bytes()


def _nir(folder: Path) -> bytes:
    nodes = nir.Affine(np.ones((3, 3)), np.ones(3)), lif_node(3)
    return chain_file(folder / "a.nir", 3, *nodes).read_bytes()


def _of_folder(reader: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: reader(path.parent)


_TEXT = "text"
KINDS: dict[str, Kind] = {
    name: Kind(f"a{suffix}", whole, _repairing, is_text=name == _TEXT) for name, (suffix, whole) in FILES.items()
} | {
    "network, JSON": Kind(
        "net.json",
        lambda folder: _network_files(folder, ".json"),
        lambda path: load_network(path.with_suffix("")),
        is_text=True,
    ),
    "network, safetensors": Kind(
        "net.safetensors",
        lambda folder: _network_files(folder, ".safetensors"),
        lambda path: load_network(path.with_suffix("")),
    ),
    "checkpoint, JSON": Kind(ABOUT, lambda folder: _checkpoint(folder, ABOUT), _of_folder(load), is_text=True),
    "checkpoint, safetensors": Kind(WEIGHTS, lambda folder: _checkpoint(folder, WEIGHTS), _of_folder(load)),
    "published checkpoint": Kind("net.pth", _published, read_state),
    "trace": Kind("a.npz", _trace, load_trace),
    "image": Kind("a.png", _png, _image),
    "configuration": Kind("a.toml", lambda _: to_toml(load_config()).encode(), load_config, is_text=True),
    "profile": Kind(
        "a.toml",
        lambda _: (Path(load_profile.__code__.co_filename).parent / "profiles" / f"{DEFAULT}.toml").read_bytes(),
        lambda path: load_profile(str(path)),
        is_text=True,
    ),
    "space of designs": Kind("a.toml", lambda _: SPACE.encode(), read_space, is_text=True),
    "NIR": Kind("a.nir", _nir, lambda path: read_nir(path, OURS), apart=True),
    ".net": Kind(
        "a.net", lambda folder: write_net(folder / "a.net", slayer_layers()).read_bytes(), from_net, apart=True
    ),
}
"""By name. ONNX is written only."""
