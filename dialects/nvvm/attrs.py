"""Attributes of `nvvm`, spelt as in upstream MLIR."""

from __future__ import annotations

from xdsl.dialects.builtin import IntAttr
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Attribute, ParametrizedAttribute, SpacedOpaqueSyntaxAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.str_enum import StrEnum


class ShflKind(StrEnum):
    """Which lane a shuffle reads."""

    BFLY = "bfly"
    UP = "up"
    DOWN = "down"
    IDX = "idx"


@irdl_attr_definition
class ShflKindAttr(EnumAttribute[ShflKind], SpacedOpaqueSyntaxAttribute):
    """`bfly | up | down | idx`."""

    name = "nvvm.shfl_kind"


class ReduxKind(StrEnum):
    """How `redux.sync` combines."""

    ADD = "add"
    MIN = "min"
    MAX = "max"
    UMIN = "umin"
    UMAX = "umax"
    AND = "and"
    OR = "or"
    XOR = "xor"


@irdl_attr_definition
class ReduxKindAttr(EnumAttribute[ReduxKind], SpacedOpaqueSyntaxAttribute):
    """`add | min | max | umin | umax | and | or | xor`."""

    name = "nvvm.redux_kind"


class SetMaxRegisterAction(StrEnum):
    """Which way `setmaxnreg` goes."""

    INCREASE = "increase"
    DECREASE = "decrease"


@irdl_attr_definition
class SetMaxRegisterActionAttr(
    EnumAttribute[SetMaxRegisterAction], SpacedOpaqueSyntaxAttribute
):
    """`increase | decrease`."""

    name = "nvvm.action"


class LoadCacheModifier(StrEnum):
    """Which caches `cp.async` goes through: all levels, or L2 only."""

    CA = "ca"
    CG = "cg"


@irdl_attr_definition
class LoadCacheModifierAttr(
    EnumAttribute[LoadCacheModifier], SpacedOpaqueSyntaxAttribute
):
    """`ca | cg`."""

    name = "nvvm.load_cache_modifier"


class MMALayout(StrEnum):
    """Which dim of a matrix is contiguous."""

    ROW = "row"
    COL = "col"


@irdl_attr_definition
class MMALayoutAttr(EnumAttribute[MMALayout]):
    """`row | col`."""

    name = "nvvm.mma_layout"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> MMALayout:
        """Read `<row>`."""
        with parser.in_angle_brackets():
            return parser.parse_str_enum(MMALayout)

    def print_parameter(self, printer: Printer) -> None:
        """Write `<row>`."""
        printer.print_string(f"<{self.data.value}>")


class MMAType(StrEnum):
    """Element types of matrix operands that their registers do not tell."""

    F16 = "f16"
    BF16 = "bf16"
    F32 = "f32"
    TF32 = "tf32"
    S8 = "s8"
    U8 = "u8"
    S32 = "s32"
    E4M3 = "e4m3"
    E5M2 = "e5m2"


@irdl_attr_definition
class MMATypeAttr(EnumAttribute[MMAType]):
    """`f16 | bf16 | f32 | tf32 | s8 | u8 | s32 | e4m3 | e5m2`."""

    name = "nvvm.mma_type"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> MMAType:
        """Read `<f16>`."""
        with parser.in_angle_brackets():
            return parser.parse_str_enum(MMAType)

    def print_parameter(self, printer: Printer) -> None:
        """Write `<f16>`."""
        printer.print_string(f"<{self.data.value}>")


@irdl_attr_definition
class MMAShapeAttr(ParametrizedAttribute):
    """The shape of a product: `#nvvm.shape<m = 64, n = 256, k = 16>`."""

    name = "nvvm.shape"

    m: IntAttr
    n: IntAttr
    k: IntAttr

    def __init__(self, m: int, n: int, k: int) -> None:
        super().__init__(IntAttr(m), IntAttr(n), IntAttr(k))

    @property
    def extents(self) -> tuple[int, int, int]:
        """Rows, columns, depth."""
        return self.m.data, self.n.data, self.k.data

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        """Read `<m = 64, n = 256, k = 16>`."""
        values: list[Attribute] = []
        with parser.in_angle_brackets():
            for position, key in enumerate("mnk"):
                if position:
                    parser.parse_punctuation(",")
                parser.parse_keyword(key)
                parser.parse_punctuation("=")
                values.append(IntAttr(parser.parse_integer()))
        return values

    def print_parameters(self, printer: Printer) -> None:
        """Write what `parse_parameters` reads."""
        m, n, k = self.extents
        printer.print_string(f"<m = {m}, n = {n}, k = {k}>")
