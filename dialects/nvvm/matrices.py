"""Matrix fragments and tensor core products: warps, and warpgroups."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from xdsl.dialects.builtin import IntegerAttr, IntegerType, UnitAttr, i1, i32, i64
from xdsl.dialects.llvm import LLVMPointerType, LLVMStructType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import Parser, UnresolvedOperand
from xdsl.printer import Printer
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect, Pure
from xdsl.utils.exceptions import VerifyException

from .attrs import (
    MMALayout,
    MMALayoutAttr,
    MMAShapeAttr,
    MMAType,
    MMATypeAttr,
)
from .synchronisation import EffectOp

_MMA_KEYS = frozenset(
    ("shape", "layoutA", "layoutB", "multiplicandAPtxType", "multiplicandBPtxType")
)
_WGMMA_KEYS = frozenset(
    ("shape", "typeA", "typeB", "typeD", "layoutA", "layoutB", "zero")
)


def registers(kind: Attribute) -> tuple[Attribute, ...]:
    """The registers of a fragment: a struct's fields, or the one value itself."""
    return kind.types.data if isinstance(kind, LLVMStructType) else (kind,)


@lru_cache(maxsize=256)
def struct_of(kind: Attribute, count: int) -> Attribute:
    """`count` registers of a type as one value."""
    if count == 1:
        return kind
    return LLVMStructType.from_type_list([kind] * count)


@irdl_op_definition
class LdMatrixOp(IRDLOperation):
    """Loads 1, 2 or 4 8x8 matrices of 16-bit elements. PTX ISA: "ldmatrix".

    Each lane gives the address of a row; layout `col` transposes.

    ```mlir
    %r = nvvm.ldmatrix %row {num = 4 : i32, layout = #nvvm.mma_layout<row>}
        : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32, i32, i32)>
    ```
    """

    name = "nvvm.ldmatrix"

    ptr = operand_def(LLVMPointerType)
    num = prop_def(IntegerAttr[IntegerType].constr(i32))
    layout = prop_def(MMALayoutAttr)
    res = result_def()

    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(MemoryReadEffect())
    assembly_format = "$ptr attr-dict `:` functional-type($ptr, $res)"

    def __init__(self, ptr: SSAValue, num: int, layout: MMALayout | str = "row"):
        super().__init__(
            operands=[ptr],
            properties={
                "num": IntegerAttr(num, i32),
                "layout": MMALayoutAttr(MMALayout(layout)),
            },
            result_types=[struct_of(i32, num)],
        )

    def verify_(self) -> None:
        _verify_matrices(self.num.value.data, registers(self.res.type))


def _verify_matrices(count: int, kinds: Sequence[Attribute]) -> None:
    if count not in (1, 2, 4):
        raise VerifyException(f"expected 1, 2 or 4 matrices, got {count}")
    if list(kinds) != [i32] * count:
        raise VerifyException(f"expected {count} registers of type i32")


@irdl_op_definition
class StMatrixOp(IRDLOperation):
    """Stores 1, 2 or 4 8x8 matrices of 16-bit elements. PTX ISA: "stmatrix".

    ```mlir
    nvvm.stmatrix %row, %a, %b {layout = #nvvm.mma_layout<row>} : !llvm.ptr<3>, i32, i32
    ```
    """

    name = "nvvm.stmatrix"

    ptr = operand_def(LLVMPointerType)
    sources = var_operand_def(i32)
    layout = prop_def(MMALayoutAttr)

    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$ptr `,` $sources attr-dict `:` type($ptr) `,` type($sources)"

    def __init__(
        self,
        ptr: SSAValue,
        sources: Sequence[SSAValue],
        layout: MMALayout | str = "row",
    ):
        super().__init__(
            operands=[ptr, sources],
            properties={"layout": MMALayoutAttr(MMALayout(layout))},
        )

    def verify_(self) -> None:
        _verify_matrices(len(self.sources), [i32] * len(self.sources))


