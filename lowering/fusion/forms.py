"""The forms a kernel may have after `fuse-generics`, as a test of a kernel.

docs/00-architecture.md, level 3, has the table; `form_of` says which row a kernel is,
or what keeps it from being one.
"""

from __future__ import annotations

from enum import StrEnum

from xdsl.ir import Operation

from stepwell.dialects.fusion import (
    GenericOp,
    KernelOp,
    ScanOp,
    SortOp,
    YieldOp,
)
from stepwell.dialects.fusion.structured import Iterator, StructuredOp
from stepwell.dialects.quasi_affine import as_symbol

from .nest import is_final_map


class Form(StrEnum):
    """A row of the table."""

    MAP = "map"
    CONTRACTION = "contraction"
    REDUCTION = "reduction"
    ATTENTION = "attention"
    SCAN = "scan"
    SORT = "sort"
    SCATTER = "scatter"


def form_of(kernel: KernelOp) -> Form | str:
    """The form of a kernel, or a sentence that says why it has none."""
    ops = [op for op in kernel.block.ops if not isinstance(op, YieldOp)]
    if any(op.name == "nn.attention" for op in ops):
        return Form.ATTENTION
    clash = _name_clash(ops)
    if clash is not None:
        return clash
    anchors = [op for op in ops if not is_final_map(op)]
    if not anchors:
        return Form.MAP
    first = anchors[0]
    if isinstance(first, ScanOp | SortOp):
        return _followed_by_map(ops, first)
    if isinstance(first, GenericOp) and first.dests:
        return Form.SCATTER if len(ops) == 1 else "a scatter stands with other ops"
    if len(anchors) == 1 and _is_contraction(first):
        return _contraction_form(ops)
    return _reduction_form(ops)


def _is_contraction(op: Operation) -> bool:
    return (
        isinstance(op, GenericOp)
        and op.combines[0] in ("add", "or")
        and len(op.inputs) > 1
        and op.yielded[0].owner is not op.block
        and getattr(op.yielded[0].owner, "name", "") in _PRODUCTS
        and len(_data_inputs(op)) > 1
    )


_PRODUCTS = ("arith.mulf", "arith.muli", "arith.andi")


def _data_inputs(op: GenericOp) -> list[int]:
    return [n for n, a in enumerate(op.block.args) if a.first_use is not None]


def _contraction_form(ops: list[Operation]) -> Form | str:
    anchor, *rest = ops
    assert isinstance(anchor, GenericOp)
    if is_final_map(anchor):
        return "a map stands before the contraction"
    if not rest:
        return Form.CONTRACTION
    if len(rest) > 1:
        return f"{len(rest)} maps follow the contraction"
    (epilogue,) = rest
    assert isinstance(epilogue, GenericOp)
    parallel = tuple((n, s) for n, s, k in anchor.space if k is Iterator.PARALLEL)
    if tuple((n, s) for n, s, _ in epilogue.space) != parallel:
        return (
            f"the epilogue walks over {list(epilogue.dim_names)}, the contraction over "
            f"{[name for name, _ in parallel]}"
        )
    for value, access in zip(epilogue.inputs, epilogue.in_maps, strict=True):
        if value.owner is anchor and access.results != anchor.out_maps[0].results:
            return f"the epilogue reads at {access}, written at {anchor.out_maps[0]}"
    return Form.CONTRACTION


def _reduction_form(ops: list[Operation]) -> Form | str:
    outer: tuple[tuple[str, object], ...] | None = None
    for op in ops:
        if not isinstance(op, GenericOp):
            return f"{op.name} stands among reductions"
        if is_final_map(op):
            continue
        own = tuple((n, s) for n, s, k in op.space if k is Iterator.PARALLEL)
        if outer is None:
            outer = own
        if sorted(own, key=str) != sorted(outer, key=str):
            return f"reductions over {own} and {outer} stand in one kernel"
    assert outer is not None
    names = {name for name, _ in outer}
    for op in ops:
        assert isinstance(op, GenericOp)
        for value, access in zip(op.inputs, op.in_maps, strict=True):
            if not isinstance(value.owner, StructuredOp):
                continue
            written = value.owner.out_maps[value.owner.results.index(value)]
            used = {as_symbol(e) for e in access.results if not isinstance(e, int)}
            if not used <= names and access.results != written.results:
                return f"a result is read at {access}, not at the outer dims {names}"
    return Form.REDUCTION


def _followed_by_map(ops: list[Operation], anchor: StructuredOp) -> Form | str:
    if ops[0] is not anchor or len(ops) > 2:
        return f"expected {anchor.name} and at most one map"
    return Form.SCAN if isinstance(anchor, ScanOp) else Form.SORT


def _name_clash(ops: list[Operation]) -> str | None:
    sizes: dict[str, object] = {}
    for op in ops:
        if isinstance(op, StructuredOp):
            for name, size in op.extents.items():
                if sizes.setdefault(name, size) != size:
                    return f"dim '{name}' has the sizes {sizes[name]} and {size}"
    return None
