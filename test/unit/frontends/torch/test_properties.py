"""Shapes and attributes at random, of fixed and of open sizes, against PyTorch."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")

few = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
sizes = st.integers(1, 5)
shapes = st.lists(sizes, min_size=1, max_size=4).map(tuple)
dynamic = st.booleans()
DTYPES = (torch.float32, torch.int64, torch.int32, torch.uint8, torch.bool)


def numbers(shape: tuple[int, ...], dtype: Any = torch.float32, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-4, 5, shape, generator=generator)
    if dtype.is_floating_point:
        return values.to(dtype) + 0.25
    return values.abs().to(dtype)


@st.composite
def broadcastable(draw: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast."""
    whole = draw(shapes)
    left = tuple(1 if draw(st.booleans()) else size for size in whole)
    right = tuple(1 if draw(st.booleans()) else size for size in whole)
    return left[draw(st.integers(0, len(left))) :], right


@few
@given(
    broadcastable(),
    st.sampled_from(DTYPES),
    st.sampled_from(DTYPES),
    st.sampled_from(["add.Tensor", "mul.Tensor", "maximum.default", "lt.Tensor"]),
    dynamic,
)
def test_pairs_broadcast_and_promote(
    check_op: Any, pair: Any, left: Any, right: Any, name: str, dynamic: bool
) -> None:
    x, y = numbers(pair[0], left), numbers(pair[1], right, seed=1)
    check_op(f"aten.{name}", x, y, dynamic=dynamic)


@few
@given(
    shapes,
    st.integers(-7, 7) | st.none(),
    st.integers(-7, 7) | st.none(),
    st.integers(1, 3),
    st.data(),
    dynamic,
)
def test_slices(
    check_op: Any,
    shape: tuple[int, ...],
    start: int | None,
    end: int | None,
    step: int,
    data: Any,
    dynamic: bool,
) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = numbers(shape)
    check_op("aten.slice.Tensor", x, dim, start, end, step, dynamic=dynamic)


@few
@given(
    shapes,
    st.sampled_from(["sum.dim_IntList", "mean.dim", "amax.default"]),
    st.booleans(),
    st.data(),
    dynamic,
)
def test_reductions(
    check_op: Any, shape: Any, name: str, keep: bool, data: Any, dynamic: bool
) -> None:
    axes = st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1)
    check_op(
        f"aten.{name}",
        numbers(shape),
        data.draw(axes),
        keep,
        dynamic=dynamic,
        rtol=1e-4,
    )


@few
@given(shapes, st.data(), dynamic)
def test_permutations_and_expansions(
    check_op: Any, shape: Any, data: Any, dynamic: bool
) -> None:
    perm = data.draw(st.permutations(range(len(shape))))
    check_op("aten.permute.default", numbers(shape), perm, dynamic=dynamic)
    wide = [data.draw(sizes) if size == 1 else -1 for size in shape]
    extra = data.draw(st.lists(sizes, max_size=2))
    check_op("aten.expand.default", numbers(shape), [*extra, *wide], dynamic=False)


