# SPDX-License-Identifier: Apache-2.0
"""Finds in which order a NIR graph computes, what each node reads, and which nodes no feed-forward network can have.

The order of nodes and edges in a file means nothing (nirtorch writes edges from a set), so nodes are ordered by what
they read and then by name, "10" after "9", and equal files give equal networks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import networkx as nx

from spikefold.errors import Issue
from spikefold.export.nir.file import Graph, Node


@dataclass(frozen=True, eq=False)
class Wiring:
    """Every node once, after all that it reads (those of a cycle last); what each reads; what is wrong."""

    order: tuple[Node, ...]
    reads: dict[str, tuple[str, ...]]
    issues: tuple[Issue, ...]


def wiring(graph: Graph) -> Wiring:
    """The order of a graph; cycles, loose nodes, and Inputs or Outputs other than one each are issues."""
    wires: nx.DiGraph[str] = nx.DiGraph(list(graph.edges))
    wires.add_nodes_from(graph.nodes)
    issues, used = [], set(graph.nodes)
    for kind, behind in (("Input", nx.descendants), ("Output", nx.ancestors)):
        ends = [node.name for node in graph.nodes.values() if node.kind == kind]
        if len(ends) != 1:
            hint = "join or cut them in the tool that wrote the file"
            issues.append(Issue(f"one {kind}", "graph", f"{len(ends)}: {sorted(ends)[:8]}", "one", hint))
        used &= set(ends).union(*(behind(wires, end) for end in ends[:8]))
    cyclic = set().union(*(part for part in nx.strongly_connected_components(wires) if len(part) > 1))
    cyclic |= {start for start, end in graph.edges if start == end}
    straight = wires.subgraph(graph.nodes.keys() - cyclic)
    order = [*nx.lexicographical_topological_sort(straight, key=_natural), *sorted(cyclic, key=_natural)]
    for name in order:
        if name in cyclic:
            hint = "no chip here runs recurrent connections: train without them"
            issues.append(Issue("no recurrence", str(graph.nodes[name]), "lies on a cycle", "none", hint))
        elif name not in used:
            got, hint = "lies on no way from Input to Output", "connect it, or leave it out"
            issues.append(Issue("connected", str(graph.nodes[name]), got, "on a way", hint))
    place = {name: index for index, name in enumerate(order)}
    reads = {name: tuple(sorted(wires.pred[name], key=place.__getitem__)) for name in order}
    return Wiring(tuple(graph.nodes[name] for name in order), reads, tuple(issues))


def _natural(name: str) -> list[tuple[bool, int, str]]:
    return [
        (not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.findall(r"\d+|\D+", name)
    ]
