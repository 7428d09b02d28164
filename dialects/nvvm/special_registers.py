"""Special registers: who a thread is. PTX ISA: "Special registers"."""

from __future__ import annotations

from xdsl.dialects.builtin import i32
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    result_def,
    traits_def,
)
from xdsl.traits import Pure


class SpecialRegisterOp(IRDLOperation):
    """Reads a special register: `%tid = nvvm.read.ptx.sreg.tid.x : i32`."""

    res = result_def(i32)

    traits = traits_def(Pure())
    assembly_format = "attr-dict `:` type($res)"

    def __init__(self) -> None:
        super().__init__(result_types=[i32])


@irdl_op_definition
class ThreadIdXOp(SpecialRegisterOp):
    """The thread in its block. PTX: `%tid.x`."""

    name = "nvvm.read.ptx.sreg.tid.x"


@irdl_op_definition
class BlockDimXOp(SpecialRegisterOp):
    """The number of threads of a block. PTX: `%ntid.x`."""

    name = "nvvm.read.ptx.sreg.ntid.x"


@irdl_op_definition
class BlockIdXOp(SpecialRegisterOp):
    """The block in the grid, along x. PTX: `%ctaid.x`."""

    name = "nvvm.read.ptx.sreg.ctaid.x"


@irdl_op_definition
class BlockIdYOp(SpecialRegisterOp):
    """The block in the grid, along y. PTX: `%ctaid.y`."""

    name = "nvvm.read.ptx.sreg.ctaid.y"


@irdl_op_definition
class BlockIdZOp(SpecialRegisterOp):
    """The block in the grid, along z. PTX: `%ctaid.z`."""

    name = "nvvm.read.ptx.sreg.ctaid.z"


@irdl_op_definition
class GridDimXOp(SpecialRegisterOp):
    """The number of blocks along x. PTX: `%nctaid.x`."""

    name = "nvvm.read.ptx.sreg.nctaid.x"


@irdl_op_definition
class LaneIdOp(SpecialRegisterOp):
    """The thread in its warp. PTX: `%laneid`."""

    name = "nvvm.read.ptx.sreg.laneid"


@irdl_op_definition
class ClusterIdXOp(SpecialRegisterOp):
    """The cluster in the grid, along x. PTX: `%clusterid.x`."""

    name = "nvvm.read.ptx.sreg.clusterid.x"


@irdl_op_definition
class ClusterIdOp(SpecialRegisterOp):
    """The block's rank in its cluster. PTX: `%cluster_ctarank`."""

    name = "nvvm.read.ptx.sreg.cluster.ctarank"


@irdl_op_definition
class ClusterDimOp(SpecialRegisterOp):
    """The number of blocks of a cluster. PTX: `%cluster_nctarank`."""

    name = "nvvm.read.ptx.sreg.cluster.nctarank"


REGISTERS = (
    ThreadIdXOp,
    BlockDimXOp,
    BlockIdXOp,
    BlockIdYOp,
    BlockIdZOp,
    GridDimXOp,
    LaneIdOp,
    ClusterIdXOp,
    ClusterIdOp,
    ClusterDimOp,
)
"""All special registers."""
