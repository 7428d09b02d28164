"""Store and multiply in f16 or bf16 what can be; the rest stays in f32, with a reason.

The module's attribute `stepwell.precision` says what was asked for; fp32 and tf32
change nothing here. Inputs and outputs of the model keep their types.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects import nn
from stepwell.dialects.context import weights_of
from stepwell.dialects.dtypes import bf16, bit_width, f16, f32, is_bool, is_integer
from stepwell.dialects.provenance import has_location, location_names
from stepwell.dialects.shapes import dims_of, element_of, tensor_type
from stepwell.errors import OptionError
from stepwell.lowering.fusion.roles import Role, role_of
from stepwell.lowering.rewriting import stamp

from .dce import erase_dead_ops
from .magnitudes import Magnitudes
from .precision_policy import (
    BOUNDED,
    FOLLOWING,
    MULTIPLYING,
    constants_do_not_fit,
    element_or_none,
    finfo,
    floats,
    positions,
    reason_to_keep,
)

ATTRIBUTE = "stepwell.precision"
"""On the module: fp32, tf32, fp16 or bf16."""

REASON = "stepwell.kept_in_f32"
"""On an op: why it was left in f32; set before the pass, why it is to be."""

EXACT_PRODUCTS = "stepwell.exact_products"
"""On the module, in a lower precision: the products that stay in f32 are computed as
in fp32, not in TF32."""

MARGIN = 4.0
"""How far below the type's limit an estimated magnitude must be."""

NARROW: dict[str, Attribute | None] = {
    "fp32": None,
    "tf32": None,
    "fp16": f16,
    "bf16": bf16,
}
"""The type that values are stored in, by the name of a precision."""


@dataclass
class Walk:
    """One forward walk. A value exists in f32, in the narrow type, or in both.

    `wide` are the f32 values that may not be rounded: their users stay in f32 too.
    `unbounded` are those that are clamped to the range of the narrow type.
    """

    narrow: Attribute
    kept: set[Operation]
    magnitudes: Magnitudes
    full: dict[SSAValue, SSAValue] = field(default_factory=dict[SSAValue, SSAValue])
    half: dict[SSAValue, SSAValue] = field(default_factory=dict[SSAValue, SSAValue])
    born_half: set[SSAValue] = field(default_factory=set[SSAValue])
    wide: set[SSAValue] = field(default_factory=set[SSAValue])
    unbounded: set[SSAValue] = field(default_factory=set[SSAValue])

    def visit(self, block: Block) -> None:
        """Convert the ops of a block and of the blocks inside it."""
        if not isinstance(block.parent_op(), FuncOp):
            self.wide |= set(floats(block.args))  # a state that a loop carries
        for op in list(block.ops):
            if not op.regions and not any(map(self.is_converted, self.values(op))):
                continue
            reason = self.reason(op)
            if reason is None:
                self.convert(op)
            else:
                self.keep(op, reason, asked=REASON in op.attributes)
            for region in op.regions:
                for nested in region.blocks:
                    self.visit(nested)

    @staticmethod
    def values(op: Operation) -> tuple[SSAValue, ...]:
        """All operands and results."""
        return (*op.operands, *op.results)

    def is_converted(self, value: SSAValue) -> bool:
        """Whether it is in f32, or was."""
        return value in self.born_half or element_or_none(value) == f32

    def reason(self, op: Operation) -> str | None:
        """Why an op stays in f32; None if it need not; "" if that is no news."""
        if not isinstance(op, nn.NnOp) or isinstance(op, nn.ConstantOp) or op.regions:
            return ""
        if isinstance(op, nn.CastOp):
            return ""
        if isinstance(asked := op.attributes.get(REASON), StringAttr):
            return asked.data
        if (fixed := reason_to_keep(op)) is not None:
            return fixed
        if op in self.kept:
            return "an index or a size is computed from it"
        operands = [v for v in op.operands if self.is_converted(v)]
        role = role_of(op)
        if role not in MULTIPLYING and any(v in self.wide for v in operands):
            return "it reads values beyond the type"
        if (unfit := self.does_not_fit(op)) is not None:
            return unfit
        variable = [v for v in operands if not isinstance(v.owner, nn.ConstantOp)]
        follows = role in FOLLOWING and all(
            v not in self.born_half and not self.is_input(v) for v in variable
        )
        return "" if variable and follows else None

    def does_not_fit(self, op: Operation) -> str | None:
        """Why values of the op are beyond the narrow type, or None."""
        limit = float(finfo(self.narrow).max)
        if role_of(op) is Role.ATTENTION:
            read = op.operands[:3]
        else:
            read = op.operands
            if (
                unfit := constants_do_not_fit(op, self.narrow, self.magnitudes)
            ) is not None:
                return unfit
        for value in floats((*read, *op.results)):
            size = self.magnitudes[value].greatest
            if size > limit / MARGIN:
                return f"values of about {size:.1e} are beyond the type"
        return None

    @staticmethod
    def is_input(value: SSAValue) -> bool:
        """Whether it is an argument of the model."""
        return isinstance(value.owner, Block) and isinstance(
            value.owner.parent_op(), FuncOp
        )

    def keep(self, op: Operation, reason: str, asked: bool = False) -> None:
        """Leave the op in f32, on operands in f32.

        Args:
            asked: the reason is not the pass's own: it says nothing of magnitudes.
        """
        if reason:
            op.attributes[REASON] = StringAttr(reason)
        for index, operand in enumerate(op.operands):
            if operand in self.born_half:
                op.operands[index] = self.in_full(operand)
        results = set(floats(op.results))
        if asked:
            return
        is_wide = self.is_wide(op, reason)
        if is_wide:
            self.wide |= results
        if is_wide or (reason and not isinstance(op, BOUNDED)):
            self.unbounded |= results

    def is_wide(self, op: Operation, reason: str) -> bool:
        """Whether the results of an op in f32 may leave the range of the type."""
        if isinstance(op, BOUNDED):
            return False
        if isinstance(op, nn.CastOp):
            source = element_of(op.operand)
            return is_integer(source) and not is_bool(source) and bit_width(source) > 8
        if any(v in self.wide for v in op.operands):
            return role_of(op) in FOLLOWING if isinstance(op, nn.NnOp) else False
        return isinstance(op, nn.IotaOp | nn.DimValueOp) or "beyond" in reason

    def convert(self, op: Operation) -> None:
        """Compute the op on narrow operands; its f32 results become narrow ones."""
        for index, operand in enumerate(op.operands):
            if element_or_none(operand) == f32:
                op.operands[index] = self.in_half(operand)
        for result in list(floats(op.results)):
            kind = tensor_type(dims_of(result), self.narrow)
            self.born_half.add(Rewriter.replace_value_with_new_type(result, kind))

    def in_half(self, value: SSAValue) -> SSAValue:
        """The narrow version of a value."""
        if value in self.born_half or element_or_none(value) != f32:
            return value
        if value not in self.half:
            source, limit = value, float(finfo(self.narrow).max)
            if value in self.unbounded and self.narrow == f16:
                source = insert_after(value, nn.ClampOp(value, min=-limit, max=limit))
            self.half[value] = insert_after(source, nn.CastOp(source, self.narrow))
        return self.half[value]

    def in_full(self, value: SSAValue) -> SSAValue:
        """The f32 version of a value that was computed in the narrow type."""
        if value not in self.full:
            self.full[value] = insert_after(value, nn.CastOp(value, f32))
        return self.full[value]