@irdl_op_definition
class MmaOp(IRDLOperation):
    """A warp's product of fragments, `A * B + C`. PTX ISA: "mma".

    Element types that registers do not tell (`bf16`, `tf32`, `s8`) are named.

    ```mlir
    %d = nvvm.mma.sync A[%a0, %a1, %a2, %a3] B[%b0, %b1] C[%c0, %c1, %c2, %c3]
        {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>,
         shape = #nvvm.shape<m = 16, n = 8, k = 16>}
        : (vector<2xf16>, vector<2xf16>, f32) -> !llvm.struct<(f32, f32, f32, f32)>
    ```
    """

    name = "nvvm.mma.sync"

    operandA = var_operand_def()
    operandB = var_operand_def()
    operandC = var_operand_def()
    shape = prop_def(MMAShapeAttr)
    layoutA = prop_def(MMALayoutAttr)
    layoutB = prop_def(MMALayoutAttr)
    multiplicandAPtxType = opt_prop_def(MMATypeAttr)
    multiplicandBPtxType = opt_prop_def(MMATypeAttr)
    res = result_def()

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(Pure())

    def __init__(
        self,
        a: Sequence[SSAValue],
        b: Sequence[SSAValue],
        c: Sequence[SSAValue],
        shape: tuple[int, int, int],
        types: tuple[MMAType, MMAType] | None = None,
    ):
        row, col = MMALayoutAttr(MMALayout.ROW), MMALayoutAttr(MMALayout.COL)
        super().__init__(
            operands=[a, b, c],
            properties={
                "shape": MMAShapeAttr(*shape),
                "layoutA": row,
                "layoutB": col,
                "multiplicandAPtxType": MMATypeAttr(types[0]) if types else None,
                "multiplicandBPtxType": MMATypeAttr(types[1]) if types else None,
            },
            result_types=[struct_of(c[0].type, len(c))],
        )

    def verify_(self) -> None:
        m, n, k = self.shape.extents
        if (m, n) != (16, 8) or k not in (8, 16, 32):
            raise VerifyException(
                f"expected shape 16x8 by 8, 16 or 32, got {m}x{n}x{k}"
            )
        got = [len(v) for v in (self.operandA, self.operandB, self.operandC)]
        if got not in ([4, 2, 4], [2, 1, 4]):
            raise VerifyException(f"expected 4, 2 and 4 registers, got {got}")
        if (self.layoutA.data, self.layoutB.data) != (MMALayout.ROW, MMALayout.COL):
            raise VerifyException("expected A by rows and B by columns")
        kinds = registers(self.res.type)
        if list(kinds) != list(self.operandC.types):
            raise VerifyException("expected a result like C")

    @classmethod
    def parse(cls, parser: Parser) -> MmaOp:
        groups = _parse_groups(parser, "ABC")
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        kind = parser.parse_function_type()
        return cls.build(
            operands=_resolve_groups(parser, groups, kind.inputs.data),
            properties={k: v for k, v in attributes.items() if k in _MMA_KEYS},
            attributes={k: v for k, v in attributes.items() if k not in _MMA_KEYS},
            result_types=[kind.outputs.data[0]],
        )

    def print(self, printer: Printer) -> None:
        groups = (self.operandA, self.operandB, self.operandC)
        _print_groups(printer, "ABC", groups)
        _print_signature(printer, self, _MMA_KEYS, groups)


@irdl_op_definition
class WgmmaFenceAlignedOp(EffectOp):
    """Orders register accesses before the next product. PTX ISA: "wgmma.fence"."""

    name = "nvvm.wgmma.fence.aligned"


@irdl_op_definition
class WgmmaGroupSyncAlignedOp(EffectOp):
    """Ends a group of products. PTX ISA: "wgmma.commit_group"."""

    name = "nvvm.wgmma.commit.group.sync.aligned"


