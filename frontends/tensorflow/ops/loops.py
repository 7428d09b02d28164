"""`While`: a loop over what changes, with the rest passed through.

Of the values that TensorFlow carries round a loop most are none that a loop needs:

* *invariants* come back as they went in: weights, bounds, lists that are only read;
* *counters* grow by a constant: they follow from the iteration's number;
* *scans* are lists whose element of each iteration is set in it: what `nn.loop` stacks.

Counters and scans need a number of iterations that is known before the loop, which is
read off the condition: bounds on counters, joined by and.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from xdsl.ir import Block, Region, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dims import bounds
from stepwell.dialects.shapes import (
    Dim,
    ceildiv,
    dim_max,
    dim_min,
    dims_of,
    element_of,
    tensor_type,
)
from stepwell.frontends.contents import constant_tensor, materialise, symbolic_tensor
from stepwell.frontends.emit import cast, like, reshape, value
from stepwell.frontends.regions import loop_block, tensor_of, widen
from stepwell.frontends.tensorflow.graph import Body, Ref
from stepwell.frontends.tensorflow.node import (
    ComplexTensor,
    Item,
    Node,
    Resource,
    TensorList,
)
from stepwell.frontends.tensorflow.ops.lists import stack_of, with_stack
from stepwell.frontends.tensorflow.ops.structure import prefix_of
from stepwell.frontends.tensorflow.registry import Output
from stepwell.frontends.tensorflow.saved_model import constant_of
from stepwell.frontends.values import Tensor, dim_scalar, scalar_dim


@dataclass
class Loop:
    """One `While` on its way: what is known of each of its values.

    Args:
        node: the `While`.
        cond, body: its functions.
        invariants: indices of the values that do not change.
        counters: start and step by index.
        trips: the number of iterations, if it is known before the loop.
        scans: by index of a list, the item that each iteration sets, as the body
            names it.
    """

    node: Node
    cond: Body
    body: Body
    invariants: set[int] = field(default_factory=set[int])
    counters: dict[int, tuple[Dim, int]] = field(
        default_factory=dict[int, tuple[Dim, int]]
    )
    trips: Dim | None = None
    scans: dict[int, Ref] = field(default_factory=dict[int, Ref])

    @property
    def carried(self) -> list[int]:
        """The values that the loop carries."""
        left_out = {*self.invariants, *self.scans}
        if self.trips is not None:
            left_out |= {*self.counters}
        return [i for i in range(len(self.node.inputs)) if i not in left_out]

    def items(self, index: SSAValue, carried: Sequence[Item]) -> list[Item]:
        """The arguments of one iteration: its number, and the carried values."""
        items = list(self.node.inputs)
        for position, item in zip(self.carried, carried, strict=True):
            items[position] = item
        if self.trips is not None:
            for position in self.counters:
                items[position] = self.counted(position, index)
        return items

    def counted(self, position: int, index: SSAValue) -> Tensor:
        """A counter's value in the iteration of a number."""
        start, step = self.counters[position]
        element = self.node.element_of(position)
        found = cast(index, element)
        if step != 1:
            found = value(nn.MulOp(found, like(self.node, step, found)))
        if start != 0:
            first = cast(self.node.builder.dim_value(start), element)
            found = value(nn.AddOp(found, first))
        return tensor_of(found)


def while_(node: Node) -> Sequence[Output]:
    """A loop that carries what changes, but for counters and stacked results."""
    loop = analyse(node)
    if loop.trips is not None and loop.trips == 0:
        return list(node.inputs)
    initial = fill_in(loop, [start_of(node, node.inputs[i]) for i in loop.carried])
    dims = [list(dims_of(each)) for each in initial]
    open_dims: set[tuple[int, int]] = set()
    while True:
        block = loop_block(initial, dims)
        yielded, scanned = import_body(loop, block)
        if not widen(node, dims, yielded[1:], open_dims):
            break
        node.importer.forget(block)
    return finish(loop, block, initial, dims, scanned)


def analyse(node: Node) -> Loop:
    """Find out what changes, and how often."""
    importer = node.importer
    loop = Loop(
        node,
        importer.function(node.attribute("cond").name),
        importer.function(node.attribute("body").name),
    )
    body = loop.body
    for index, name in enumerate(body.arguments):
        source = origin(body, body.results[index])
        if source == (name, 0):
            loop.invariants.add(index)
        elif (counter := counter_of(loop, index, source)) is not None:
            loop.counters[index] = counter
    loop.trips = trip_count(loop)
    if loop.trips is not None:
        loop.scans = find_scans(loop)
    return loop


def origin(body: Body, ref: Ref) -> Ref:
    """The output that a ref stands for, behind identities."""
    while (node := body.nodes.get(ref[0])) is not None and node.op == "Identity":
        ref = body.inputs(node)[0]
    return ref


