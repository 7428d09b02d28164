"""Matrix products and convolutions."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i64
from stepwell.dialects.shapes import Dim, dims_of, element_of
from stepwell.frontends.emit import cast, cut, rank_of, reshape, transpose, value
from stepwell.frontends.torch.call import Call, Operand
from stepwell.frontends.torch.registry import Output, Rules

from .elementwise import scaled
from .reduction import vector_norm
from .rows import pair


def matmul(call: Call, a: SSAValue, b: SSAValue) -> Operation:
    """Matrix product; leading dims broadcast."""
    return nn.MatmulOp(a, b)


def linear(
    call: Call, x: SSAValue, w: SSAValue, bias: SSAValue | None = None
) -> Operation:
    """`x w' + bias`."""
    turned = w if rank_of(w) == 1 else value(nn.TransposeOp(w, [1, 0]))
    product = nn.MatmulOp(x, turned)
    return product if bias is None else nn.AddOp(product, bias)


def addmm(
    call: Call,
    bias: SSAValue,
    a: SSAValue,
    b: SSAValue,
    beta: Operand = 1,
    alpha: Operand = 1,
) -> Operation:
    """`beta * bias + alpha * (a @ b)`."""
    product = scaled(call, value(nn.MatmulOp(a, b)), alpha)
    if not isinstance(beta, SSAValue) and beta == 0:
        return nn.BroadcastToOp(product, call.dims())
    return nn.AddOp(product, scaled(call, cast(bias, element_of(product)), beta))


def addbmm(
    call: Call,
    bias: SSAValue,
    a: SSAValue,
    b: SSAValue,
    beta: Operand = 1,
    alpha: Operand = 1,
) -> Operation:
    """`beta * bias + alpha * (a @ b)`, the products of all batch entries summed."""
    total = value(nn.ReduceOp(nn.MatmulOp(a, b), kind="sum", axes=[0]))
    return nn.AddOp(scaled(call, bias, beta), scaled(call, total, alpha))


def convolution(
    call: Call,
    x: SSAValue,
    w: SSAValue,
    bias: SSAValue | None,
    stride: Sequence[int],
    padding: Sequence[Dim],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[Dim],
    groups: int,
) -> Output:
    """Convolution or transposed convolution, in 1 to 3 dims."""
    count = rank_of(w) - 2
    is_single = rank_of(x) == count + 1
    if is_single:
        x = reshape(x, [1, *dims_of(x)])
    parameters: dict[str, Any] = {
        "strides": pair(stride, count),
        "pads": pair(padding, count) * 2,
        "dilations": pair(dilation, count),
        "groups": groups,
    }
    if transposed:
        extra = pair(output_padding, count)
        y = nn.ConvTransposeOp(x, w, bias, output_padding=extra, **parameters)
    else:
        y = nn.ConvOp(x, w, bias, **parameters)
    return reshape(value(y), call.dims()) if is_single else y


def conv(
    call: Call,
    x: SSAValue,
    w: SSAValue,
    bias: SSAValue | None,
    stride: Sequence[int],
    padding: Sequence[Dim],
    dilation: Sequence[int],
    groups: int,
) -> Output:
    """Convolution."""
    return convolution(call, x, w, bias, stride, padding, dilation, False, [0], groups)


def conv_by_name(
    call: Call,
    x: SSAValue,
    w: SSAValue,
    bias: SSAValue | None,
    stride: Sequence[int],
    padding: str,
    dilation: Sequence[int],
    groups: int,
) -> Output:
    """Convolution with padding `same` (one more at the end if odd) or `valid`."""
    count = rank_of(w) - 2
    if padding == "valid":
        return conv(call, x, w, bias, stride, [0], dilation, groups)
    kernel = [size for size in dims_of(w)[2:] if isinstance(size, int)]
    total = [
        step * (size - 1)
        for step, size in zip(pair(dilation, count), kernel, strict=True)
    ]
    low = [each // 2 for each in total]
    high = [each - less for each, less in zip(total, low, strict=True)]
    is_single = rank_of(x) == count + 1
    if is_single:
        x = reshape(x, [1, *dims_of(x)])
    y = nn.ConvOp(
        x,
        w,
        bias,
        strides=pair(stride, count),
        pads=[*low, *high],
        dilations=pair(dilation, count),
        groups=groups,
    )
    return reshape(value(y), call.dims()) if is_single else y


def conv_transpose(
    call: Call,
    x: SSAValue,
    w: SSAValue,
    bias: SSAValue | None,
    stride: Sequence[int],
    padding: Sequence[Dim],
    output_padding: Sequence[Dim],
    groups: int,
    dilation: Sequence[int],
) -> Output:
    """Transposed convolution."""
    return convolution(
        call, x, w, bias, stride, padding, dilation, True, output_padding, groups
    )


def einsum(
    call: Call, equation: str, operands: Sequence[SSAValue], *_: Any
) -> SSAValue:
    """Sum of products by index letters; more than two operands in turn."""
    terms, output = nn.split_equation(equation)
    parts = list(operands)
    if len(parts) > 2 and "." in equation:
        terms, output, parts = spelled_out(terms, output, parts)
    for index, term in enumerate(terms):
        terms[index], parts[index] = without_repeats(call, term, parts[index])
    while len(parts) > 2:
        later = "".join([*terms[2:], output])
        kept = "".join(c for c in dict.fromkeys(terms[0] + terms[1]) if c in later)
        both = f"{terms[0]},{terms[1]}->{kept}"
        parts[:2] = [value(nn.EinsumOp(*parts[:2], equation=both))]
        terms[:2] = [kept]
    return value(nn.EinsumOp(*parts, equation=f"{','.join(terms)}->{output}"))


def spelled_out(
    terms: Sequence[str], output: str, parts: Sequence[SSAValue]
) -> tuple[list[str], str, list[SSAValue]]:
    """An equation with letters for `...`; dims of 1 that broadcast are left out."""
    used = {*output, *"".join(terms)}
    free = [letter for letter in string.ascii_letters if letter not in used]
    outer = [
        dims_of(x)[term.index(".") : rank_of(x) - (len(term) - term.index(".") - 3)]
        if "." in term
        else ()
        for term, x in zip(terms, parts, strict=True)
    ]
    shape = nn.broadcast(*outer)
    letters = "".join(free[: len(shape)])
    spelled: list[str] = []
    taken: list[SSAValue] = []
    for term, x, own in zip(terms, parts, outer, strict=True):
        first = term.find(".")
        names, dims = "", list(dims_of(x)[: max(first, 0)])
        wide = list(zip(letters, shape, strict=True))[len(shape) - len(own) :]
        for size, (letter, whole) in zip(own, wide, strict=True):
            if size != 1 or whole == 1:
                names += letter
                dims.append(size)
        if first >= 0:
            x = reshape(x, [*dims, *dims_of(x)[first + len(own) :]])
        spelled.append(term.replace("...", names))
        taken.append(x)
    return spelled, output.replace("...", letters), taken


def without_repeats(call: Call, term: str, x: SSAValue) -> tuple[str, SSAValue]:
    """A term in which no letter stands twice: of two equal dims the diagonal."""
    for letter in dict.fromkeys(term.replace(".", "")):
        while term.count(letter) > 1:
            first, second = [i for i, c in enumerate(term) if c == letter][:2]
            size = dims_of(x)[first]
            if "." in term or not isinstance(size, int):
                raise call.unsupported(
                    f"einsum with a letter twice in {term!r}", fix="use torch.diagonal"
                )
            rest = [i for i in range(rank_of(x)) if i not in (first, second)]
            x = transpose(x, [*rest, first, second])
            outer = dims_of(x)[:-2]
            flat = reshape(x, [*outer, size * size])
            x = cut(flat, len(outer), 0, size * size, size + 1)
            term = "".join(term[i] for i in rest) + letter
    return term, x


def outer(call: Call, a: SSAValue, b: SSAValue) -> Operation:
    """Each element of `a` times each of `b`."""
    element = call.element()
    column = reshape(cast(a, element), [dims_of(a)[0], 1])
    return nn.MulOp(column, cast(b, element))


def grouped_mm(
    call: Call,
    x: SSAValue,
    weights: SSAValue,
    ends: SSAValue | None = None,
    *_: Any,
) -> Operation:
    """Each row of `x` times the matrix of its group; `ends` are where groups end.

    All products are made and each row picks its own: the groups are few.
    """
    if ends is None or rank_of(x) != 2 or rank_of(weights) != 3:
        raise call.unsupported("grouped products of other than rows by matrices")
    rows, groups = dims_of(x)[0], dims_of(weights)[0]
    products = nn.MatmulOp(reshape(x, [1, *dims_of(x)]), weights)
    place = reshape(value(nn.IotaOp([rows], i64)), [rows, 1])
    is_past = nn.CompareOp(reshape(cast(ends, i64), [1, groups]), place, predicate="le")
    group = nn.ReduceOp(nn.CastOp(is_past, i64), kind="sum", axes=[1], keepdims=True)
    last = nn.MinimumOp(group, call.scalar(groups - 1, i64))
    picks = nn.ConcatOp([last, place], axis=1)
    found = nn.GatherNdOp(products, picks)
    is_in = nn.CompareOp(group, call.scalar(groups, i64), predicate="lt")
    return nn.SelectOp(is_in, found, call.scalar(0, element_of(x)))


def cdist(call: Call, a: SSAValue, b: SSAValue, order: float = 2, *_: Any) -> Output:
    """The distance of each row of `a` from each row of `b`."""
    left, right = dims_of(a), dims_of(b)
    columns = reshape(a, [*left[:-1], 1, left[-1]])
    rows = reshape(b, [*right[:-2], 1, *right[-2:]])
    return vector_norm(call, value(nn.SubOp(columns, rows)), order, [-1])


def pdist(call: Call, x: SSAValue, order: float = 2) -> Output:
    """The distance of each row from each later one."""
    rows = dims_of(x)[0]
    if not isinstance(rows, int):
        raise call.unsupported(f"pdist of {rows} rows")
    first, second = np.triu_indices(rows, 1)
    pair = [
        nn.GatherOp(x, call.builder.constant(each.astype(np.int64)), axis=0)
        for each in (first, second)
    ]
    return vector_norm(call, value(nn.SubOp(*pair)), order, [-1])


def trilinear(
    call: Call,
    a: SSAValue,
    b: SSAValue,
    c: SSAValue,
    expand_a: Sequence[int],
    expand_b: Sequence[int],
    expand_c: Sequence[int],
    sum_dims: Sequence[int],
    *_: Any,
) -> Operation:
    """The product of three tensors, with new dims, summed over some."""
    parts: list[SSAValue] = []
    for x, new in ((a, expand_a), (b, expand_b), (c, expand_c)):
        dims = list(dims_of(x))
        for axis in sorted(new):
            dims.insert(axis, 1)
        parts.append(reshape(x, dims))
    whole = nn.MulOp(nn.MulOp(parts[0], parts[1]), parts[2])
    return nn.ReduceOp(whole, kind="sum", axes=sum_dims)


RULES: Rules = {
    "aten._trilinear.default": trilinear,
    "aten.mm.default": matmul,
    "aten.bmm.default": matmul,
    "aten.mv.default": matmul,
    "aten.dot.default": matmul,
    "aten.matmul.default": matmul,
    "aten.linear.default": linear,
    "aten.addmm.default": addmm,
    "aten.addmv.default": addmm,
    "aten.baddbmm.default": addmm,
    "aten.addbmm.default": addbmm,
    "aten.convolution.default": convolution,
    "aten.conv1d.default": conv,
    "aten.conv2d.default": conv,
    "aten.conv3d.default": conv,
    "aten.conv1d.padding": conv_by_name,
    "aten.conv2d.padding": conv_by_name,
    "aten.conv3d.padding": conv_by_name,
    "aten.conv_transpose1d.default": conv_transpose,
    "aten.conv_transpose2d.input": conv_transpose,
    "aten.conv_transpose3d.input": conv_transpose,
    "aten.einsum.default": einsum,
    "aten.outer.default": outer,
    "aten._cdist_forward.default": cdist,
    "aten._pdist_forward.default": pdist,
    "aten._grouped_mm.default": grouped_mm,
    "transformers.grouped_mm_fallback.default": grouped_mm,
}
