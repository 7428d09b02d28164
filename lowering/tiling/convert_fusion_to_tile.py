"""Outline each kernel as a tile program and launch it.

Input invariant: every `fusion.kernel` has a schedule. Output: `tile.func`s beside the
graph, `engine.launch` in place of the kernels; kernels with one and the same program
share a function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr, ModuleOp, i64
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects.engine import LaunchOp
from stepwell.dialects.fusion import KernelOp
from stepwell.dialects.schedules import Anchor, Schedule, ScheduleAttr
from stepwell.dialects.tile import OPTIONS_ATTRIBUTE, FuncOp
from stepwell.errors import CompileError
from stepwell.lowering.rewriting import stamp

from .attention import convert_attention
from .contraction import convert_contraction
from .in_place import in_place_pairs
from .map import convert_map
from .reduction import convert_reduction
from .scan import convert_scan
from .sort import convert_sort

Converter = Callable[[KernelOp, Schedule, str], FuncOp]

CONVERTERS: dict[Anchor, Converter] = {
    Anchor.ATTENTION: convert_attention,
    Anchor.MAP: convert_map,
    Anchor.CONTRACTION: convert_contraction,
    Anchor.REDUCTION: convert_reduction,
    Anchor.SCAN: convert_scan,
    Anchor.SORT: convert_sort,
}
"""The converter of each anchor."""


def schedule_of(kernel: KernelOp) -> Schedule:
    """The kernel's schedule.

    Raises:
        CompileError: it has none.
    """
    if not isinstance(kernel.schedule, ScheduleAttr):
        raise CompileError(
            f"expected a schedule on kernel {kernel.kernel_name.data}, got none",
            where=str(kernel.location),
            fix="run assign-schedules before convert-fusion-to-tile",
        )
    return kernel.schedule.data


def symbol_name(text: str) -> str:
    """A kernel's name as a symbol: what is not a letter or digit becomes `_`."""
    return re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "kernel"


def fingerprint(kernel: KernelOp) -> Hashable:
    """What two kernels must share to have one program: all but names and locations."""
    numbers: dict[SSAValue, int] = {}
    parts: list[Hashable] = [kernel.schedule, kernel.ties]
    for value in kernel.block.args:
        numbers[value] = len(numbers)
        parts.append(value.type)
    for op in kernel.block.walk():
        inner = (argument for region in op.regions for argument in region.block.args)
        for value in (*op.results, *inner):
            numbers[value] = len(numbers)
            parts.append(value.type)
        operands = tuple(numbers[operand] for operand in op.operands)
        properties = tuple(sorted(op.properties.items()))
        attributes = tuple(sorted(op.attributes.items()))
        parts.append((op.name, operands, properties, attributes))
    return tuple(parts)


def keep_options(func: FuncOp, schedule: Schedule) -> None:
    """Leave the schedule's options on the program, for the passes that read them."""
    if schedule.options:
        options = {k: IntegerAttr(v, i64) for k, v in schedule.options}
        func.attributes[OPTIONS_ATTRIBUTE] = DictionaryAttr(options)


class Programs:
    """The tile programs made so far: one function for each distinct program."""

    def __init__(self) -> None:
        self._known: dict[Hashable, FuncOp] = {}
        self._names: set[str] = set()

    @property
    def functions(self) -> list[FuncOp]:
        """The distinct functions, in the order of their first use."""
        return list(self._known.values())

    def add(self, kernel: KernelOp) -> FuncOp:
        """The function that runs `kernel`."""
        key = fingerprint(kernel)
        if key not in self._known:
            schedule = schedule_of(kernel)
            name = self._unused(symbol_name(kernel.kernel_name.data))
            func = CONVERTERS[schedule.anchor](kernel, schedule, name)
            stamp(func, kernel.location)
            keep_options(func, schedule)
            self._known[key] = func
        return self._known[key]

    def _unused(self, name: str) -> str:
        unique, count = name, 1
        while unique in self._names:
            unique, count = f"{name}_{count}", count + 1
        self._names.add(unique)
        return unique


def launch_of(kernel: KernelOp, func: FuncOp) -> LaunchOp:
    """The launch of `func` that stands for `kernel`."""
    return LaunchOp(
        func.sym_name.data,
        kernel.inputs,
        kernel.outputs.types,
        func.symbol_names,
        kernel.tied,
        in_place_pairs(kernel),
    )


@dataclass(frozen=True)
class ConvertFusionToTilePass(ModulePass):
    """Convert all kernels of a module."""

    name = "convert-fusion-to-tile"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Replace kernels by launches and append their programs to the module."""
        programs = Programs()
        for kernel in [one for one in op.walk() if isinstance(one, KernelOp)]:
            launch = launch_of(kernel, programs.add(kernel))
            launch.location = kernel.location
            for new, old in zip(launch.results, kernel.results, strict=True):
                new.name_hint = old.name_hint
            Rewriter.replace_op(kernel, launch)
        for func in programs.functions:
            Rewriter.insert_op(func, InsertPoint.at_end(op.body.block))
