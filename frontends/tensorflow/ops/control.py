"""Control flow: branches and loops. What is decided at import leaves no branch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.ir import Attribute, Block, Region, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import is_bool
from stepwell.dialects.shapes import element_of
from stepwell.errors import UnsupportedError
from stepwell.frontends.emit import like, reshape, value
from stepwell.frontends.regions import common_type, tensor_of
from stepwell.frontends.tensorflow.graph import Body
from stepwell.frontends.tensorflow.node import Item, Node, Resource, TensorList
from stepwell.frontends.tensorflow.ops.lists import with_stack
from stepwell.frontends.tensorflow.ops.loops import as_ssa, while_
from stepwell.frontends.tensorflow.ops.structure import prefix_of
from stepwell.frontends.tensorflow.registry import Output, Rule
from stepwell.frontends.values import Tensor


def if_(node: Node) -> Sequence[Output]:
    """One branch if the condition is known, else both as regions."""
    bodies = [
        node.importer.function(node.attribute(name).name)
        for name in ("then_branch", "else_branch")
    ]
    node.attribute("output_shapes")
    condition = node.known_now(0)
    if condition is not None:
        body = bodies[0] if bool(condition.reshape(-1)[0]) else bodies[1]
        return node.importer.call(body, node.inputs[1:], prefix_of(node))
    return branch(node, truth(node, node.x(0)), bodies)


def truth(node: Node, test: SSAValue) -> SSAValue:
    """A scalar as a condition: numbers other than 0 are true."""
    if not is_bool(element_of(test)):
        test = value(nn.CompareOp(test, like(node, 0, test), predicate="ne"))
    return reshape(test, [])


def branch(node: Node, test: SSAValue, bodies: Sequence[Body]) -> Sequence[Output]:
    """Both branches as regions of one op."""
    blocks = [Block() for _ in bodies]
    found: list[tuple[list[SSAValue], Sequence[Item]]] = []
    errors: list[UnsupportedError] = []
    for body, block in zip(bodies, blocks, strict=True):
        try:
            found.append(in_region(node, body, block))
        except UnsupportedError as error:  # the other branch has its say, too
            errors.append(error)
    if errors:
        raise errors[0]
    kinds: list[Attribute] = []
    for left, right in zip(*(values for values, _ in found), strict=True):
        kinds.append(common_type(node, left, right))
    results = nn.IfOp(test, kinds, *map(Region, blocks)).results
    _, items = found[0]
    return [
        with_stack(item, result) if isinstance(item, TensorList) else result
        for item, result in zip(items, results, strict=True)
    ]


def in_region(
    node: Node, body: Body, block: Block
) -> tuple[list[SSAValue], Sequence[Item]]:
    """Import a branch into `block`, ending in a yield: what it yields, and as what."""
    with node.builder.inside(block):
        items = node.importer.call(body, node.inputs[1:], prefix_of(node))
        values = [as_ssa(node, item) for item in items]
        nn.YieldOp(*values)
    return values, items


def case(node: Node) -> Sequence[Output]:
    """One of several branches, by number; out of range is the last one."""
    bodies = [node.importer.function(each.name) for each in node.attribute("branches")]
    node.attribute("output_shapes")
    chosen = node.known_now(0)
    last = len(bodies) - 1
    if chosen is not None:
        index = int(chosen.item())
        body = bodies[index if 0 <= index <= last else last]
        return node.importer.call(body, node.inputs[1:], prefix_of(node))
    return pick(node, node.x(0), bodies, 0)


def pick(
    node: Node, index: SSAValue, bodies: Sequence[Body], first: int
) -> Sequence[Output]:
    """Nested branches: is it the first one, or one of the rest?"""
    if len(bodies) == 1:
        return node.importer.call(bodies[0], node.inputs[1:], prefix_of(node))
    number = node.builder.constant(np.array(first, np.int32))
    test = reshape(value(nn.CompareOp(index, number, predicate="eq")), [])
    blocks = [Block(), Block()]
    taken, items = in_region(node, bodies[0], blocks[0])
    with node.builder.inside(blocks[1]):
        rest = pick(node, index, bodies[1:], first + 1)
        others = [as_ssa(node, _item(each)) for each in rest]
        nn.YieldOp(*others)
    kinds = [common_type(node, *pair) for pair in zip(taken, others, strict=True)]
    results = nn.IfOp(test, kinds, *map(Region, blocks)).results
    return [
        with_stack(item, result) if isinstance(item, TensorList) else result
        for item, result in zip(items, results, strict=True)
    ]


def _item(output: Output) -> Item:
    if isinstance(output, SSAValue):
        return tensor_of(output)
    assert isinstance(output, Tensor | TensorList | Resource)
    return output


HINTS = ("parallel_iterations", "output_shapes", "max_iterations")

RULES = (
    *(Rule(name, if_, ignores=HINTS) for name in ("If", "StatelessIf")),
    *(Rule(name, case, ignores=HINTS) for name in ("Case", "StatelessCase")),
    *(Rule(name, while_, ignores=HINTS) for name in ("While", "StatelessWhile")),
)
