"""Control flow: If, Loop, Scan. What is decided at import leaves no branch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from xdsl.dialects.builtin import i64
from xdsl.ir import Attribute, Block, Region, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.shapes import Dim, DimRange, dims_of, element_of, tensor_type
from stepwell.errors import ShapeError
from stepwell.frontends.contents import constant_tensor, materialise
from stepwell.frontends.emit import value
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.registry import Output, Rule
from stepwell.frontends.regions import (
    as_scalar,
    common_type,
    loop_block,
    tensor_of,
    widen,
)
from stepwell.frontends.values import Sequence_, Tensor, Value, is_symbolic

UNROLL_LIMIT = 64
"""Iterations up to which a loop over sequences is unrolled."""


def if_(node: Node) -> Sequence[Output]:
    """One branch if the condition is known, else both as regions."""
    branches = [node.attribute("then_branch"), node.attribute("else_branch")]
    condition = node.known_now(0)
    if condition is not None:
        taken = branches[0] if bool(condition.reshape(-1)[0]) else branches[1]
        return node.importer.import_inline(taken, {})
    test = node.x(0)
    if node.rank(0):
        test = value(nn.ReshapeOp(test, []))
    blocks = [Block(), Block()]
    yielded: list[list[SSAValue] | ShapeError] = []
    for branch, block in zip(branches, blocks, strict=True):
        try:
            yielded.append(import_region(node, branch, block, {}))
        except ShapeError as error:
            node.importer.forget(block)
            yielded.append(error)
    match yielded:
        case [ShapeError() as error, ShapeError()]:
            raise error
        case [ShapeError() as error, _]:
            return only_branch(node, test, branches[1], False, error)
        case [_, ShapeError() as error]:
            return only_branch(node, test, branches[0], True, error)
        case [list() as first, list() as second]:
            pairs = zip(first, second, strict=True)
            types = [common_type(node, *pair) for pair in pairs]
            return nn.IfOp(test, types, *map(Region, blocks)).results
        case _:
            raise AssertionError


def only_branch(
    node: Node,
    test: SSAValue,
    graph: onnx.GraphProto,
    wanted: bool,
    error: ShapeError,
) -> Sequence[Output]:
    """The one branch whose shapes fit; running into the other one is an error."""
    name = node.builder.fresh_name(f"{node.symbol_stem}_taken")
    taken = node.builder.symbol(name, DimRange(max=1))
    node.builder.read_symbols(value(nn.CastOp(test, i64)), [name])
    message = f"{node.label}: the other branch does not fit: {error.summary}"
    nn.AssertDimsOp(left=[taken], right=[int(wanted)], message=message)
    return node.importer.import_inline(graph, {})


def import_region(
    node: Node, graph: onnx.GraphProto, block: Block, inputs: dict[str, Value]
) -> list[SSAValue]:
    """Import `graph` into `block`, ending in a yield; the values it yields."""
    builder = node.builder
    with builder.inside(block):
        outputs = node.importer.import_inline(graph, inputs)
        if any(isinstance(output, Sequence_) for output in outputs):
            raise node.unknown(0)
        values = [materialise(output, builder) for output in tensors(outputs)]
        nn.YieldOp(*values)
    return values


def tensors(values: Sequence[Value]) -> list[Tensor]:
    """The tensors among `values`."""
    return [each for each in values if isinstance(each, Tensor)]


def loop(node: Node) -> Sequence[Output]:
    """A counted or conditional loop."""
    body = node.attribute("body")
    carried = [node.inputs[i] for i in range(2, len(node.inputs))]
    if any(not isinstance(each, Tensor) for each in carried):
        return unrolled(node, body, carried)
    count = node.known_now(0) if node.has(0) else None
    if count is not None and not is_symbolic(count) and int(count.item()) == 0:
        return unrolled(node, body, carried)
    initial = [node.x(i) for i in range(2, len(node.inputs))]
    dims = [list(dims_of(each)) for each in initial]
    open_dims: set[tuple[int, int]] = set()
    while True:
        block = loop_block(initial, dims)
        inputs: list[Value] = [
            tensor_of(block.args[0]),
            constant_tensor(np.array(True)),
        ]
        inputs += map(tensor_of, block.args[1:])
        names = [entry.name for entry in body.input]
        yielded = import_region(
            node, body, block, dict(zip(names, inputs, strict=True))
        )
        if not widen(node, dims, yielded[1 : len(initial) + 1], open_dims):
            break
        node.importer.forget(block)
    return finish_loop(node, block, initial, dims, yielded)


def finish_loop(
    node: Node,
    block: Block,
    initial: Sequence[SSAValue],
    dims: Sequence[Sequence[Dim]],
    yielded: Sequence[SSAValue],
) -> Sequence[SSAValue]:
    """The loop op around its finished body."""
    types = [
        tensor_type(shape, element_of(each))
        for each, shape in zip(initial, dims, strict=True)
    ]
    scans = yielded[len(initial) + 1 :]
    if scans:
        steps = trip_count(node, yielded[0])
        types += [tensor_type((steps, *dims_of(s)), element_of(s)) for s in scans]
    scalars = [
        None if each is None else as_scalar(each)
        for each in (node.optional(0), node.optional(1))
    ]
    count, condition = scalars
    return nn.LoopOp(count, condition, initial, types, Region(block)).results


def trip_count(node: Node, condition: SSAValue) -> Dim:
    """The number of iterations: known if nothing can end the loop early."""
    always = node.importer.is_true(condition)
    if node.has(1):
        start = node.known_now(1)
        always = always and start is not None and bool(start.item())
    if always and node.has(0) and node.known(0) is not None:
        return node.sizes(0)[0]
    limit = [node.sizes(0)[0]] if node.has(0) and node.known(0) is not None else []
    return node.fresh_size(limit) if limit else node.open_size()


def unrolled(
    node: Node, body: onnx.GraphProto, carried: Sequence[Value | None]
) -> Sequence[Output]:
    """A loop whose iterations are all known: what sequences need."""
    if not node.has(0):
        raise node.unsupported("a loop over sequences without a trip count")
    node.constants(0, 1)
    count = int(node.constant(0).item())
    if count > UNROLL_LIMIT:
        raise node.unsupported(f"a loop over sequences of {count} iterations")
    keep = constant_tensor(np.array(True))
    if node.has(1) and not bool(node.constant(1).item()):
        count = 0
    values = [each for each in carried if each is not None]
    scans: list[list[Value]] = [[] for _ in body.output[len(values) + 1 :]]
    for step in range(count):
        inputs: list[Value] = [constant_tensor(np.array(step)), keep, *values]
        names = [entry.name for entry in body.input]
        outputs = node.importer.import_inline(
            body, dict(zip(names, inputs, strict=True))
        )
        values = list(outputs[1 : len(values) + 1])
        for scan, output in zip(scans, outputs[len(values) + 1 :], strict=True):
            scan.append(output)
        again = outputs[0]
        if not isinstance(again, Tensor) or again.contents is None:
            raise node.unsupported("a loop over sequences whose end data decides")
        if not bool(again.contents.item()):
            break
    return [*values, *(stacked(node, scan) for scan in scans)]


def stacked(node: Node, parts: Sequence[Value]) -> Output:
    """Tensors along a new first dim."""
    rows = [
        nn.ReshapeOp(materialise(part, node.builder), [1, *part.dims])
        for part in tensors(parts)
    ]
    if not rows:
        raise node.unsupported("a scan output of a loop without iterations")
    return rows[0] if len(rows) == 1 else nn.ConcatOp(rows, axis=0)


def scan(node: Node) -> Sequence[Output]:
    """A loop over the elements of sequences, with state."""
    body = node.attribute("body")
    inputs = node.int("num_scan_inputs")
    states = len(node.inputs) - inputs
    outputs = len(node.outputs) - states
    values = node.all_x()
    axes = node.ints("scan_input_axes", [0] * inputs)
    slices: list[Attribute] = []
    steps: Dim = 0
    for x, axis in zip(values[states:], axes, strict=True):
        dims = list(dims_of(x))
        steps = dims.pop(axis % len(dims))
        slices.append(tensor_type(dims, element_of(x)))
    block = Block(arg_types=[*(x.type for x in values[:states]), *slices])
    names = [entry.name for entry in body.input]
    arguments: dict[str, Value] = dict(
        zip(names, map(tensor_of, block.args), strict=True)
    )
    yielded = import_region(node, body, block, arguments)
    out_axes = node.ints("scan_output_axes", [0] * outputs)
    types = [x.type for x in values[:states]]
    for each, axis in zip(yielded[states:], out_axes, strict=True):
        dims = list(dims_of(each))
        dims.insert(axis % (len(dims) + 1), steps)
        types.append(tensor_type(dims, element_of(each)))
    return nn.ScanOp(
        values[:states],
        values[states:],
        types,
        Region(block),
        input_axes=axes,
        output_axes=out_axes,
        reverse_inputs=node.ints("scan_input_directions", [0] * inputs),
        reverse_outputs=node.ints("scan_output_directions", [0] * outputs),
    ).results


RULES = (
    Rule("If", if_),
    Rule("Loop", loop),
    Rule("Scan", scan, since=9),
)
