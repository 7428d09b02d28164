"""Higher-order ops: branches, loops, scans, and graphs that are called as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import fx
from xdsl.dialects.builtin import i64
from xdsl.ir import Attribute, Block, Region, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i1
from stepwell.dialects.shapes import dims_of, element_of, tensor_type
from stepwell.frontends.emit import reshape
from stepwell.frontends.torch.call import Call
from stepwell.frontends.torch.registry import Output, Rules


def inline(call: Call, graph: fx.GraphModule, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of a graph, imported where the builder stands."""
    issues = len(call.importer.issues)
    outputs: Any = call.importer.import_graph(graph, inputs, call.name)
    if len(call.importer.issues) > issues:
        raise call.unsupported("a graph with unsupported parts")
    return outputs if isinstance(outputs, list) else [outputs]


def tensors(
    call: Call, values: Sequence[Any], types: Sequence[Attribute]
) -> list[SSAValue]:
    """Outputs of a graph as tensors of the given element types."""
    return [
        call.operand(each, element_of(kind))
        for each, kind in zip(values, types, strict=True)
    ]


def result_types(call: Call) -> list[Attribute]:
    """The types of the call's results."""
    count = len(call.node.meta["val"])
    return [tensor_type(call.dims(i), call.element(i)) for i in range(count)]


def region(call: Call, graph: fx.GraphModule, inputs: Sequence[Any]) -> Region:
    """A region that ends in a yield of a graph's outputs."""
    block = Block()
    with call.builder.inside(block):
        outputs = inline(call, graph, inputs)
        nn.YieldOp(*tensors(call, outputs, result_types(call)))
    return Region(block)


def cond(
    call: Call,
    test: Any,
    then_graph: fx.GraphModule,
    else_graph: fx.GraphModule,
    operands: Sequence[Any] = (),
) -> Sequence[Output]:
    """One of two graphs, chosen by a scalar condition."""
    if isinstance(test, bool):
        return inline(call, then_graph if test else else_graph, operands)
    test = _scalar_test(call, test)
    regions = [region(call, graph, operands) for graph in (then_graph, else_graph)]
    return list(nn.IfOp(test, result_types(call), *regions).results)


def while_loop(
    call: Call,
    test_graph: fx.GraphModule,
    body_graph: fx.GraphModule,
    carried: Sequence[Any],
    extra: Sequence[Any] = (),
) -> Sequence[Output]:
    """A graph repeated while another one says so."""
    types = result_types(call)
    initial = tensors(call, carried, types)
    (test,) = inline(call, test_graph, [*initial, *extra])
    block = Block(arg_types=[tensor_type((), i64), *types])
    with call.builder.inside(block):
        outputs = inline(call, body_graph, [*block.args[1:], *extra])
        following = tensors(call, outputs, types)
        (again,) = inline(call, test_graph, [*following, *extra])
        nn.YieldOp(_scalar_test(call, again), *following)
    start = _scalar_test(call, test)
    return list(nn.LoopOp(None, start, initial, types, Region(block)).results)


def _scalar_test(call: Call, test: Any) -> SSAValue:
    return reshape(call.operand(test, i1), [])


def scan(
    call: Call,
    graph: fx.GraphModule,
    initial: Sequence[SSAValue],
    sequences: Sequence[SSAValue],
    extra: Sequence[Any] = (),
) -> Sequence[Output]:
    """A graph run over the rows of sequences, with state."""
    types = result_types(call)
    slices = [tensor_type(dims_of(x)[1:], element_of(x)) for x in sequences]
    states = types[: len(initial)]
    block = Block(arg_types=[*states, *slices])
    with call.builder.inside(block):
        outputs = inline(call, graph, [*block.args, *extra])
        nn.YieldOp(*tensors(call, outputs, types))
    start = tensors(call, initial, states)
    return list(nn.ScanOp(start, sequences, types, Region(block)).results)


def map_rows(
    call: Call,
    graph: fx.GraphModule,
    sequences: Sequence[SSAValue],
    extra: Sequence[Any] = (),
) -> Sequence[Output]:
    """A graph run over the rows of sequences."""
    return scan(call, graph, [], sequences, extra)


def grad_mode(
    call: Call, enabled: bool, graph: fx.GraphModule, *operands: Any
) -> Sequence[Output]:
    """A graph that is called with gradients on or off, which changes nothing here."""
    return inline(call, graph, operands)


def autocast(
    call: Call,
    device: str,
    dtype: Any,
    enabled: bool,
    cache: bool | None,
    graph: fx.GraphModule,
    *operands: Any,
) -> Sequence[Output]:
    """A graph that is called with automatic casts off."""
    if enabled:
        raise call.unsupported("autocast", fix="cast the model itself")
    return inline(call, graph, operands)


def subgraph(
    call: Call, graph: fx.GraphModule, name: str, *operands: Any
) -> Sequence[Output]:
    """A graph that is called."""
    return inline(call, graph, operands)


RULES: Rules = {
    "cond": cond,
    "while_loop": while_loop,
    "scan": scan,
    "map_impl": map_rows,
    "wrap_with_set_grad_enabled": grad_mode,
    "wrap_with_autocast": autocast,
    "invoke_subgraph": subgraph,
}
