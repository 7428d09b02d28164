"""One ATen call as a graph, run by the reference interpreter and by PyTorch itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    from torch import fx
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import (
        DimDynamic,
        ShapeEnv,
        StatelessSymbolicContext,
    )
    from torch.utils import _pytree as pytree

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.semantics import interpret
from stepwell.dialects.weights import WeightStore
from stepwell.frontends.torch import import_graph
from stepwell.frontends.torch.overloads import find_overload
from stepwell.frontends.torch.tensors import to_numpy

torch.set_num_threads(1)


def call_graph(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic: bool
) -> fx.GraphModule:
    """A graph of one call; its tensors are the inputs, of dynamic dims if asked."""
    op = find_overload(name)
    assert op is not None, f"no op {name}"
    environment = ShapeEnv()
    graph, count = fx.Graph(), 0
    with warnings.catch_warnings(), FakeTensorMode(shape_env=environment) as mode:
        warnings.simplefilter("ignore")

        def lift(value: Any) -> Any:
            nonlocal count
            if not isinstance(value, torch.Tensor):
                return value
            node = graph.placeholder(f"x{count}")
            kinds = [DimDynamic.DYNAMIC if dynamic else DimDynamic.STATIC] * value.dim()
            context = StatelessSymbolicContext(dynamic_sizes=kinds)
            source = torch._dynamo.source.LocalSource(f"x{count}")
            node.meta["val"] = mode.from_tensor(
                value, source=source, symbolic_context=context
            )
            count += 1
            return node

        given = pytree.tree_map(lift, args)
        named = pytree.tree_map(lift, kwargs)
        call = graph.call_function(op, tuple(given), named)
        fakes = fx.node.map_arg((call.args, call.kwargs), lambda node: node.meta["val"])
        call.meta["val"] = op(*fakes[0], **fakes[1])
    results = call.meta["val"]
    if isinstance(results, tuple | list):
        parts = [graph.call_function(_item, (call, i)) for i in range(len(results))]
        for part, result in zip(parts, results, strict=True):
            part.meta["val"] = result
        graph.output(tuple(parts))
    else:
        graph.output((call,))
    return fx.GraphModule(torch.nn.Module(), graph)


def _item(values: Any, index: int) -> Any:
    return values[index]


_item.__name__ = "getitem"


def run_graph(module: fx.GraphModule, inputs: list[Any]) -> list[np.ndarray[Any, Any]]:
    """The outputs of a graph by the reference interpreter."""
    context = StepwellContext(weights=WeightStore())
    register_dialects(context)
    built = import_graph(module, context)
    return interpret(built, [to_numpy(each) for each in inputs], context.weights)


def check_op(
    name: str,
    *args: Any,
    dynamic: bool = False,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    outputs: int | None = None,
    **kwargs: Any,
) -> None:
    """Compare one call with PyTorch's own: shapes, dtypes and elements."""
    module = call_graph(name, args, kwargs, dynamic)
    op = find_overload(name)
    assert op is not None
    wanted = op(*args, **kwargs)
    wanted = list(wanted) if isinstance(wanted, tuple | list) else [wanted]
    if outputs is not None:
        wanted = wanted[:outputs]
        output = next(iter(module.graph.find_nodes(op="output")))
        output.args = (output.args[0][:outputs],)
        for call in module.graph.nodes:
            if call.name.startswith("getitem") and not call.users:
                module.graph.erase_node(call)
    inputs = [x for x in pytree.tree_leaves((args, kwargs)) if torch.is_tensor(x)]
    got = run_graph(module, inputs)
    assert len(got) == len(wanted)
    for ours, theirs in zip(got, wanted, strict=True):
        reference = to_numpy(theirs)
        assert ours.dtype == reference.dtype, name
        assert ours.shape == reference.shape, name
        np.testing.assert_allclose(
            ours.astype(np.float64),
            reference.astype(np.float64),
            rtol=rtol,
            atol=atol,
            equal_nan=True,
            err_msg=name,
        )


@pytest.fixture(name="check_op")
def check_op_fixture() -> Callable[..., None]:
    """`check_op`."""
    return check_op
