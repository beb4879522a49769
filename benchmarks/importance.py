# SPDX-License-Identifier: Apache-2.0
"""ASA-1 with importance weights that learn against frozen ones, as they are in the published code.

``python -m benchmarks.importance [--data SOURCE] [--seeds 0 1 2] [--train 330] [--epochs 6]`` trains both for each
seed, from the same first weights and on the same clips, without a baseline and without mean gates
(``static_share = 0``, the paper) and prints one table: mean and spread over seeds on test clips with dynamic gates.
Synaptic operations and NASFR are counted on the network as it was trained, not folded.

Whether alpha, beta and W learn is shown twice: the norm of their gradient over one batch of the trained network, and
how far training moved them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from spikingjelly.activation_based import functional

from spikefold.config import Config, parse_config
from spikefold.energy.counts.count import count
from spikefold.export.from_torch import from_torch
from spikefold.export.network import InputSpec
from spikefold.train.data.clips import ClipSet
from spikefold.train.data.datasets import binning_for, load_dataset
from spikefold.train.data.frames import Binning, to_frames
from spikefold.train.deploy.gates import attention_layers
from spikefold.train.deploy.tracing import trace_model
from spikefold.train.evaluate import read_out
from spikefold.train.loop import train
from spikefold.train.models.attention import ASA
from spikefold.train.models.spiking_net import SpikingNet

KINDS = {"frozen": False, "learned": True}


@dataclass(frozen=True)
class Result:
    """One trained network on the test clips.

    Attributes:
        gradient: norm of the gradient of alpha, beta and W of all layers over one batch.
        moved: norm of what training added to them.
    """

    accuracy: float
    nasfr: float
    spikes: float
    synops: float
    synops_behind_input: float
    gradient: float
    moved: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="gestures")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--train", type=int, default=330, help="recordings to generate (generated sources)")
    parser.add_argument("--epochs", type=int, default=6)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[Result]] = {name: [] for name in KINDS}
    start = time.process_time()
    for seed in chosen.seeds:
        config = _config(chosen.data, seed, chosen.train, chosen.epochs)
        dataset = load_dataset(config.data, seed, _quiet)
        binning = binning_for(dataset, config.data)
        clips = {
            split: ClipSet(to_frames(getattr(dataset, split), binning), dataset.labels(split))
            for split in ("train", "test")
        }
        for name, learns in KINDS.items():
            model = config.model.model_copy(update={"learn_importance": learns})
            own = config.model_copy(update={"model": model})
            found[name].append(_measured(own, clips["train"], clips["test"], binning, len(dataset.classes)))
    _table(found)
    seconds = time.process_time() - start
    print(f"{chosen.data}, {chosen.epochs} epochs, seeds {chosen.seeds}; {seconds:.0f} s process time")


def _config(source: str, seed: int, recordings: int, epochs: int) -> Config:
    return parse_config(
        {
            "seed": seed,
            "data": {"source": source, "train": recordings},
            "model": {"attention": "asa1", "static_share": 0.0},
            "train": {"epochs": epochs},
        }
    )


def _measured(config: Config, learned: ClipSet, test: ClipSet, binning: Binning, classes: int) -> Result:
    torch.manual_seed(config.seed)
    drawn = _importance(SpikingNet(config.model, learned.shape[1:], learned.shape[0], classes))
    model = train(config, learned, classes, lambda epoch: None)
    trained = _importance(model)
    trace = trace_model(model, test.frames)
    spec = InputSpec(binning.shape, binning.dt_us, binning.steps, binning.max_count)
    gates = {name: np.ones(layer.channels) for name, layer in attention_layers(model).items()}  # no synapses
    counts = count(from_torch(model.layers, spec, classes, gates), test.frames, trace)
    told = trace.output_counts(classes).argmax(1)
    return Result(
        accuracy=float((told == test.labels).mean()),
        nasfr=counts.nasfr,
        spikes=counts.total("spikes") / len(test),
        synops=counts.total("events") / len(test),
        synops_behind_input=sum(layer.events for layer in counts.layers[1:]) / len(test),
        gradient=_gradient(model, learned, config),
        moved=_norm([trained[name] - value for name, value in drawn.items()]),
    )


def _quiet(task: str, done: int, of: int, note: str = "") -> None:
    """Report no progress."""


def _importance(model: SpikingNet) -> dict[str, torch.nn.Parameter]:
    """alpha, beta and W of every layer."""
    found: dict[str, torch.nn.Parameter] = {}
    for name, layer in attention_layers(model).items():
        if not isinstance(layer, ASA) or layer.mix is None:
            raise TypeError(f"{name} is not ASA-1")
        parts = {"alpha": "alpha", "beta": "beta", "W": "mix.weight"}
        found |= {f"{name}.{key}": layer.get_parameter(part) for key, part in parts.items()}
    return found


def _gradient(model: SpikingNet, clips: ClipSet, config: Config) -> float:
    """Norm of the loss's gradient with respect to alpha, beta and W over the first batch of clips."""
    functional.reset_net(model)
    batch = clips.first(config.train.batch)
    current, spikes = model(torch.from_numpy(batch.frames.astype(np.float32)))
    model.zero_grad()
    logits = read_out(current, spikes, config.train)
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(batch.labels)).backward()
    functional.reset_net(model)
    return _norm([weight.grad for weight in _importance(model).values() if weight.grad is not None])


def _norm(values: Sequence[torch.Tensor]) -> float:
    return float(sum(float(value.detach().double().square().sum()) for value in values) ** 0.5)


def _table(found: Mapping[str, list[Result]]) -> None:
    print("| importance | accuracy | NASFR | spikes a clip | SynOps a clip | behind the input | gradient | moved |")
    print("|---|---|---|---|---|---|---|---|")
    columns = {
        "accuracy": ".3f",
        "nasfr": ".4f",
        "spikes": ",.0f",
        "synops": ",.0f",
        "synops_behind_input": ",.0f",
        "gradient": ".2g",
        "moved": ".2g",
    }
    for name, results in found.items():
        cells = [_cell([getattr(result, column) for result in results], form) for column, form in columns.items()]
        print(f"| {name} | {' | '.join(cells)} |")
    for name, results in found.items():
        print(f"{name}, accuracy by seed: {' '.join(f'{result.accuracy:.3f}' for result in results)}")


def _cell(values: list[float], form: str) -> str:
    """Mean and standard deviation of the sample."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return f"{np.mean(values):{form}} ± {spread:{form}}"


if __name__ == "__main__":
    main()