def insert_after(value: SSAValue, op: Operation) -> SSAValue:
    """Insert an op where `value` is defined; its result.

    It is located at what made the value, or at the first reader of an argument.
    """
    owner = value.owner
    if isinstance(owner, Operation):
        stamp(op, owner.location)
        point = InsertPoint.after(owner)
    else:
        readers = (use.operation for use in value.uses)
        stamp(op, next(r.location for r in readers if has_location(r)))
        point = InsertPoint.at_start(owner)
    Rewriter.insert_op(op, point)
    return op.results[0]


@dataclass(frozen=True)
class ConvertPrecisionPass(ModulePass):
    """Convert the graph to the module's `stepwell.precision`.

    ```mlir
    %y = nn.matmul %x, %w : (tensor<8x64xf32>, ...)
    ->
    %0 = nn.cast %x {to = f16} ...
    %y = nn.matmul %0, %1 : (tensor<8x64xf16>, ...)
    ```

    An op that stays in f32 has the attribute `stepwell.kept_in_f32` with the reason;
    one that has it before is left in f32 for that reason.
    """

    name = "convert-precision"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Convert in one forward walk."""
        narrow = NARROW[precision_of(op)]
        if narrow is None:
            return
        magnitudes = Magnitudes(op, weights_of(ctx))
        walk = Walk(narrow, positions(op), magnitudes)
        for block in op.body.blocks:
            for function in block.ops:
                for region in function.regions:
                    for one in region.blocks:
                        walk.visit(one)
        erase_dead_ops(op.body)


def precision_of(module: ModuleOp) -> str:
    """The name in the module's `stepwell.precision`; fp32 without one.

    Raises:
        OptionError: there is no such precision.
    """
    value = module.attributes.get(ATTRIBUTE, StringAttr("fp32"))
    if not isinstance(value, StringAttr) or value.data not in NARROW:
        raise OptionError(f"expected {ATTRIBUTE} of {', '.join(NARROW)}, got {value}")
    return value.data


def has_exact_products(module: ModuleOp) -> bool:
    """Whether products of f32 are as exact as f32 is, where tensor cores offer TF32."""
    return precision_of(module) == "fp32" or EXACT_PRODUCTS in module.attributes


def kept_in_f32(module: ModuleOp) -> list[tuple[str, str, str]]:
    """The ops that were left in f32: source node, op, reason."""
    return [
        (", ".join(location_names(op)), op.name, reason.data)
        for op in module.walk()
        if isinstance(reason := op.attributes.get(REASON), StringAttr)
    ]
