"""What a fused kernel does, in a reader's terms: its ops, work and memory traffic.

Taken from the `fusion.kernel`s behind `form-kernels`, while they still hold `nn` ops.
"""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from stepwell.codegen.engine_writer import LaunchSummary
from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.fusion import KernelOp, YieldOp
from stepwell.dialects.provenance import location_names
from stepwell.dialects.shapes import Dim, dims_of, element_of, num_elements, product
from stepwell.lowering.graph.convert_precision import kept_in_f32
from stepwell.runtime.manifest import KeptOp

FREE = frozenset(
    {
        "nn.broadcast_to",
        "nn.concat",
        "nn.constant",
        "nn.dim_value",
        "nn.gather",
        "nn.gather_elements",
        "nn.gather_nd",
        "nn.iota",
        "nn.pad",
        "nn.reshape",
        "nn.reverse_sequence",
        "nn.slice",
        "nn.transpose",
    }
)
"""Ops that move data and compute nothing."""


def kept_ops(module: ModuleOp) -> tuple[KeptOp, ...]:
    """The ops that `convert-precision` left in f32."""
    return tuple(
        KeptOp(node, op.removeprefix("nn."), reason)
        for node, op, reason in kept_in_f32(module)
    )


def summaries_of(module: ModuleOp) -> dict[tuple[str, ...], LaunchSummary]:
    """The summary of each kernel, by the names of the source nodes it stands for."""
    kernels = (op for op in module.walk() if isinstance(op, KernelOp))
    return {location_names(kernel): summary_of(kernel) for kernel in kernels}


def schedules_of(module: ModuleOp) -> dict[tuple[str, ...], str]:
    """The schedule of each kernel that has one, by the same names."""
    kernels = (op for op in module.walk() if isinstance(op, KernelOp))
    return {location_names(k): str(k.schedule) for k in kernels if k.schedule}


def summary_of(kernel: KernelOp) -> LaunchSummary:
    """The ops, FLOPs and bytes of one kernel."""
    ops = [op for op in kernel.block.ops if not isinstance(op, YieldOp)]
    flops: Dim = 0
    for op in ops:
        flops = flops + flops_of(op)
    nbytes: Dim = 0
    for value in (*kernel.inputs, *kernel.outputs):
        nbytes = nbytes + _nbytes(value)
    return LaunchSummary(
        kernel.kernel_name.data,
        tuple(op.name.removeprefix("nn.") for op in ops),
        flops if isinstance(flops, int) else str(flops),
        nbytes if isinstance(nbytes, int) else str(nbytes),
        kernel.reasons,
    )


def flops_of(op: Operation) -> Dim:
    """Floating-point operations; a multiply-add counts as two, all else as one an
    element of the largest operand or result."""
    if op.name in FREE or not op.results:
        return 0
    match op.name:
        case "nn.matmul":
            return 2 * num_elements(op.results[0]) * dims_of(op.operands[0])[-1]
        case "nn.conv":
            weight = num_elements(op.operands[1])
            out_channels = _out_channels(op)
            spatial = num_elements(op.results[0])
            return 2 * spatial * _floordiv(weight, out_channels)
        case "nn.attention":
            queries, keys = dims_of(op.operands[0]), dims_of(op.operands[1])
            return 4 * product(queries) * keys[-2]
        case _:
            values = [*op.operands, *op.results]
            return max((num_elements(value) for value in values), key=_magnitude)


def _out_channels(op: Operation) -> Dim:
    dims = dims_of(op.operands[1])
    last = getattr(op, "value", lambda _: False)("channels_last")
    return dims[-1] if last else dims[0]


def _floordiv(left: Dim, right: Dim) -> Dim:
    return left if right == 0 else left // right


def _magnitude(size: Dim) -> tuple[int, int]:
    """An order of sizes: by degree, then by the number."""
    return (0, size) if isinstance(size, int) else (len(str(size)), 0)


def _nbytes(value: SSAValue) -> Dim:
    return num_elements(value) * numpy_dtype(element_of(value)).itemsize
