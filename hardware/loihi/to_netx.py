# SPDX-License-Identifier: Apache-2.0
"""Writes an integer network as a ``.net`` file (HDF5), which lava-dl's netx reads for its simulator and for Loihi 2.

Lowering, exact for every network without `violations` (a ``.net`` file counts in half weights)::

    weight 2q    bias 2b    iDecay 4096 - keep of the current    vDecay 4096 - keep of the leak
    vThMant 2*theta        neurons that fire at v > theta: all leaky ones
    vThMant 2*theta - 1    neurons without leak and current, v >= theta

A bias beside a current that lasts is written as `always_on` says: such a file has inputs more than its network.
A layer that counts in the file's half weights already (``state_shift`` 6, as `from_netx` reads some) is written as it
is. netx fires at ``v > 64 * vThMant``. Without a leak the state is a multiple of 128 (or one above, once it
saturated), so ``v > 128*theta - 64`` is ``v >= 128*theta``. ``steps`` is stored as ``simulation/tSample``, which netx
ignores. Format and semantics: lava-dl 0.6.0 ``lib/dl/netx/{hdf5,utils}.py``, lava-nc 0.10.0 ``proc/lif/models.py``.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import INPUT, Network
from spikefold.export.neuron import Fire, Neuron, Order, Overflow, Reset
from spikefold.export.neuron_support import CARRIED, Limited, NeuronSupport, Refused, among, refuse
from spikefold.export.ops import Conv2d, Dense
from spikefold.files import replacing
from spikefold.hardware.loihi.always_on import always_on
from spikefold.hardware.loihi.rules import FILE_SHIFT, LEAK_SHIFT, STATE_BITS, STATE_SHIFT, violations

__all__ = ["violations", "write_net", "write_script"]
DECAY_ONE = 4096
NEURONS = NeuronSupport(
    "the .net file",
    {
        "threshold": Limited(
            lambda neuron: bool((neuron.threshold == neuron.threshold.flat[0]).all()),
            "one a layer",
            "fold per-channel factors into the weights",
        ),
        # a leak, a current or half weights make states between whole weights, where `>=` and `>` differ
        "fire": Limited(
            lambda neuron: (
                neuron.fire is Fire.GT
                or (neuron.leak is None and neuron.current is None and neuron.state_shift != FILE_SHIFT)
            ),
            Fire.GT.value,
            "quantise it for Loihi 2",
        ),
        "reset": among("reset", [Reset.ZERO], "train with a reset to zero"),
        # other than 0 with a reset to a value alone
        "reset_value": CARRIED,
        "leak": Limited(
            lambda neuron: neuron.leak is None or neuron.leak.shift == LEAK_SHIFT,
            f"keep/2^{LEAK_SHIFT}",
            "quantise it for Loihi 2",
        ),
        "v_min": Refused("train without a lower bound"),
        "max_spikes": among("max_spikes", [1], "train with one spike a step"),
        "order": Limited(
            lambda neuron: neuron.leak is None or neuron.order is Order.LEAK_FIRST,
            Order.LEAK_FIRST.value,
            "train with the leak before the input",
        ),
        "state_shift": among("state_shift", [FILE_SHIFT, STATE_SHIFT], "quantise it for Loihi 2"),
        "state_bits": among("state_bits", [STATE_BITS], "quantise it for Loihi 2"),
        "overflow": among("overflow", [Overflow.SATURATE], "quantise it for Loihi 2"),
        "current": Limited(
            lambda neuron: neuron.current is None or neuron.current.shift == LEAK_SHIFT,
            f"keep/2^{LEAK_SHIFT}",
            "quantise it for Loihi 2",
        ),
    },
)
"""What the file says of integer neurons; `violations` has the same limits by their names in the chip's manual."""


def write_net(network: Network, path: Path | str, *, max_count: int | None = None) -> Path:
    """Write the ``.net`` file; the same network gives the same bytes. Nothing appears at ``path`` on failure.

    Args:
        network: an integer network, see `violations`.
        path: the file; its folder must exist.
        max_count: most events of one input and time bin, see `violations`.

    Raises:
        UnsupportedError: with every rule that the network breaks.
    """
    issues = violations(network, max_count=max_count)
    if not network.is_integer:
        hint = "quantise it for Loihi 2 first"
        issues.insert(0, Issue("whole numbers", "network", "real numbers", "integers", hint))
    if issues:
        raise UnsupportedError("Loihi 2 cannot carry this network exactly", issues=issues)
    refuse(network, NEURONS)
    return _write_unchecked(network, Path(path))


def _write_unchecked(network: Network, path: Path) -> Path:
    network = always_on(network).network
    with replacing(path) as scratch, h5py.File(scratch, "w") as file:
        _fill(file, network)
    return path


