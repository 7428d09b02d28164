"""What each `nn` op is to fusion: an anchor, something that joins one, or host work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation

from stepwell.dialects.dtypes import bit_width, is_bool, is_float, is_integer
from stepwell.dialects.nn.base import NnOp
from stepwell.dialects.nn.constant import ConstantOp
from stepwell.dialects.shapes import dims_of, element_of, num_elements

from .decompose.elementwise import FORMULAS, nn_names
from .decompose.sampling import may_resize


class Role(StrEnum):
    """How an op takes part in kernels."""

    SOURCE = "source"
    """Computed from nothing: cloned into every kernel that reads it."""
    MOVEMENT = "movement"
    """Places elements elsewhere: becomes a map in the kernels that read it."""
    POINTWISE = "pointwise"
    """One result element from one element of each operand."""
    MAP = "map"
    """One result element from a fixed number of elements."""
    CONTRACTION = "contraction"
    REDUCTION = "reduction"
    ATTENTION = "attention"
    SCAN = "scan"
    SORT = "sort"
    SCATTER = "scatter"
    CONCAT = "concat"
    INSERT = "insert"
    """Writes into a larger tensor: the last op of a kernel."""
    HOST = "host"
    """No kernel: stays an `nn` op."""


def _table(rows: Mapping[Role, str]) -> dict[str, Role]:
    return {
        f"nn.{name}": role for role, names in rows.items() for name in names.split()
    }


ROLES: dict[str, Role] = {
    **_table(
        {
            Role.SOURCE: "iota dim_value",
            Role.MOVEMENT: "reshape transpose broadcast_to slice pad gather "
            "gather_elements gather_nd reverse_sequence",
            Role.MAP: "resize rotary_embedding batch_norm",
            Role.CONTRACTION: "matmul conv conv_transpose einsum",
            Role.REDUCTION: "reduce arg_reduce max_pool avg_pool lp_pool layer_norm "
            "rms_norm instance_norm group_norm lrn softmax log_softmax",
            Role.ATTENTION: "attention",
            Role.SCAN: "cumulative",
            Role.SORT: "sort topk",
            Role.SCATTER: "scatter_elements scatter_nd",
            Role.CONCAT: "concat",
        }
    ),
    **dict.fromkeys(FORMULAS, Role.POINTWISE),
    "fusion.insert": Role.INSERT,
}
"""The role of each op that can be part of a kernel."""

WINDOWED = nn_names("max_pool avg_pool lp_pool lrn")
"""Reductions that read an element several times."""

SEVERAL_PASSES = nn_names(
    "layer_norm rms_norm instance_norm group_norm softmax log_softmax arg_reduce"
)
"""Reductions that walk over their operand more than once."""

INDEXED = nn_names("gather gather_elements gather_nd reverse_sequence")
"""Movement whose second operand says where to read."""


def role_of(op: Operation) -> Role:
    """The role of `op`; `HOST` when its element types have no place in a kernel."""
    if isinstance(op, ConstantOp):
        small = num_elements(op.result) == 1 and is_kernel_type(op.result.type)
        return Role.SOURCE if small else Role.HOST
    role = ROLES.get(op.name, Role.HOST)
    if role is Role.HOST:
        return role
    values = (*op.operands, *op.results)
    if not all(is_kernel_type(value.type) for value in values):
        return Role.HOST
    if not isinstance(op, NnOp):
        return role
    allowed = CONDITIONS.get(op.name)
    if allowed is not None and not allowed(op):
        return Role.HOST
    is_nearest = op.name == "nn.resize" and op.value("mode") == "nearest"
    return Role.MOVEMENT if is_nearest else role


def _is_short(op: NnOp) -> bool:
    """Whether the sorted dim fits one block."""
    dims = dims_of(op.operands[0])
    size = dims[op.value("axis")]
    return isinstance(size, int) and size <= MAX_SORTED


MAX_SORTED = 4096
"""The longest dim that a kernel sorts."""

CONDITIONS: dict[str, Callable[[NnOp], bool]] = {
    "nn.resize": may_resize,
    "nn.sort": _is_short,
    "nn.topk": _is_short,
}
"""When an op that has a role can be said in loops."""


def is_kernel_type(kind: object) -> bool:
    """Whether a kernel can read and write tensors of this type.

    Floats of 8 bits and less and packed integers are left to the host.
    """
    if not isinstance(kind, TensorType):
        return False
    element = element_of(kind)
    if is_float(element):
        return bit_width(element) >= 16
    return is_bool(element) or (is_integer(element) and bit_width(element) >= 8)
