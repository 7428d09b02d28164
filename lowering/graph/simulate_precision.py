"""A graph whose precision is an input: it shows what any choice of ops would cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    FunctionType,
    ModuleOp,
    StringAttr,
    i1,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, OpResult, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects import nn
from stepwell.dialects.context import weights_of
from stepwell.dialects.dtypes import f32
from stepwell.dialects.shapes import tensor_type
from stepwell.lowering.fusion.roles import Role, role_of
from stepwell.lowering.rewriting import stamp

from .convert_precision import NARROW, Walk, insert_after, precision_of
from .magnitudes import Magnitudes
from .precision_policy import FOLLOWING, floats, positions

SWITCHES = "stepwell.switches"
"""The name of the input: for each unit, whether it is in the narrow type."""

UNIT = "stepwell.unit"
"""On the first op of a unit: its number."""

MOVING = (Role.MOVEMENT, Role.CONCAT)
"""Roles of ops whose results hold what they read."""

FUSED = (Role.CONTRACTION, Role.POINTWISE)
"""Roles of ops whose results a pointwise reader takes from registers."""


@dataclass
class Simulation(Walk):
    """The walk of `convert-precision`, with roundings where types would change.

    Attributes:
        switches: the input.
        units: the first op of each unit.
        unit_of: the unit of the op that makes a value.
        switch: the element of the input for each unit.
        stored: values as the narrow type holds them, in f32 again.
        chosen: values as units read or store them.
    """

    switches: SSAValue | None = None
    units: list[Operation] = field(default_factory=list[Operation])
    unit_of: dict[SSAValue, int] = field(default_factory=dict[SSAValue, int])
    switch: dict[int, nn.ReshapeOp] = field(default_factory=dict[int, nn.ReshapeOp])
    stored: dict[SSAValue, SSAValue] = field(default_factory=dict[SSAValue, SSAValue])
    chosen: dict[tuple[SSAValue, int], SSAValue] = field(
        default_factory=dict[tuple[SSAValue, int], SSAValue]
    )

    def convert(self, op: Operation) -> None:
        """Round what the op reads and what it makes, where its unit says so."""
        unit = self.join(op)
        for index, operand in enumerate(op.operands):
            if not self.is_converted(operand) or self.unit_of.get(operand) == unit:
                continue
            if not in_register(operand, op):
                op.operands[index] = self.round(operand, unit)
        for result in list(floats(op.results)):
            self.born_half.add(result)
            self.unit_of[result] = unit
            uses = list(result.uses)
            if role_of(op) in MOVING or any(
                in_register(result, use.operation) for use in uses
            ):
                continue
            value = self.round(result, unit)
            self.born_half.add(value)
            self.unit_of[value] = unit
            for use in uses:
                use.operation.operands[use.index] = value

    def in_full(self, value: SSAValue) -> SSAValue:
        """The value itself: all are in f32."""
        return value

    def join(self, op: Operation) -> int:
        """The op's unit: that of what it follows into f32, or else a new one."""
        variable = {
            self.unit_of.get(v)
            for v in op.operands
            if self.is_converted(v) and not isinstance(v.owner, nn.ConstantOp)
        }
        known = next(iter(variable)) if len(variable) == 1 else None
        if role_of(op) in FOLLOWING and known is not None:
            return known
        self.units.append(op)
        return len(self.units) - 1

    def round(self, value: SSAValue, unit: int) -> SSAValue:
        """The value as the unit reads or stores it."""
        if (value, unit) not in self.chosen:
            if value not in self.stored:
                half = self.narrowed(value)
                self.stored[value] = insert_after(half, nn.CastOp(half, f32))
            stored = self.stored[value]
            select = nn.SelectOp(self.switch_of(unit), stored, value)
            self.chosen[value, unit] = insert_after(stored, select)
        return self.chosen[value, unit]

    def narrowed(self, value: SSAValue) -> SSAValue:
        """The value in the narrow type, also where an op made it that is converted."""
        is_born = value in self.born_half
        self.born_half.discard(value)
        half = self.in_half(value)
        if is_born:
            self.born_half.add(value)
        return half

    def switch_of(self, unit: int) -> SSAValue:
        """The unit's switch, a scalar; its ops are inserted when all are known."""
        if unit not in self.switch:
            assert self.switches is not None
            piece = nn.SliceOp(self.switches, (unit,), (unit + 1,))
            self.switch[unit] = nn.ReshapeOp(piece.result, ())
        return self.switch[unit].result

    def insert_switches(self, block: Block) -> None:
        """Insert them in front of the roundings of the function's arguments."""
        for unit, scalar in self.switch.items():
            piece = scalar.operand.owner
            assert isinstance(piece, nn.SliceOp)
            for one in (scalar, piece):
                stamp(one, self.units[unit].location)
                Rewriter.insert_op(one, InsertPoint.at_start(block))


def in_register(value: SSAValue, reader: Operation) -> bool:
    """Whether a reader is fused to what makes the value, so that it is never stored."""
    return (
        isinstance(value, OpResult)
        and value.has_one_use()
        and role_of(value.op) in FUSED
        and role_of(reader) is Role.POINTWISE
    )


@dataclass(frozen=True)
class SimulatePrecisionPass(ModulePass):
    """Let an input decide which ops are in the module's `stepwell.precision`.

    ```mlir
    %y = nn.matmul %x, %w : (tensor<8x64xf32>, ...)
    ->
    %0 = nn.cast %x {to = bf16} ...
    %1 = nn.cast %0 {to = f32} ...
    %2 = nn.select %switch, %1, %x ...
    %y = nn.matmul %2, %5 : (tensor<8x64xf32>, ...)
    ```

    It runs in place of `convert-precision`, which would convert the same ops. `@main`
    gets one more argument, `stepwell.switches : tensor<units x i1>`. A unit is an op
    with those behind it that only map or move its result: they follow it into f32. The
    first op of each has its number as the attribute `stepwell.unit`.
    """

    name = "simulate-precision"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Walk forward once."""
        narrow = NARROW[precision_of(op)]
        if narrow is None:
            return
        walk = Simulation(narrow, positions(op), Magnitudes(op, weights_of(ctx)))
        main = next(one for one in op.walk() if isinstance(one, FuncOp))
        block = main.body.block
        # Its size is known when the walk is done.
        walk.switches = block.insert_arg(tensor_type((1 << 20,), i1), len(block.args))
        walk.visit(block)
        walk.insert_switches(block)
        declare(main, walk)


def declare(main: FuncOp, walk: Simulation) -> None:
    """Give the function's type and attributes the new argument."""
    assert walk.switches is not None
    kind = tensor_type((max(1, len(walk.units)),), i1)
    Rewriter.replace_value_with_new_type(walk.switches, kind)
    inputs = [argument.type for argument in main.body.block.args]
    main.function_type = FunctionType.from_lists(
        inputs, list(main.function_type.outputs)
    )
    known = main.arg_attrs or ArrayAttr(DictionaryAttr({}) for _ in inputs[1:])
    name = DictionaryAttr({"nn.name": StringAttr(SWITCHES)})
    main.arg_attrs = ArrayAttr([*known, name])
    for number, op in enumerate(walk.units):
        op.attributes[UNIT] = StringAttr(str(number))