def counter_of(loop: Loop, index: int, source: Ref) -> tuple[Dim, int] | None:
    """Start and step, if a value is an integer that grows by a constant."""
    body, node = loop.body, loop.body.nodes.get(source[0])
    item = loop.node.inputs[index]
    if node is None or node.op not in ("Add", "AddV2") or not isinstance(item, Tensor):
        return None
    argument = (body.arguments[index], 0)
    operands = [origin(body, ref) for ref in body.inputs(node)]
    if argument not in operands:
        return None
    operands.remove(argument)
    step, start = (
        known_integer(loop, body, operands[0]),
        scalar_dim(loop.node.known(index)),
    )
    if not isinstance(step, int) or step <= 0 or start is None:
        return None
    return start, step


def known_integer(loop: Loop, body: Body, ref: Ref) -> Dim | None:
    """The value of a scalar that is a constant, or an invariant of the loop."""
    if ref[0] in body.arguments:
        index = list(body.arguments).index(ref[0])
        result = origin(loop.body, loop.body.results[index])
        if result != (loop.body.arguments[index], 0):
            return None
        item = loop.node.inputs[index]
        return scalar_dim(loop.node.known(index)) if isinstance(item, Tensor) else None
    array = constant_of(body.nodes.get(ref[0]))
    return None if array is None else scalar_dim(array)


COMPARISONS = {
    "Less": (False, 0),
    "LessEqual": (False, 1),
    "Greater": (True, 0),
    "GreaterEqual": (True, 1),
}
"""Of `counter < bound`: whether the operands are swapped, and what to add to bound."""


def trip_count(loop: Loop) -> Dim | None:
    """The number of iterations, if the condition only bounds counters."""
    cond = loop.cond
    pending = [origin(cond, cond.results[0])]
    trips: Dim | None = None
    while pending:
        node = cond.nodes.get(pending.pop()[0])
        if node is None:
            return None
        operands = [origin(cond, ref) for ref in cond.inputs(node)]
        if node.op == "LogicalAnd":
            pending += operands
            continue
        count = bounded_trips(loop, node.op, operands)
        if count is None:
            return None
        trips = count if trips is None else dim_min(trips, count)
    return trips


def bounded_trips(loop: Loop, op: str, operands: Sequence[Ref]) -> Dim | None:
    """How often `counter < bound` holds."""
    if op not in COMPARISONS:
        return None
    is_swapped, extra = COMPARISONS[op]
    counter, bound = reversed(operands) if is_swapped else operands
    cond = loop.cond
    if counter[0] not in cond.arguments:
        return None
    index = list(cond.arguments).index(counter[0])
    limit = known_integer(loop, cond, bound)
    if index not in loop.counters or limit is None:
        return None
    start, step = loop.counters[index]
    count = ceildiv(limit + extra - start, step)
    ranges = loop.node.builder.ranges
    return count if bounds(count, ranges)[0] >= 0 else dim_max(count, 0)


def find_scans(loop: Loop) -> dict[int, Ref]:
    """The lists whose element `i` is set in iteration `i`, and nothing else."""
    body = loop.body
    uses: dict[Ref, int] = {}
    for node in body.nodes.values():
        for ref in body.inputs(node):
            uses[ref] = uses.get(ref, 0) + 1
    found: dict[int, Ref] = {}
    for index, name in enumerate(body.arguments):
        item = loop.node.inputs[index]
        node = body.nodes.get(origin(body, body.results[index])[0])
        if node is None or not isinstance(item, TensorList) or uses.get((name, 0)) != 1:
            continue
        operands = [origin(body, ref) for ref in body.inputs(node)]
        if operands[0] != (name, 0):
            continue
        if node.op == "TensorListPushBack" and item.length == 0:
            found[index] = body.inputs(node)[1]
        is_next = node.op == "TensorListSetItem" and is_iteration(loop, operands[1])
        grows = node.attr["resize_if_index_out_of_bounds"].b and item.length == 0
        if is_next and item.stack is None and (grows or item.length == loop.trips):
            found[index] = body.inputs(node)[2]
    return found


def is_iteration(loop: Loop, ref: Ref) -> bool:
    """Whether a scalar of the body is the number of the iteration."""
    arguments = list(loop.body.arguments)
    if ref[0] not in arguments:
        return False
    return loop.counters.get(arguments.index(ref[0])) == (0, 1)


def start_of(node: Node, item: Item) -> SSAValue | TensorList:
    """The first value of a carried item; a list without elements stays one."""
    if isinstance(item, TensorList) and item.stack is None:
        return item
    return as_ssa(node, item)