def _fill(file: h5py.File, network: Network) -> None:
    weights = network.weights
    dense_first = isinstance(weights[0].op, Dense)
    shape = network.shapes[INPUT]
    entries: list[dict[str, object]] = [{"type": "input", "shape": (int(np.prod(shape)),) if dense_first else shape}]
    flat = dense_first
    for layer, spiking in zip(weights, network.neurons, strict=True):
        op, neuron = layer.op, spiking.neuron
        if isinstance(op, Dense) and not flat:
            entries.append({"type": "flatten", "shape": (op.weight.shape[1],)})
            flat = True
        unit = 2 ** (neuron.state_shift - FILE_SHIFT)
        cells = {f"neuron/{key}": value for key, value in _neuron(neuron, unit).items()}
        entries.append(_layer(op, network.shapes[layer.name], unit) | cells)
    for index, entry in enumerate(entries):
        for key, value in entry.items():
            # fixed-length ascii of one element, as slayer writes it; everything else is whole numbers
            data = np.array([value], dtype="S10") if isinstance(value, str) else np.asarray(value, np.int64)
            file.create_dataset(f"layer/{index}/{key}", data=data)
    file.create_dataset("simulation/Ts", data=1)
    file.create_dataset("simulation/tSample", data=network.input.steps)


def _layer(op: Conv2d | Dense, shape: tuple[int, int, int], unit: int) -> dict[str, object]:
    entry: dict[str, object] = {"weight": unit * op.weight}
    if op.bias is not None:
        entry["bias"] = unit * op.bias
    if isinstance(op, Dense):
        return entry | {"type": "dense", "shape": (shape[0],)}
    geometry = {"stride": op.stride, "padding": op.padding, "dilation": op.dilation, "groups": op.groups}
    return entry | {"type": "conv", "shape": shape} | geometry


def _neuron(neuron: Neuron, unit: int) -> dict[str, object]:
    theta = int(neuron.threshold.flat[0])
    keep = DECAY_ONE if neuron.leak is None else int(neuron.leak.keep)
    lasts = 0 if neuron.current is None else int(neuron.current.keep)
    threshold = unit * theta - 1 if neuron.fire is Fire.GE else unit * theta
    return {"type": "CUBA", "iDecay": DECAY_ONE - lasts, "vDecay": DECAY_ONE - keep, "vThMant": threshold}


_SCRIPT = '''\
"""Runs the .net file of the same name. Needs lava-nc 0.10.0 and lava-dl 0.6.0; for the chip also INRC's lava-loihi.

    python {name} frames.npy [--sim]      frames (T, C, H, W), or (T, n) before a dense layer; one clip

Inputs that are always on, for biases that a current takes, are added here: {always_on}.

Prints the spikes of each output neuron. Without --sim it runs on Loihi 2; that path was never tried by spikefold,
which has no board: compare with --sim first.
"""
import sys
from pathlib import Path

import numpy as np
from lava.lib.dl import netx
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2HwCfg, Loihi2SimCfg
from lava.proc import io

frames, sim = np.load(sys.argv[1]), "--sim" in sys.argv
T, always_on = len(frames), {always_on}
bits = 0 if frames.max() <= 1 else int(frames.max()).bit_length()
late = 0 if sim else 2  # the two steps that a spike takes from the host to the first core
path = Path(__file__).with_suffix(".net")
net = netx.hdf5.Network(str(path), input_message_bits=bits, reset_interval=T, reset_offset=1 + late)
steps = T + len(net.layers) + late
frames = frames if len(net.inp.shape) == 3 else frames.reshape(T, -1)
frames = np.concatenate([frames, np.ones((T, always_on, *frames.shape[2:]), frames.dtype)], axis=1)
clip = frames.T  # (W, H, C, T) or (n, T)
data = np.zeros((*clip.shape[:-1], steps), np.int32)
data[..., :T] = clip
source, sink = io.source.RingBuffer(data=data), io.sink.RingBuffer(shape=net.out.shape, buffer=steps)
if sim:
    source.s_out.connect(net.inp)
    net.out.connect(sink.a_in)
    config = Loihi2SimCfg(select_tag="fixed_pt")
else:
    from lava.proc import embedded_io as eio
    from lava.utils import loihi

    loihi.use_slurm_host(loihi_gen=loihi.ChipGeneration.N3B3)
    into = eio.spike.PyToNxAdapter(shape=net.inp.shape, num_message_bits=bits)
    back = eio.spike.NxToPyAdapter(shape=net.out.shape)
    source.s_out.connect(into.inp)
    into.out.connect(net.inp)
    net.out.connect(back.inp)
    back.out.connect(sink.a_in)
    config = Loihi2HwCfg(select_tag="fixed_pt")
net.run(condition=RunSteps(num_steps=steps), run_cfg=config)
raster = sink.data.get()[..., steps - T :]
net.stop()
print(raster.sum(axis=-1).astype(int).ravel().tolist())
'''


def write_script(path: Path | str, inputs_always_on: int = 0) -> Path:
    """Write a small program that runs the ``.net`` file of the same stem with the user's own lava or Loihi 2."""
    path = Path(path)
    text = _SCRIPT.replace("{name}", path.name).replace("{always_on}", str(inputs_always_on))
    path.write_text(text, encoding="utf-8")
    return path
