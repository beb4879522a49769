# SPDX-License-Identifier: Apache-2.0
"""Says what `passes.quantise` refuses for a chip: operations, wirings, and neurons that its integers cannot be."""

from __future__ import annotations

from spikefold.errors import Issue, UnsupportedError
from spikefold.export.network import INPUT, Layer, Network, SpikingLayer, WeightLayer
from spikefold.export.neuron import Leak, Neuron
from spikefold.export.neuron_support import CARRIED, Limited, NeuronSupport, Refused, neuron_refusals
from spikefold.export.numbers import NumberFormat
from spikefold.export.ops import Concat, SumPool2d


def refuse_unsupported(network: Network, chip: NumberFormat) -> None:
    """Nothing, if `passes.quantise` can round the network for this chip.

    Raises:
        UnsupportedError: with every layer that breaks the precondition.
    """
    support = neuron_support(chip)
    issues = [issue for layer in network for issue in _unsupported(network, layer, chip, support)]
    if issues:
        raise UnsupportedError("the network cannot be quantised for this chip", issues=issues)


def neuron_support(chip: NumberFormat) -> NeuronSupport:
    """Which neurons of a real network become neurons of this chip by scaling and rounding alone."""
    resets = "/".join(sorted(chip.resets))
    width = "quantise the network as it was trained: the chip gives the state its width and unit"

    def unscaled(neuron: Neuron) -> bool:
        # a reset that the chip has not is one issue, not two
        return neuron.reset_value == 0 or neuron.reset not in chip.resets

    return NeuronSupport(
        "passes.quantise",
        {
            "threshold": Limited(
                lambda neuron: neuron.threshold.ndim == 0,
                "a scalar",
                "fold per-channel factors into the weights",
                "one threshold a layer",
                lambda neuron: f"shape {neuron.threshold.shape}",
            ),
            "fire": CARRIED,
            "reset": Limited(
                lambda neuron: neuron.reset in chip.resets, resets, f"train with reset {resets}", "reset"
            ),
            "reset_value": Limited(unscaled, "0", "train with reset to zero", "value of the reset"),
            "leak": Limited(
                lambda neuron: neuron.leak is None or chip.leak_shift is not None,
                "none",
                "train integrate-and-fire neurons for this chip",
                "leak",
                lambda neuron: f"keeps {_share(neuron.leak)} of the state a step",
            ),
            "v_min": Limited(
                lambda neuron: neuron.v_min is None or chip.v_min is not None,
                "none",
                "train without a lower bound for this chip",
                "lower bound of the state",
            ),
            "max_spikes": Limited(
                lambda neuron: chip.allows(neuron.max_spikes),
                str(chip.max_spikes),
                f"train with at most {chip.max_spikes} a step",
                "spikes a step",
                lambda neuron: str(neuron.max_spikes),
            ),
            "order": CARRIED,
            "state_shift": Refused(width, "0", "unit of the state", lambda neuron: f"2^-{neuron.state_shift}"),
            "state_bits": Refused(width, "none", "width of the state"),
            # without a width it says nothing
            "overflow": CARRIED,
            "current": Limited(
                lambda neuron: neuron.current is None or chip.current_shift is not None,
                "none: an input acts in one step only",
                "train neurons whose input acts at once",
                "synaptic current",
                lambda neuron: f"keeps {_share(neuron.current)} of it a step",
            ),
        },
        "cannot round these neurons for the chip",
    )


def _unsupported(network: Network, layer: Layer, chip: NumberFormat, support: NeuronSupport) -> list[Issue]:
    op, where = layer.op, layer.name
    if isinstance(layer, SpikingLayer):
        return _unsupported_source(network, layer) + neuron_refusals(layer.neuron, support, where)
    if isinstance(layer, WeightLayer):
        if layer.op.bias is not None and chip.bias_bits is None:
            hint = "a run drops biases for this chip and fine-tunes; train other networks without them"
            return [Issue("no bias", where, f"{len(layer.op.bias)} biases", "none", hint)]
        after = network.consumers(where)
        if len(after) == 1 and isinstance(after[0], SpikingLayer):
            return []
        hint = "fold pooling, batch norm and gates first"
        return [Issue("a spiking layer after each weight layer", where, str([la.name for la in after]), "one", hint)]
    if isinstance(op, SumPool2d | Concat):
        return []
    return [Issue("operation", where, type(op).__name__, "conv, dense, sum pool, neuron", "fold it first")]


def _unsupported_source(network: Network, layer: SpikingLayer) -> list[Issue]:
    weights = [name for name in layer.inputs if name != INPUT and isinstance(network[name], WeightLayer)]
    if len(weights) == len(layer.inputs) == 1:
        return []
    hint = "each weight layer has a factor of its own, and neurons need exactly one"
    return [Issue("one weight layer before each spiking layer", layer.name, str(list(layer.inputs)), "one", hint)]


def _share(leak: Leak | None) -> str:
    return "all" if leak is None else f"{leak.keep / 2**leak.shift:.4g}"