@few
@given(
    st.sampled_from([1, 2, 4]),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.booleans(),
)
def test_convolutions(
    check_op: Any,
    groups: int,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
) -> None:
    x = numbers((2, 4, 7, 6))
    outside = [0, 0]
    if transposed:
        outside = [step - 1 for step in stride]
        padding = tuple(min(p, k - 1) for p, k in zip(padding, kernel, strict=True))
    shape = (4, 8 // groups) if transposed else (8, 4 // groups)
    w = numbers((*shape, *kernel), seed=1) / 4
    arguments = [list(each) for each in (stride, padding, dilation)]
    check_op(
        "aten.convolution.default",
        x,
        w,
        numbers((8,), seed=2),
        *arguments,
        transposed,
        outside,
        groups,
        rtol=1e-4,
        atol=1e-4,
    )


@few
@given(
    st.sampled_from(["max", "avg"]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 1),
    st.booleans(),
    st.booleans(),
)
def test_pooling(
    check_op: Any, kind: str, kernel: int, stride: int, pad: int, up: bool, inside: bool
) -> None:
    x = numbers((2, 3, 7, 6))
    pad = min(pad, kernel // 2)
    sizes = [[kernel] * 2, [stride] * 2, [pad] * 2]
    if kind == "max":
        check_op("aten.max_pool2d.default", x, *sizes, [1, 1], up)
    else:
        check_op("aten.avg_pool2d.default", x, *sizes, up, inside, rtol=1e-4)


@few
@given(shapes, st.data(), st.booleans())
def test_indices_and_assignments(
    check_op: Any, shape: Any, data: Any, accumulate: bool
) -> None:
    axes = data.draw(
        st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1, max_size=2)
    )
    count = data.draw(st.integers(1, 4))
    indices = [
        torch.arange(count) * 7 % shape[axis] if axis in axes else None
        for axis in range(max(axes) + 1)
    ]
    x = numbers(shape)
    check_op("aten.index.Tensor", x, indices)
    if accumulate:  # without it, equal indices have no defined winner
        values = numbers((), seed=3)
        check_op("aten.index_put.default", x, indices, values, True)


@few
@given(shapes, st.data(), dynamic)
def test_concatenations_and_splits(
    check_op: Any, shape: Any, data: Any, dynamic: bool
) -> None:
    dim = data.draw(st.integers(0, len(shape) - 1))
    other = (*shape[:dim], data.draw(sizes), *shape[dim + 1 :])
    dtype = data.draw(st.sampled_from(DTYPES))
    parts = [numbers(shape), numbers(other, dtype, seed=1)]
    check_op("aten.cat.default", parts, dim, dynamic=dynamic)
    step = data.draw(st.integers(1, 3))
    check_op("aten.split.Tensor", numbers(shape), step, dim)


@few
@given(st.lists(st.integers(1, 6), min_size=2, max_size=2), st.data(), dynamic)
def test_resizing(check_op: Any, size: list[int], data: Any, dynamic: bool) -> None:
    name = data.draw(
        st.sampled_from(["nearest2d", "bilinear2d", "bicubic2d", "_exact"])
    )
    x = numbers((1, 2, 4, 3))
    to = [each + 1 for each in size]
    if name == "nearest2d":
        check_op("aten.upsample_nearest2d.default", x, to, dynamic=dynamic)
    elif name == "_exact":
        check_op("aten._upsample_nearest_exact2d.default", x, to, dynamic=dynamic)
    else:
        corners = data.draw(st.booleans())
        check_op(
            f"aten.upsample_{name}.default",
            x,
            to,
            corners,
            dynamic=dynamic,
            rtol=1e-3,
            atol=1e-4,
        )


@few
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 2)),
    st.tuples(st.integers(0, 2), st.integers(0, 1)),
    st.tuples(st.integers(1, 2), st.integers(1, 3)),
    dynamic,
)
def test_windows_as_columns_and_back(
    check_op: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, dynamic: bool
) -> None:
    image = numbers((2, 3, 8, 9))
    options = [list(each) for each in (kernel, dilation, padding, stride)]
    check_op("aten.im2col.default", image, *options, dynamic=dynamic)
    columns = torch.ops.aten.im2col(image, *options)
    check_op("aten.col2im.default", columns, [8, 9], *options)


@few
@given(
    shapes,
    st.sampled_from(["cummax", "cummin", "logcumsumexp"]),
    st.booleans(),
    st.data(),
    dynamic,
)
def test_running_extrema(
    check_op: Any, shape: Any, name: str, with_nan: bool, data: Any, dynamic: bool
) -> None:
    x = numbers(shape)
    if with_nan and name != "logcumsumexp":
        x.view(-1)[data.draw(st.integers(0, x.numel() - 1))] = float("nan")
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    check_op(f"aten.{name}.default", x, dim, dynamic=dynamic)


@few
@given(st.lists(st.integers(1, 4), min_size=2, max_size=2), st.booleans(), dynamic)
def test_adaptive_pools(
    check_op: Any, size: list[int], is_max: bool, dynamic: bool
) -> None:
    x = numbers((2, 3, 5, 7))
    if is_max:
        name = "aten.adaptive_max_pool2d.default"
        check_op(name, x, size, outputs=1, dynamic=dynamic)
    else:
        check_op("aten._adaptive_avg_pool2d.default", x, size, dynamic=dynamic)


@few
@given(shapes, st.data())
def test_assignments_through_masks(check_op: Any, shape: Any, data: Any) -> None:
    covered = data.draw(st.integers(1, len(shape)))
    mask = numbers(shape[:covered], torch.bool, seed=data.draw(st.integers(0, 9)))
    rows = numbers((int(mask.sum()), *shape[covered:]), seed=1)
    accumulate = data.draw(st.booleans())
    check_op("aten.index_put.default", numbers(shape), [mask], rows, accumulate)