@irdl_op_definition
class WgmmaWaitGroupSyncOp(IRDLOperation):
    """Waits until at most `group` groups are in flight. PTX ISA: "wgmma.wait_group".

    Accumulators that go through it are read only behind it: upstream's op has none,
    and its users must keep the order by other means.

    ```mlir
    nvvm.wgmma.wait.group.sync.aligned 1
    %done = nvvm.wgmma.wait.group.sync.aligned 0 %acc
        : !llvm.struct<(f32, f32)> -> !llvm.struct<(f32, f32)>
    ```
    """

    name = "nvvm.wgmma.wait.group.sync.aligned"

    group = prop_def(IntegerAttr[IntegerType].constr(i64))
    accumulators = var_operand_def(LLVMStructType)
    done = var_result_def(LLVMStructType)

    traits = traits_def(MemoryWriteEffect())
    assembly_format = (
        "$group ($accumulators^ `:` type($accumulators) `->` type($done))? attr-dict"
    )

    def __init__(self, group: int, accumulators: Sequence[SSAValue] = ()):
        super().__init__(
            operands=[accumulators],
            properties={"group": IntegerAttr(group, i64)},
            result_types=[[value.type for value in accumulators]],
        )

    def verify_(self) -> None:
        if list(self.done.types) != list(self.accumulators.types):
            raise VerifyException("expected results like the accumulators")


@irdl_op_definition
class WgmmaMmaAsyncOp(IRDLOperation):
    """A warpgroup's product, `D = A * B + D`, issued and not waited for.

    A is a descriptor of shared memory or four registers, B a descriptor; the layouts
    say which are transposed. `scale_d` false makes D start at 0, as does `zero`.
    Upstream's op has neither a scale at run time nor A in registers, so the text is
    that of `nvvm.mma.sync`. PTX ISA: "wgmma.mma_async".

    ```mlir
    %d = nvvm.wgmma.mma_async A[%a] B[%b] D[%c] scale_d = %again
        {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>,
         shape = #nvvm.shape<m = 64, n = 8, k = 16>, typeA = #nvvm.mma_type<f16>,
         typeB = #nvvm.mma_type<f16>, typeD = #nvvm.mma_type<f32>}
        : (i64, i64, !llvm.struct<(f32, f32, f32, f32)>)
        -> !llvm.struct<(f32, f32, f32, f32)>
    ```
    """

    name = "nvvm.wgmma.mma_async"

    operandA = var_operand_def()
    descriptorB = operand_def(i64)
    operandD = operand_def(LLVMStructType)
    scaleD = opt_operand_def(i1)
    shape = prop_def(MMAShapeAttr)
    typeA = prop_def(MMATypeAttr)
    typeB = prop_def(MMATypeAttr)
    typeD = prop_def(MMATypeAttr)
    layoutA = prop_def(MMALayoutAttr)
    layoutB = prop_def(MMALayoutAttr)
    zero = opt_prop_def(UnitAttr)
    res = result_def(LLVMStructType)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(MemoryWriteEffect())

    def __init__(
        self,
        a: Sequence[SSAValue],
        b: SSAValue,
        d: SSAValue,
        shape: tuple[int, int, int],
        types: tuple[MMAType, MMAType, MMAType],
        *,
        layouts: tuple[MMALayout, MMALayout] = (MMALayout.ROW, MMALayout.COL),
        scale_d: SSAValue | None = None,
        zero: bool = False,
    ):
        super().__init__(
            operands=[a, b, d, scale_d],
            properties={
                "shape": MMAShapeAttr(*shape),
                "typeA": MMATypeAttr(types[0]),
                "typeB": MMATypeAttr(types[1]),
                "typeD": MMATypeAttr(types[2]),
                "layoutA": MMALayoutAttr(layouts[0]),
                "layoutB": MMALayoutAttr(layouts[1]),
                "zero": UnitAttr() if zero else None,
            },
            result_types=[d.type],
        )

    def verify_(self) -> None:
        m, n, k = self.shape.extents
        if m != 64 or n % 8 or not 8 <= n <= 256:
            raise VerifyException(f"expected 64 rows and 8 to 256 columns, got {m}x{n}")
        depth = _WGMMA_DEPTH.get(self.typeA.data)
        if k != depth:
            raise VerifyException(
                f"expected {depth} along k for {self.typeA.data}, got {k}"
            )
        got = list(self.operandA.types)
        if got not in ([i64], [i32] * 4):
            raise VerifyException("expected A as a descriptor or as four registers")
        count = n // 4 if self.typeD.data is MMAType.F16 else n // 2
        if (
            self.res.type != self.operandD.type
            or len(registers(self.res.type)) != count
        ):
            raise VerifyException(f"expected {count} registers of D, in and out")
        if self.scaleD is not None and self.zero is not None:
            raise VerifyException("expected scale_d or zero, got both")

    @classmethod
    def parse(cls, parser: Parser) -> WgmmaMmaAsyncOp:
        groups = _parse_groups(parser, "ABD")
        scale: list[SSAValue] = []
        if parser.parse_optional_keyword("scale_d"):
            parser.parse_punctuation("=")
            scale = [parser.resolve_operand(parser.parse_unresolved_operand(), i1)]
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        kind = parser.parse_function_type()
        operands = _resolve_groups(parser, groups, kind.inputs.data)
        return cls.build(
            operands=[operands[0], *operands[1], *operands[2], scale],
            properties={k: v for k, v in attributes.items() if k in _WGMMA_KEYS},
            attributes={k: v for k, v in attributes.items() if k not in _WGMMA_KEYS},
            result_types=[kind.outputs.data[0]],
        )

    def print(self, printer: Printer) -> None:
        groups = (self.operandA, [self.descriptorB], [self.operandD])
        _print_groups(printer, "ABD", groups)
        if self.scaleD is not None:
            printer.print_string(" scale_d = ")
            printer.print_ssa_value(self.scaleD)
        _print_signature(printer, self, _WGMMA_KEYS, groups)


