# SPDX-License-Identifier: Apache-2.0
"""What no network here can hold is refused by the name of its node, all of it at once."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest

from spikefold.errors import ConfigError
from spikefold.export.nir.from_nir import read
from spikefold.export.nir.options import nir_options
from tests.export.nir.nir_cases import OURS, chain_file, conv_node, ends, graph_file, if_node, issues_of, lif_node

pytestmark = pytest.mark.usefixtures("in_this_process")


# ---- refusals ---------------------------------------------------------------------------------------------------


def test_everything_is_refused_at_once_and_by_name(tmp_path: Path) -> None:
    first, last = ends((2, 8, 8), (3,))
    pair = [np.array(v) for v in ([2, 2], [1, 1], [0, 0], [1, 0], [3, 3])]
    nodes = {
        "in": first, "c1d": nir.Conv1d(8, np.ones((1, 2, 3)), 1, 0, 1, 1, np.zeros(1)),
        "delay": nir.Delay(np.ones(2)),
        "scale": nir.Scale(np.ones(2)), "over": nir.SumPool2d(pair[0], pair[1], pair[2]),
        "sparse": nir.AvgPool2d(pair[0], pair[4], pair[2]), "padded": nir.AvgPool2d(pair[0], pair[0], pair[3]),
        "strided": conv_node((2, 2, 3, 3), (8, 8), padding="same", stride=2), "leaks": lif_node(2, v_leak=0.5),
        "fast": lif_node(2, tau=0.5), "dead": if_node(2, r=0.0), "floor": if_node(2, theta=0.0),
        "matrix": nir.Linear(np.ones((2, 3, 4))),
        "many": nir.LIF(np.array([2.0, 3]), np.ones(2), np.zeros(2), np.ones(2)), "li": nir.LI(*[np.ones(2)] * 3),
        "i": nir.I(np.ones(2)), "step": nir.Threshold(np.ones(2)), "ok": if_node(3), "out": last,
    }  # fmt: skip
    found = issues_of(graph_file(tmp_path / "n.nir", nodes))
    kinds = {name: f"{name} ({type(node).__name__})" for name, node in nodes.items()}
    for name in ("c1d", "delay", "scale", "li", "i", "step"):
        assert found.pop(f"{kinds[name]}: a node of the subset") == type(nodes[name]).__name__
    assert found == {
        f"{kinds['over']}: pool windows side by side": "overlapping: stride (1, 1)",
        f"{kinds['sparse']}: pool windows side by side": "sparse: stride (3, 3)",
        f"{kinds['padded']}: pool without padding": "padding (1, 0)",
        f"{kinds['strided']}: padding 'same'": "stride (2, 2)",
        f"{kinds['leaks']}: v_leak is zero": "0.5",
        f"{kinds['fast']}: leak": "-1 kept a step",
        f"{kinds['dead']}: input scaling": "0",
        f"{kinds['floor']}: threshold above 0": "0",
        f"{kinds['many']}: one tau a layer": "0.5 to 0.666667 kept",
        f"{kinds['matrix']}: one matrix": "weight (2, 3, 4)",
    }


def test_recurrence_is_refused_by_the_names_of_its_nodes_only(tmp_path: Path) -> None:
    first, last = ends((2,), (2,))
    nodes = {
        "in": first,
        "w": nir.Linear(np.eye(2)),
        "s": if_node(2),
        "back": nir.Linear(np.eye(2)),
        "v": nir.Linear(np.eye(2)),
        "o": if_node(2),
        "out": last,
    }
    edges = [("in", "w"), ("w", "s"), ("s", "back"), ("back", "s"), ("s", "v"), ("v", "o"), ("o", "o"), ("o", "out")]
    assert set(issues_of(graph_file(tmp_path / "n.nir", nodes, edges))) == {
        "s (IF): no recurrence",
        "back (Linear): no recurrence",
        "o (IF): no recurrence",
    }


def test_loose_nodes_several_ends_and_silent_outputs_are_refused(tmp_path: Path) -> None:
    first, last = ends((2,), (2,))
    nodes = {
        "in": first,
        "w": nir.Linear(np.eye(2)),
        "o": if_node(2),
        "out": last,
        "loose": if_node(2),
        "end": nir.Linear(np.eye(2)),
    }
    edges = [("in", "w"), ("w", "o"), ("o", "out"), ("loose", "w"), ("w", "end")]
    found = issues_of(graph_file(tmp_path / "a.nir", nodes, edges))
    assert set(found) == {"loose (IF): connected", "end (Linear): connected"}
    found = issues_of(
        graph_file(tmp_path / "b.nir", {"in": first, "in2": first, "w": nir.Linear(np.eye(2)), "out": last})
    )
    assert {"graph: one Input", "out (Output): one spiking output"} <= set(found)
    assert "out (Output): one spiking output" in issues_of(graph_file(tmp_path / "c.nir", {"in": first, "out": last}))


def test_shapes_that_do_not_meet_are_refused(tmp_path: Path) -> None:
    first, last = ends((2, 4, 4), (3,))
    dense = nir.Linear(np.ones((3, 32)))
    flat = nir.Flatten({"input": np.array([2, 4, 4])}, 0, 1)
    for name, nodes, expected in (
        ("no flatten", {"d": dense, "o": if_node(3)}, "d (Linear): shape"),
        ("half a flatten", {"f": flat, "d": dense, "o": if_node(3)}, "f (Flatten): Flatten of everything"),
        (
            "channels",
            {"c": conv_node((3, 3, 1, 1), (4, 4)), "o": if_node(3, 4, 4)},
            "c (Conv2d): conv takes 3 channels, its input has 2",
        ),
        ("size", {"c": conv_node((3, 2, 4, 4), (5, 4)), "o": if_node(3)}, "c (Conv2d): input shape"),
        ("parameters", {"c": conv_node((3, 2, 4, 4), (4, 4)), "o": if_node(2)}, "o (IF): parameters"),
        ("output", {"c": conv_node((2, 2, 4, 4), (4, 4)), "o": if_node(2)}, "out (Output): output shape"),
        ("input", {"c": conv_node((3, 2, 4, 4), (4, 4)), "o": if_node(3)}, "in (Input): input shape"),
    ):
        given = nir.Input({"input": np.array([5, 2, 4, 4])}) if name == "input" else first
        found = issues_of(graph_file(tmp_path / "n.nir", {"in": given, **nodes, "out": last}))
        assert expected in found, (name, found)


def test_classes_and_neurons_that_no_network_has_are_refused(tmp_path: Path) -> None:
    path = chain_file(tmp_path / "n.nir", 3, nir.Linear(np.eye(3)), if_node(3))
    assert read(path, OURS).classes == 3
    assert "3 output neurons do not split into 2 classes" in str(list(issues_of(path, classes=2)))


def test_options_are_checked(tmp_path: Path) -> None:
    made = nir_options(
        ["reset=zero", "max_spikes=many", "fire=>", "input_shape=[2,3,4]", "dt=1e-3"], steps=9, dt_us=None
    )
    assert (made.steps, made.dt_us, made.fire, made.input_shape) == (9, None, ">", (2, 3, 4))
    assert made.semantics().max_spikes is None
    with pytest.raises(ConfigError) as caught:
        nir_options(["resets=zero", "steps=0", "convention=snntroch"])
    said = str(caught.value)
    for part in ("unknown option 'resets'. Did you mean 'reset'?", "steps:", "convention:", "'snntroch'"):
        assert part in said
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        nir_options(["reset"])
