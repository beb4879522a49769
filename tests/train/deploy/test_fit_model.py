# SPDX-License-Identifier: Apache-2.0
"""An architecture that does not fit becomes one that does: placed, running, and with no change too many."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import numpy as np
import pytest

from spikefold.config import Config, parse_config, to_toml
from spikefold.errors import UnsupportedError
from spikefold.export.network import Network
from spikefold.export.ops import Conv2d, Dense
from spikefold.export.passes.quantise import quantise
from spikefold.hardware.loihi.chip import LOIHI2
from spikefold.hardware.simulators import clocked
from spikefold.hardware.speck.chip import SPECK2F, violations
from spikefold.hardware.speck.placement import check_placement
from spikefold.hardware.speck.split import split_to_fit
from spikefold.train.deploy.fit_model import INPUT, Proposal, base_config, propose
from spikefold.train.models.architectures import architecture, network


@pytest.fixture(scope="module")
def proposals() -> dict[str, Proposal]:
    return {name: propose(architecture(name), SPECK2F) for name in ("a", "b", "d")}


def _after(proposal: Proposal) -> dict[str, object]:
    return {change.what: change.after for change in proposal.changes}


def test_the_smallest_changes_of_the_papers_networks(proposals: dict[str, Proposal]) -> None:
    # half the input's side leaves 32 x 4x4 for the dense layer: 128 Ki words, two cores
    assert _after(proposals["d"]) == {INPUT: 2, "neuron": "if"}
    assert _after(proposals["a"]) == {INPUT: 2, "channels[1]": 64, "channels[2]": 32, "neuron": "if"}
    changed = _after(proposals["b"])
    assert changed[INPUT] == 2
    assert changed["neuron"] == "if"
    assert changed["reduction"] in ("stride", "spike_mean")


@pytest.mark.parametrize("name", ["a", "b", "d"])
def test_it_fits_by_every_rule_and_by_the_independent_checker(name: str, proposals: dict[str, Proposal]) -> None:
    found = proposals[name]
    whole = network(found.architecture)
    assert violations(whole) == []
    assert found.report.fits
    assert found.report.resources is not None
    placement = found.report.resources.placement
    placed = split_to_fit(whole)
    assert len(placement) == len(placed.neurons) == found.report.resources.cores <= 9
    assert check_placement(placed, placement) == []


@pytest.mark.parametrize("name", ["a", "b", "d"])
def test_without_any_one_of_its_changes_it_does_not_fit(name: str, proposals: dict[str, Proposal]) -> None:
    found = proposals[name]
    original, changed = architecture(name), found.architecture
    assert len(found.changes) >= 2
    for change in found.changes:
        assert change.why
        if change.what == INPUT:
            without = replace(changed, shape=original.shape)
        else:
            key, _, index = change.what.rstrip("]").partition("[")
            value = getattr(original.model, key)
            if index:
                value = list(getattr(changed.model, key))
                value[int(index)] = getattr(original.model, key)[int(index)]
                value = tuple(value)
            without = replace(changed, model=changed.model.model_copy(update={key: value}))
        broken = violations(network(without))
        assert {f"{issue.where}: {issue.got}".partition(":")[0] for issue in broken} == {
            why.partition(":")[0] for why in change.why
        }


@pytest.mark.parametrize("name", ["a", "d"])
def test_its_integers_run_and_every_layer_fires(name: str, proposals: dict[str, Proposal]) -> None:
    found = proposals[name].architecture
    whole = _loud(network(found))
    integer, _ = quantise(split_to_fit(whole), SPECK2F.numbers)
    frames = np.random.default_rng(0).poisson(0.3, (5, 1, *found.shape)).astype(np.uint16)
    trace = clocked.run(integer, frames)
    assert all(layer.spikes > 0 for layer in trace.layers.values())
    assert len(trace.layers) == len(integer.neurons)
    assert trace.spikes > 1000


def _loud(quiet: Network) -> Network:
    """Weights of an untrained module let few neurons fire; five times as large they do."""
    layers = [
        replace(layer, op=replace(layer.op, weight=5 * np.abs(layer.op.weight)))
        if isinstance(layer.op, Conv2d | Dense)
        else layer
        for layer in quiet
    ]
    return quiet.rewritten(layers, "loud")


@pytest.mark.parametrize("name", ["speck-s", "speck-m"])
def test_an_architecture_that_fits_is_left_alone(name: str) -> None:
    found = propose(architecture(name), SPECK2F)
    assert found.changes == ()
    assert found.architecture == architecture(name)
    assert found.config(base_config(architecture(name))).model == architecture(name).model


def test_a_chip_without_pools_has_them_in_its_weights_and_keeps_the_leak() -> None:
    found = propose(architecture("c"), LOIHI2)
    assert _after(found) == {}
    assert found.architecture.model.reduction == "spike_mean"
    assert found.architecture.model.neuron == "lif_decay_input"
    assert found.report.fits


def test_the_configuration_is_read_back_and_gives_the_input_of_the_proposal(proposals: dict[str, Proposal]) -> None:
    for name, found in proposals.items():
        config = found.config(base_config(architecture(name)))
        again = parse_config(tomllib.loads(to_toml(config)))
        assert again == config
        assert again.model == found.architecture.model
        assert again.chips.names == ("speck2f",)
        assert (again.data.steps, again.data.dt_us) == (found.architecture.steps, found.architecture.dt_us)
        assert again.data.downsample is not None
        assert -(-128 // again.data.downsample) == found.architecture.shape[1] == found.architecture.shape[2]


def test_what_a_run_leaves_open_stays_open_and_the_rest_is_its_own(proposals: dict[str, Proposal]) -> None:
    base = Config(seed=7)
    config = proposals["d"].config(base)
    assert (config.seed, config.data.downsample) == (7, None)
    assert (
        proposals["d"]
        .config(base.model_copy(update={"data": base.data.model_copy(update={"downsample": 3})}))
        .data.downsample
        == 6
    )


def test_nothing_near_it_fits() -> None:
    # 2000 classes are more output features than a core counts
    with pytest.raises(UnsupportedError, match="makes it fit") as caught:
        propose(architecture("speck-s", classes=2000), SPECK2F)
    assert any(issue.where == "fc" for issue in caught.value.issues)


def test_as_json(proposals: dict[str, Proposal]) -> None:
    content = proposals["d"].to_json()
    assert content["changes"][0]["what"] == INPUT  # type: ignore[index]
    assert content["input"] == [2, 16, 16]
    assert content["fit"]["fits"] is True  # type: ignore[index]
