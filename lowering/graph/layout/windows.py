"""Ops that compute with channels last: convolutions, pools, batch norm."""

from __future__ import annotations

from stepwell.dialects import nn
from stepwell.lowering.graph.matching import rank_of
from stepwell.lowering.rewriting import Outcome

from .engine import Handlers, Walk, to_first


def convert_conv(op: nn.ConvOp | nn.ConvTransposeOp, walk: Walk) -> Outcome:
    """
    ```mlir
    nn.conv %x, %w   ->   transpose(nn.conv last(%x), last(%w) {channels_last})
    ```
    Weights `[O, C/g, spatial..]` become `[spatial.., C/g, O]`; those of a transposed
    convolution, `[C, O/g, spatial..]`, become `[spatial.., C, O/g]`.
    """
    if op.value("channels_last"):
        return None
    rank = rank_of(op.x)
    tail = (1, 0) if isinstance(op, nn.ConvOp) else (0, 1)
    x = walk.ordered(op.x, to_first(rank))
    order = (*range(2, rank), *tail)
    if (weight := walk.rewriter.array(op.w)) is not None:
        w = walk.rewriter.constant(weight.transpose(order))
    else:
        w = walk.rewriter.emit(nn.TransposeOp(op.w, perm=order))
    names = ["strides", "pads", "dilations", "groups"]
    if isinstance(op, nn.ConvTransposeOp):
        names.append("output_padding")
    same = {name: op.value(name) for name in names}
    new = type(op)(x, w, op.bias, **same, channels_last=True)
    walk.finish(op, new, to_first(rank), sticky=True)
    return None


def convert_pool(op: nn.MaxPoolOp | nn.AvgPoolOp | nn.LpPoolOp, walk: Walk) -> Outcome:
    """
    ```mlir
    nn.max_pool %x   ->   transpose(nn.max_pool last(%x) {channels_last})
    ```
    """
    if op.value("channels_last"):
        return None
    perm = to_first(rank_of(op.x))
    same = {name: op.value(name) for name in op.properties if name != "kernel"}
    same["channels_last"] = True
    new = type(op)(walk.ordered(op.x, perm), kernel=op.value("kernel"), **same)
    walk.finish(op, new, perm, sticky=True)
    return None


def convert_batch_norm(op: nn.BatchNormOp, walk: Walk) -> Outcome:
    """
    ```mlir
    nn.batch_norm %x, ..   ->   transpose(nn.batch_norm last(%x), .. {channels_last})
    ```
    """
    perm = to_first(rank_of(op.x))
    twin = walk.twin(op.x)
    if op.value("channels_last") or twin is None or twin.perm != perm:
        return None
    new = nn.BatchNormOp(
        twin.source,
        *op.operands[1:],
        epsilon=op.value("epsilon"),
        channels_last=True,
    )
    walk.finish(op, new, perm, twin.sticky)
    return None


HANDLERS: Handlers = {
    nn.ConvOp: convert_conv,
    nn.ConvTransposeOp: convert_conv,
    nn.MaxPoolOp: convert_pool,
    nn.AvgPoolOp: convert_pool,
    nn.LpPoolOp: convert_pool,
    nn.BatchNormOp: convert_batch_norm,
}
