"""Attention and rotary embedding, whole; rare variants are left to ONNX's bodies."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i1
from stepwell.dialects.shapes import Dim, dims_of, element_of
from stepwell.frontends.emit import cast, rank_of, value
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.registry import DECLINED, Output, Rule


def attention(node: Node) -> Sequence[Output]:
    """`softmax(scale q k' + mask) v` by heads, with the keys and values of the past."""
    if _is_rare(node):
        return DECLINED
    is_flat = node.rank(0) == 3
    q = _heads(node.x(0), node.int("q_num_heads", 0), is_flat)
    k = _heads(node.x(1), node.int("kv_num_heads", 0), is_flat)
    v = _heads(node.x(2), node.int("kv_num_heads", 0), is_flat)
    past: Dim = 0
    if node.has(4):
        past = node.dims(4)[2]
        k = value(nn.ConcatOp([node.x(4), k], axis=2))
        v = value(nn.ConcatOp([node.x(5), v], axis=2))
    y = nn.AttentionOp(
        q,
        k,
        v,
        _mask(node, element_of(q)),
        scale=_scale(node, q),
        causal=bool(node.int("is_causal", 0)),
        causal_offset=(past,),
    )
    result = _flat(value(y)) if is_flat else value(y)
    return [result, k, v][: len(node.outputs)]


def _is_rare(node: Node) -> bool:
    """Whether `nn.attention` does not say all of the node."""
    node.int("qk_matmul_output_mode", 0)
    node.int("softmax_precision", 1)
    has_window = any(
        node.int(name, -1) >= 0 for name in ("left_window_size", "right_window_size")
    )
    wants_scores = len(node.outputs) > 3 and bool(node.outputs[3])
    short_mask = node.has(3) and node.rank(3) > 0 and not _covers(node)
    has_softcap = node.float("softcap", 0.0) != 0
    return has_window or wants_scores or short_mask or has_softcap or node.has(6)


def _covers(node: Node) -> bool:
    """Whether the mask is as wide as keys and past together."""
    keys = node.dims(1)[-2]
    if node.has(4):
        keys = keys + node.dims(4)[2]
    return node.dims(3)[-1] == keys


def _mask(node: Node, element: object) -> SSAValue | None:
    mask = node.optional(3)
    if mask is None or element_of(mask) in (i1, element):
        return mask
    return cast(mask, element)  # type: ignore[arg-type]


def _scale(node: Node, q: SSAValue) -> float:
    width = dims_of(q)[-1]
    if not isinstance(width, int):
        raise node.unsupported(f"attention with heads of width {width}")
    given = node.float("scale") if node.has_attribute("scale") else 0.0
    return given or width**-0.5


def _heads(x: SSAValue, heads: int, is_flat: bool) -> SSAValue:
    """`[batch, rows, heads * dim]` as `[batch, heads, rows, dim]`."""
    if not is_flat:
        return x
    batch, rows, width = dims_of(x)
    split = nn.ReshapeOp(x, [batch, rows, heads, width // heads])
    return value(nn.TransposeOp(split, [0, 2, 1, 3]))


def _flat(x: SSAValue) -> SSAValue:
    """The inverse of `_heads`."""
    batch, heads, rows, width = dims_of(x)
    turned = nn.TransposeOp(x, [0, 2, 1, 3])
    return value(nn.ReshapeOp(turned, [batch, rows, heads * width]))


def rotary_embedding(node: Node) -> SSAValue:
    """Features rotated by angles that depend on the position."""
    is_flat = node.rank(0) == 3
    heads = node.int("num_heads", 0)
    width = node.int("rotary_embedding_dim", 0)
    x = _heads(node.x(0), heads, is_flat)
    cos, sin = node.x(1), node.x(2)
    if node.has(3):
        cos, sin = (value(nn.GatherOp(t, node.x(3), axis=0)) for t in (cos, sin))
    if width and dims_of(cos)[-1] != width // 2:
        raise node.invalid(f"expected {width // 2} angles, got {dims_of(cos)[-1]}")
    batch, rows, half = dims_of(cos)
    cos, sin = (value(nn.ReshapeOp(t, [batch, 1, rows, half])) for t in (cos, sin))
    interleaved = bool(node.int("interleaved", 0))
    y = value(nn.RotaryEmbeddingOp(x, cos, sin, interleaved=interleaved))
    return _flat(y) if is_flat and rank_of(y) == 4 else y


RULES = (
    Rule("Attention", attention),
    Rule("RotaryEmbedding", rotary_embedding),
)