def fill_in(loop: Loop, initial: Sequence[SSAValue | TensorList]) -> list[SSAValue]:
    """The first values, with zeros for the elements of lists that have none yet.

    The shape of such an element is found by importing the body once for that.
    """
    lists = [i for i, each in enumerate(initial) if isinstance(each, TensorList)]
    if not lists:
        return [each for each in initial if isinstance(each, SSAValue)]
    node = loop.node
    plain = [each for each in initial if isinstance(each, SSAValue)]
    block = loop_block(plain, [dims_of(each) for each in plain])
    arguments = iter(block.args[1:])
    carried: list[Item] = []
    for position, each in zip(loop.carried, initial, strict=True):
        item = node.inputs[position]
        if isinstance(each, TensorList):
            carried.append(each)
        else:
            carried.append(rewrap(item, next(arguments)))
    with node.builder.inside(block):
        items = loop.items(block.args[0], carried)
        results = node.importer.call(loop.body, items, prefix_of(node))
    filled: list[SSAValue] = []
    for position, each in zip(loop.carried, initial, strict=True):
        if isinstance(each, SSAValue):
            filled.append(each)
            continue
        after = results[position]
        assert isinstance(after, TensorList)
        filled.append(stack_of(node, each, after.dims))
    node.importer.forget(block)
    return filled


def rewrap(item: Item, ssa: SSAValue) -> Item:
    """A new value for an item, as the same kind of item."""
    return with_stack(item, ssa) if isinstance(item, TensorList) else tensor_of(ssa)


def import_body(loop: Loop, block: Block) -> tuple[list[SSAValue], list[SSAValue]]:
    """Import one iteration into `block`: what it yields, and the scanned elements."""
    node = loop.node
    builder = node.builder
    carried = [
        rewrap(node.inputs[position], ssa)
        for position, ssa in zip(loop.carried, block.args[1:], strict=True)
    ]
    with builder.inside(block):
        items = loop.items(block.args[0], carried)
        extra = list(loop.scans.values())
        body = Body(
            loop.body.name,
            loop.body.nodes,
            loop.body.arguments,
            [*(loop.body.results[i] for i in loop.carried), *extra],
        )
        found = node.importer.call(body, items, prefix_of(node))
        count = len(loop.carried)
        nexts = [as_ssa(node, item) for item in found[:count]]
        scanned = [as_ssa(node, item) for item in found[count:]]
        going = next_condition(loop, found[:count])
        yielded = [going, *nexts]
        nn.YieldOp(*yielded, *scanned)
    return yielded, scanned


def as_ssa(node: Node, item: Item) -> SSAValue:
    """What a region takes or yields for an item."""
    match item:
        case TensorList():
            return stack_of(node, item)
        case Tensor():
            return materialise(item, node.builder)
        case Resource():
            raise node.unsupported("a branch or loop that changes which variable it is")
        case ComplexTensor():
            raise node.unsupported("complex numbers out of a branch or loop")


def next_condition(loop: Loop, carried: Sequence[Item]) -> SSAValue:
    """Whether there is another iteration, after one."""
    if loop.trips is not None:
        return loop.node.importer.ssa(constant_tensor(np.array(True)))
    return condition(loop, carried)


def condition(loop: Loop, carried: Sequence[Item]) -> SSAValue:
    """The loop's condition on given values."""
    node = loop.node
    items = list(node.inputs)
    for position, item in zip(loop.carried, carried, strict=True):
        items[position] = item
    (found,) = node.importer.call(loop.cond, items, prefix_of(node))
    return reshape(as_ssa(node, found), [])


def finish(
    loop: Loop,
    block: Block,
    initial: Sequence[SSAValue],
    dims: Sequence[Sequence[Dim]],
    scanned: Sequence[SSAValue],
) -> list[Output]:
    """The loop op around its finished body, and the `While`'s results."""
    node = loop.node
    kinds = [
        tensor_type(shape, element_of(each))
        for each, shape in zip(initial, dims, strict=True)
    ]
    trips = start = None
    if loop.trips is None:
        start = condition(loop, [node.inputs[i] for i in loop.carried])
    else:
        trips = node.builder.dim_value(loop.trips)
        kinds += [
            tensor_type((loop.trips, *dims_of(each)), element_of(each))
            for each in scanned
        ]
    results = nn.LoopOp(trips, start, initial, kinds, Region(block)).results
    outputs: list[Output] = list(node.inputs)
    made = dict(zip([*loop.carried, *loop.scans], results, strict=True))
    for position, result in made.items():
        outputs[position] = rewrap(node.inputs[position], result)
    if loop.trips is not None:
        for position, (first, step) in loop.counters.items():
            last = first + step * loop.trips
            element = node.element_of(position)
            outputs[position] = symbolic_tensor(dim_scalar(last), element)
    return outputs
