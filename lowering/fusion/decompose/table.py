"""Which function says each `nn` op in loops."""

from __future__ import annotations

from collections.abc import Callable

from stepwell.dialects.nn.base import NnOp

from . import contraction, movement, order, pooling, reduction, sampling
from .elementwise import FORMULAS, decompose_elementwise

Decomposer = Callable[[NnOp], None]

DECOMPOSERS: dict[str, Decomposer] = {
    **dict.fromkeys(FORMULAS, decompose_elementwise),
    "nn.matmul": contraction.decompose_matmul,
    "nn.conv": contraction.decompose_conv,
    "nn.conv_transpose": contraction.decompose_conv_transpose,
    "nn.einsum": contraction.decompose_einsum,
    "nn.cumulative": order.decompose_cumulative,
    "nn.sort": order.decompose_sort,
    "nn.topk": order.decompose_sort,
    "nn.scatter_elements": order.decompose_scatter_elements,
    "nn.scatter_nd": order.decompose_scatter_nd,
    "nn.resize": sampling.decompose_resize,
    "nn.rotary_embedding": sampling.decompose_rotary_embedding,
    "nn.reduce": reduction.decompose_reduce,
    "nn.arg_reduce": reduction.decompose_arg_reduce,
    "nn.softmax": reduction.decompose_softmax,
    "nn.log_softmax": reduction.decompose_softmax,
    "nn.layer_norm": reduction.decompose_layer_norm,
    "nn.rms_norm": reduction.decompose_layer_norm,
    "nn.instance_norm": reduction.decompose_group_norm,
    "nn.group_norm": reduction.decompose_group_norm,
    "nn.batch_norm": reduction.decompose_batch_norm,
    "nn.max_pool": pooling.decompose_pool,
    "nn.avg_pool": pooling.decompose_pool,
    "nn.lp_pool": pooling.decompose_pool,
    "nn.lrn": pooling.decompose_lrn,
    "nn.reshape": movement.decompose_movement,
    "nn.transpose": movement.decompose_movement,
    "nn.broadcast_to": movement.decompose_movement,
    "nn.slice": movement.decompose_movement,
    "nn.pad": movement.decompose_pad,
    "nn.gather": movement.decompose_gather,
    "nn.gather_elements": movement.decompose_gather_elements,
    "nn.gather_nd": movement.decompose_gather_nd,
    "nn.reverse_sequence": movement.decompose_reverse_sequence,
    "nn.concat": movement.decompose_concat,
    "nn.constant": movement.decompose_constant,
    "nn.iota": movement.decompose_iota,
    "nn.dim_value": movement.decompose_iota,
}
"""Replaces an op inside a kernel by structured ops."""
