"""Which nodes of a graph run in an engine and which in torch.

Sizes (nodes whose value is a number) belong to no part: each part computes those it
reads from the shapes of its own inputs.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

Node = torch.fx.Node


@dataclass(frozen=True)
class Part:
    """Nodes that run together, in the order of the graph."""

    nodes: tuple[Node, ...]
    is_engine: bool


def partition(
    graph: torch.fx.Graph,
    refused: Mapping[Node, str],
    smallest: int,
    views: Collection[Node] = (),
) -> list[Part]:
    """Parts in an order in which they can run.

    Ready nodes are taken by turns: all that engines can hold, then all that torch must
    run. So no part waits for itself, and there are few of them.

    Args:
        refused: the nodes that no engine can hold.
        smallest: parts with fewer nodes go to torch, unless they are the whole graph.
        views: nodes of no part, which only outputs and other views read.
    """
    calls = [node for node in graph.nodes if is_call(node) and node not in views]
    if not any(node in refused for node in calls):
        return [Part(tuple(calls), True)] if calls else []
    return _merged([_sized(part, smallest) for part in _parts(calls, refused)])


def is_call(node: Node) -> bool:
    """Whether a node computes tensors, or has an effect."""
    return node.op == "call_function" and not is_size(node)


def computes(node: Node) -> bool:
    """Whether a call is more than the choice of one result of another."""
    return node.target is not operator.getitem


def is_size(node: Node) -> bool:
    """Whether a node's value is a number rather than a tensor."""
    value = node.meta.get("val")
    return isinstance(
        value, int | float | torch.SymInt | torch.SymFloat | torch.SymBool
    )


def _parts(calls: Sequence[Node], refused: Mapping[Node, str]) -> Iterator[Part]:
    owners: dict[Node, Node] = {}
    waiting = dict.fromkeys(calls, 0)
    users: dict[Node, list[Node]] = {node: [] for node in calls}
    for node in calls:
        owners[node] = _owner(node, owners)
        for source in producers(node):
            users[source].append(node)
            waiting[node] += 1
    ready: dict[bool, deque[Node]] = {True: deque(), False: deque()}

    def enqueue(node: Node) -> None:
        ready[owners[node] not in refused].append(node)

    for node in calls:
        if not waiting[node]:
            enqueue(node)
    turn = True
    order = {node: index for index, node in enumerate(calls)}
    while ready[True] or ready[False]:
        taken: list[Node] = []
        while ready[turn]:
            node = ready[turn].popleft()
            taken.append(node)
            for user in users[node]:
                waiting[user] -= 1
                if not waiting[user]:
                    enqueue(user)
        if taken:
            yield Part(tuple(sorted(taken, key=order.__getitem__)), turn)
        turn = not turn


def producers(node: Node) -> list[Node]:
    """The calls that a node waits for, through the sizes that it reads."""
    found: dict[Node, None] = {}
    pending = list(node.all_input_nodes)
    seen = set(pending)
    while pending:
        source = pending.pop()
        if is_call(source):
            found[source] = None
        elif is_size(source):
            new = [each for each in source.all_input_nodes if each not in seen]
            seen.update(new)
            pending += new
    return list(found)


def _owner(node: Node, owners: Mapping[Node, Node]) -> Node:
    """The call that a `getitem` takes its value from; any other node itself."""
    if node.target is operator.getitem and isinstance(node.args[0], Node):
        return owners.get(node.args[0], node)
    return node


def _sized(part: Part, smallest: int) -> Part:
    is_large = sum(map(computes, part.nodes)) >= smallest
    return Part(part.nodes, part.is_engine and is_large)


def _merged(parts: Sequence[Part]) -> list[Part]:
    """Neighbouring parts of torch as one."""
    merged: list[Part] = []
    for part in parts:
        if merged and not part.is_engine and not merged[-1].is_engine:
            nodes = merged[-1].nodes + part.nodes
            merged[-1] = Part(nodes, False)
        else:
            merged.append(part)
    return merged