_WGMMA_DEPTH = {
    MMAType.F16: 16,
    MMAType.BF16: 16,
    MMAType.TF32: 8,
    MMAType.S8: 32,
    MMAType.U8: 32,
    MMAType.E4M3: 32,
    MMAType.E5M2: 32,
}


def _parse_groups(parser: Parser, names: str) -> list[list[UnresolvedOperand]]:
    groups: list[list[UnresolvedOperand]] = []
    for name in names:
        parser.parse_keyword(name)
        groups.append(
            parser.parse_comma_separated_list(
                parser.Delimiter.SQUARE, parser.parse_unresolved_operand
            )
        )
    return groups


def _resolve_groups(
    parser: Parser,
    groups: Sequence[list[UnresolvedOperand]],
    kinds: Sequence[Attribute],
) -> list[list[SSAValue]]:
    return [
        [parser.resolve_operand(value, kind) for value in group]
        for group, kind in zip(groups, kinds, strict=True)
    ]


def _print_groups(
    printer: Printer, names: str, groups: Sequence[Sequence[SSAValue]]
) -> None:
    for name, group in zip(names, groups, strict=True):
        printer.print_string(f" {name}[")
        printer.print_list(group, printer.print_ssa_value)
        printer.print_string("]")


def _print_signature(
    printer: Printer,
    op: IRDLOperation,
    keys: frozenset[str],
    groups: Sequence[Sequence[SSAValue]],
) -> None:
    shown = {k: v for k, v in sorted(op.properties.items()) if k in keys}
    printer.print_op_attributes({**shown, **op.attributes})
    printer.print_string(" : (")
    printer.print_list([g[0].type for g in groups], printer.print_attribute)
    printer.print_string(") -> ")
    printer.print_attribute(op.results[0].type)


MATRICES = (
    LdMatrixOp,
    StMatrixOp,
    MmaOp,
    WgmmaFenceAlignedOp,
    WgmmaGroupSyncAlignedOp,
    WgmmaWaitGroupSyncOp,
    WgmmaMmaAsyncOp,
)
"""All ops of this file."""
