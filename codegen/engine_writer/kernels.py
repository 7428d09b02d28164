"""Kernels: how they are launched, and the tensor maps that they are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.shapes import product
from stepwell.dialects.tile import FuncOp, TensorMapType, WindowAttr
from stepwell.runtime.manifest import Kernel, TensorMap

from .attributes import exprs
from .options import DeviceCode

NO_SWIZZLE = 16
"""The swizzle of a box that is copied as it is, in bytes."""


def kernel_of(function: FuncOp) -> Kernel:
    """The kernel of a function of `tile`, as far as its head tells."""
    maps = [
        _tensor_map(index, argument.type)
        for index, argument in enumerate(function.args)
        if isinstance(argument.type, TensorMapType)
    ]
    return Kernel(
        function.sym_name.data,
        len(function.args),
        len(function.symbol_names),
        exprs(function.grid.data),
        function.symbol_names,
        maps=tuple(maps),
    )


def with_block(kernel: Kernel, code: DeviceCode | None) -> Kernel:
    """The kernel with what the code generator has found out."""
    block = None if code is None else code.blocks.get(kernel.symbol)
    if block is None:
        return kernel
    return replace(
        kernel,
        symbol=block.symbol,
        grid=exprs([block.blocks]),
        threads=block.threads,
        shared=block.shared,
        cluster=block.cluster,
    )


def _tensor_map(index: int, kind: TensorMapType) -> TensorMap:
    """How the host encodes argument `index`: box, swizzle and strides by its type."""
    boxes, dims = kind.boxes(kind.tile), kind.dims
    rows, columns = boxes.extents
    element = numpy_dtype(kind.element_type)
    strides = [product(dims[i:]) * element.itemsize for i in range(1, len(dims))]
    swizzle = 0 if boxes.swizzle == NO_SWIZZLE else boxes.swizzle
    common = (index, str(element), exprs(dims[::-1]), exprs(strides[::-1]))
    window = kind.window
    if not isinstance(window, WindowAttr):
        box = [1] * len(dims)
        box[kind.over[0]], box[-1] = rows, columns
        return TensorMap(*common, tuple(box[::-1]), swizzle)
    sizes = cast(Sequence[int], dims[1:-1])  # its arithmetic does for symbols too
    lower, upper = window.lower_corner(), window.upper_corner(sizes)
    steps = (1, *reversed(window.strides.get_values()), 1)
    return TensorMap(
        *common,
        (columns, rows),
        swizzle,
        exprs(lower[::-1]),
        exprs(upper[::-1]),
        tuple(int(step) for step in steps),
    )
