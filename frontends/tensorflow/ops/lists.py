"""`TensorList` ops, on lists whose elements are stacked along a first dim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xdsl.ir import SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i32, i64
from stepwell.dialects.shapes import Dim, dims_of
from stepwell.frontends.contents import as_value, symbolic_tensor
from stepwell.frontends.emit import broadcast, cast, cut, reshape, scalar, value
from stepwell.frontends.tensorflow.node import Item, Node, TensorList
from stepwell.frontends.tensorflow.registry import Output, Rule
from stepwell.frontends.values import Tensor, dim_scalar, scalar_dim


def reserve(node: Node) -> Item:
    """A list of a given length, without elements yet."""
    (length,) = node.sizes(1)
    return TensorList(length, element_dims(node, 0), node.element("element_dtype"))


def empty(node: Node) -> Item:
    """A list without elements, to push to."""
    return TensorList(0, element_dims(node, 0), node.element("element_dtype"))


def element_dims(node: Node, index: int) -> tuple[Dim | None, ...] | None:
    """The shape of an element as far as an input says it."""
    given = node.known(index)
    if given is None or given.ndim == 0:
        return None
    return tuple(None if dim == -1 else dim for dim in given.tolist())


def from_tensor(node: Node) -> Item:
    """A list of the slices along the first dim."""
    length, *dims = node.dims()
    tensor = node.tensor(0)
    return TensorList(length, tuple(dims), tensor.element, tensor)


def stack(node: Node) -> Output:
    """The elements along a new first dim."""
    items = node.tensor_list()
    if items.stack is not None:
        return items.stack
    return stack_of(node, items, element_dims(node, 1))


def stack_of(
    node: Node, items: TensorList, hint: Sequence[Dim | None] | None = None
) -> SSAValue:
    """The elements along a new first dim: zeros where none was set."""
    if items.stack is not None:
        return node.importer.ssa(items.stack)
    dims = known_dims(items.dims) or known_dims(hint)
    if dims is None:
        raise node.unsupported("a list whose elements have no known shape")
    zero = scalar(node, 0, items.element)
    return broadcast(zero, [items.length, *dims])


def known_dims(dims: Sequence[Dim | None] | None) -> list[Dim] | None:
    """The dims if all of them are known."""
    if dims is None:
        return None
    found = [dim for dim in dims if dim is not None]
    return found if len(found) == len(dims) else None


def get_item(node: Node) -> Output:
    """The element at an index."""
    items = stack_of(node, node.tensor_list(), element_dims(node, 2))
    at = node.known_now(1)
    if at is None:
        return nn.GatherOp(items, node.x(1), axis=0)
    index = int(at.item())
    return reshape(cut(items, 0, index, index + 1), dims_of(items)[1:])


def set_item(node: Node) -> Item:
    """The list with one element replaced."""
    items, x = node.tensor_list(), node.x(2)
    dims = dims_of(x)
    row = reshape(x, [1, *dims])
    index = scalar_dim(node.known_now(1))
    may_grow = bool(node.attribute("resize_if_index_out_of_bounds"))
    if isinstance(index, int) and isinstance(items.length, int):
        if may_grow:
            items = grown(node, items, index + 1, dims)
        return with_stack(items, with_row(node, items, index, row))
    if may_grow:
        raise node.unsupported(
            "a list that grows where it is written",
            fix="give the TensorArray its size, or write to it in order",
        )
    old = stack_of(node, items, dims)
    at = reshape(cast(node.x(1), i64), [1, 1])
    new = value(nn.ScatterNdOp(old, at, row))
    return with_stack(items, new)


def grown(
    node: Node, items: TensorList, length: int, dims: Sequence[Dim]
) -> TensorList:
    """The list with zeros behind it, so that it has at least `length` elements."""
    assert isinstance(items.length, int)
    if items.length >= length:
        return items
    if items.stack is None:
        return replace(items, length=length)
    low, high = [0] * (len(dims) + 1), [length - items.length, *[0] * len(dims)]
    whole = nn.PadOp(stack_of(node, items), low=low, high=high)
    return with_stack(items, value(whole))


def with_row(node: Node, items: TensorList, index: int, row: SSAValue) -> SSAValue:
    """The elements with the one of a known index replaced."""
    assert isinstance(items.length, int)
    if not 0 <= index < items.length:
        raise node.invalid(f"expected an index below {items.length}, got {index}")
    if items.length == 1:
        return row
    old = stack_of(node, items, dims_of(row)[1:])
    parts = [cut(old, 0, 0, index), row, cut(old, 0, index + 1, items.length)]
    kept = [part for part in parts if dims_of(part)[0] != 0]
    return value(nn.ConcatOp(kept, axis=0))


def push_back(node: Node) -> Item:
    """The list with one more element."""
    items, x = node.tensor_list(), node.x(1)
    row = reshape(x, [1, *dims_of(x)])
    if items.stack is None and items.length == 0:
        return with_stack(items, row)
    joined = nn.ConcatOp([stack_of(node, items), row], axis=0)
    return with_stack(items, value(joined))


def with_stack(items: TensorList, stacked: SSAValue) -> TensorList:
    """The list with other elements."""
    tensor = as_value(stacked)
    assert isinstance(tensor, Tensor)
    length, *dims = tensor.dims
    return replace(items, length=length, dims=tuple(dims), stack=tensor)


def pop_back(node: Node) -> Sequence[Output]:
    """The list without its last element, and that element."""
    items = node.tensor_list()
    whole = stack_of(node, items)
    length, *dims = dims_of(whole)
    last = reshape(cut(whole, 0, length - 1, length), dims)
    return [with_stack(items, cut(whole, 0, 0, length - 1)), last]


def length(node: Node) -> Item:
    """How many elements there are."""
    return symbolic_tensor(dim_scalar(node.tensor_list().length), i32)


def gather(node: Node) -> Output:
    """The elements at indices, along a new first dim."""
    return nn.GatherOp(stack_of(node, node.tensor_list()), node.x(1), axis=0)


def concat(node: Node) -> Sequence[Output]:
    """The elements one after the other along their first dim, and their lengths."""
    items = node.tensor_list()
    whole = stack_of(node, items)
    count, size, *rest = dims_of(whole)
    sizes = broadcast(node.builder.dim_value(size), [count])
    return [reshape(whole, [count * size, *rest]), sizes]


RULES = (
    Rule("TensorListReserve", reserve),
    Rule("EmptyTensorList", empty),
    Rule("TensorListFromTensor", from_tensor),
    Rule("TensorListStack", stack, ignores=("num_elements",)),
    Rule("TensorListGetItem", get_item),
    Rule("TensorListSetItem", set_item),
    Rule("TensorListPushBack", push_back),
    Rule("TensorListPopBack", pop_back),
    Rule("TensorListLength", length),
    Rule("TensorListGather", gather),
    Rule("TensorListConcatV2", concat),
)
