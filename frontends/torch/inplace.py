"""Calls that change a tensor in place, read as calls that make a new one.

`relu_(x)` is `relu(x)`, and every later reader of `x` gets its result. That is sound
where nothing else shares the memory of `x`; then the program need not be traced again
to make it functional (`run_decompositions`, which takes seconds for a ResNet).
"""

from __future__ import annotations

from torch import fx

from .overloads import is_mutable, op_name, rule_name

_FRESH_OPS = """
    _softmax abs adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d add
    addmm avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bmm cat clamp clone
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d
    convolution div embedding exp gelu group_norm hardsigmoid hardswish hardtanh
    instance_norm layer_norm leaky_relu linear masked_fill matmul max_pool1d
    max_pool2d max_pool3d mean mish mm mul neg relu relu6 rms_norm
    scaled_dot_product_attention sigmoid silu softplus sqrt stack sub sum tanh
    upsample_bilinear2d upsample_nearest2d where
"""
_FRESH = frozenset(_FRESH_OPS.split())
"""Ops whose result is always new memory."""


def functional_name(target: object) -> str:
    """`aten.relu.default` for `aten.relu_.default`; the name itself for others."""
    name = rule_name(target)
    if not is_mutable(target):
        return name
    namespace, op, overload = name.split(".")
    return f"{namespace}.{op.removesuffix('_')}.{overload}"


def is_in_place(node: fx.Node) -> bool:
    """Whether a call changes its first argument."""
    return is_mutable(node.target) and op_name(node.target).endswith("_")


def changed(node: fx.Node) -> list[fx.Node]:
    """The calls whose results a call in place changes: its argument, and so on back."""
    found: list[fx.Node] = []
    while is_in_place(node):
        source = node.args[0]
        assert isinstance(source, fx.Node)
        found.append(source)
        node = source
    return found


def is_sound(node: fx.Node) -> bool:
    """Whether nothing else shares the memory that a call in place changes.

    Its argument was made by an op that always makes new memory, and no call that may
    hand out the same memory has read it.
    """
    if not is_in_place(node):
        return False
    if op_name(node.target) == "dropout_":
        return node.args[2] is False
    tensors = [node, *changed(node)]
    first = tensors[-1]
    return op_name(first.target) in _FRESH and all(
        is_in_place(user) or op_name(user.target) in _FRESH
        for tensor in tensors
        for user in tensor.users
        if user < node
    )
