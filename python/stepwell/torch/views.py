"""Results that share memory: several views of one tensor among a graph's outputs.

A caller may write to one and read the other. So those views are left to torch, which
makes them for nothing from the tensor that an engine gives.
"""

from __future__ import annotations

import operator
from collections import Counter
from dataclasses import replace

import torch
from torch._ops import OpOverload

from .program import Program

Node = torch.fx.Node


def share_views(program: Program) -> tuple[Program, frozenset[Node]]:
    """The program with views of its own for the outputs that share memory.

    Returns:
        The program, in which nothing else reads those views, and the views.
    """
    outputs = program.module.graph.output_node().all_input_nodes
    roots = {node: root_of(node) for node in outputs}
    shared = Counter(roots.values())
    arguments = set(program.arguments)
    wanted = {
        node
        for node, root in roots.items()
        if node is not root and (shared[root] > 1 or root in arguments)
    }
    if not wanted:
        return program, frozenset()
    graph, values = torch.fx.Graph(), dict[Node, Node]()
    graph.graph_copy(program.module.graph, values)
    views: dict[Node, Node] = {}

    def view(node: Node) -> Node:
        """The copy of a view, behind the copies of those that it is a view of."""
        if not is_view(node):
            return values[node]
        if node not in views:
            source = view(node.all_input_nodes[0])
            views[node] = graph.node_copy(node, lambda each: values[each])
            views[node].update_arg(0, source)
        return views[node]

    output = program.module.graph.output_node()
    result = torch.fx.map_arg(
        output.args[0], lambda node: view(node) if node in wanted else values[node]
    )
    graph.output(result)
    module = torch.fx.GraphModule(program.module, graph)
    return replace(program, module=module), frozenset(views.values())


def root_of(node: Node) -> Node:
    """The tensor that a node is a view of, of however many steps."""
    while is_view(node):
        node = node.all_input_nodes[0]
    return node


def is_view(node: Node) -> bool:
    """Whether a call gives views of its first operand, or is one of several views."""
    source = node.args[0] if node.args else None
    if not isinstance(source, torch.fx.Node):
        return False
    if node.target is operator.getitem:
        return is_view(source)
    target = node.target
    return isinstance(target, OpOverload) and target.is_view
