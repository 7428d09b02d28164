from __future__ import annotations

import numpy as np
import pytest

RNG = np.random.default_rng(3)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def tensor(*shape: int | str, element: str = "f32") -> str:
    if all(isinstance(n, int) for n in shape):
        return f"tensor<{''.join(f'{n}x' for n in shape)}{element}>"
    dims = "".join(f"{n if isinstance(n, int) else '?'}x" for n in shape)
    return f"tensor<{dims}{element}, #nn.dims<{', '.join(map(str, shape))}>>"


def dense(*shape: int) -> str:
    values = RNG.integers(-8, 8, shape).astype(np.float32) / 8
    return f"dense<{values.tolist()}> : {tensor(*shape)}"


@pytest.mark.parametrize(
    "sizes", [(1, 16, 40), (5, 7, 3), (33, 20, 17), (64, 300, 70), (9, 1, 40)]
)
def test_matmul_with_constant_weights(check, sizes: tuple[int, int, int]) -> None:
    """The weights are packed, and padded where the columns are not whole panels."""
    m, k, n = sizes
    x, w, y = tensor(m, k), tensor(k, n), tensor(m, n)
    body = f"""func.func @main(%x: {x}, %b: {tensor(n)}) -> {y} {{
      %w = nn.constant {{value = {dense(k, n)}}} : {w}
      %0 = nn.matmul %x, %w : ({x}, {w}) -> {y}
      %1 = nn.add %0, %b : ({y}, {tensor(n)}) -> {y}
      %2 = nn.relu %1 : ({y}) -> {y}
      func.return %2 : {y}
    }}"""
    check(body, f32(m, k), f32(n), tolerance=1e-4)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 9, 20), (3, 70, 33)])
def test_batched_matmul_of_dynamic_sizes(check, sizes: tuple[int, int, int]) -> None:
    x, w = tensor("b", "m", "k"), tensor("b", "k", "m")
    y = tensor("b", "m", "m")
    body = f"""func.func @main(%x: {x}, %w: {w}) -> {y} {{
      %0 = nn.matmul %x, %w : ({x}, {w}) -> {y}
      func.return %0 : {y}
    }}"""
    b, m, k = sizes
    check(body, f32(b, m, k), f32(b, k, m), tolerance=1e-4)


@pytest.mark.parametrize("element", ["f16", "f64", "i32"])
def test_matmul_of_element_types(check, element: str) -> None:
    x, w, y = (tensor(*s, element=element) for s in ((6, 40), (40, 20), (6, 20)))
    body = f"""func.func @main(%x: {x}, %w: {w}) -> {y} {{
      %0 = nn.matmul %x, %w : ({x}, {w}) -> {y}
      func.return %0 : {y}
    }}"""
    dtype = {"f16": np.float16, "f64": np.float64, "i32": np.int32}[element]
    a, b = RNG.integers(-4, 4, (6, 40)), RNG.integers(-4, 4, (40, 20))
    check(body, a.astype(dtype), b.astype(dtype))


@pytest.mark.parametrize("shapes", [((40,), (40, 9)), ((7, 40), (40,)), ((40,), (40,))])
def test_matmul_with_vectors(check, shapes) -> None:
    a, b = shapes
    out = a[:-1] + b[1:]
    body = f"""func.func @main(%x: {tensor(*a)}, %w: {tensor(*b)}) -> {tensor(*out)} {{
      %0 = nn.matmul %x, %w : ({tensor(*a)}, {tensor(*b)}) -> {tensor(*out)}
      func.return %0 : {tensor(*out)}
    }}"""
    check(body, f32(*a), f32(*b), tolerance=1e-4)


def conv(
    x: tuple[int, ...], w: tuple[int, ...], y: tuple[int, ...], **options: str
) -> str:
    rank = len(x) - 2
    given = {
        "strides": f"array<i64: {', '.join('1' * rank)}>",
        "pads": f"#nn.dims<{', '.join('0' * (2 * rank))}>",
        "dilations": f"array<i64: {', '.join('1' * rank)}>",
        "groups": "1 : i64",
        "channels_last": "true",
    } | options
    attributes = ", ".join(f"{key} = {value}" for key, value in given.items())
    types = f"({tensor(*x)}, {tensor(*w)}) -> {tensor(*y)}"
    return f"""func.func @main(%x: {tensor(*x)}, %r: {tensor(*y)}) -> {tensor(*y)} {{
      %w = nn.constant {{value = {dense(*w)}}} : {tensor(*w)}
      %0 = nn.conv %x, %w {{{attributes}}} : {types}
      %1 = nn.add %0, %r : ({tensor(*y)}, {tensor(*y)}) -> {tensor(*y)}
      func.return %1 : {tensor(*y)}
    }}"""


CASES = {
    "1x1": ((2, 5, 7, 9), (1, 1, 9, 20), (2, 5, 7, 20), {}),
    "3x3 padded": (
        (1, 6, 9, 5),
        (3, 3, 5, 40),
        (1, 6, 9, 40),
        {"pads": "#nn.dims<1, 1, 1, 1>"},
    ),
    "stem": (
        (1, 15, 17, 3),
        (7, 7, 3, 24),
        (1, 8, 9, 24),
        {"pads": "#nn.dims<3, 3, 3, 3>", "strides": "array<i64: 2, 2>"},
    ),
    "dilated": (
        (1, 9, 9, 20),
        (3, 3, 20, 6),
        (1, 9, 9, 6),
        {"pads": "#nn.dims<2, 2, 2, 2>", "dilations": "array<i64: 2, 2>"},
    ),
    "depthwise": (
        (1, 7, 9, 35),
        (3, 3, 1, 35),
        (1, 7, 9, 35),
        {"pads": "#nn.dims<1, 1, 1, 1>", "groups": "35 : i64"},
    ),
    "groups": (
        (1, 5, 6, 8),
        (3, 3, 4, 6),
        (1, 5, 6, 6),
        {"pads": "#nn.dims<1, 1, 1, 1>", "groups": "2 : i64"},
    ),
    "1-D": ((2, 20, 6), (3, 6, 10), (2, 18, 10), {}),
    "3-D": ((1, 4, 5, 6, 3), (2, 2, 2, 3, 5), (1, 3, 4, 5, 5), {}),
    "channels first": (
        (1, 5, 6, 9),
        (20, 5, 3, 3),
        (1, 20, 6, 9),
        {"pads": "#nn.dims<1, 1, 1, 1>", "channels_last": "false"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_convolution(check, case: str) -> None:
    x, w, y, options = CASES[case]
    check(conv(x, w, y, **options), f32(*x), f32(*y), tolerance=1e-4)


def test_a_factor_with_a_prologue(check) -> None:
    """exp(0) = 1 past the end of the inner dim must not count."""
    x, w, y = tensor("m", "k"), tensor("k", 20), tensor("m", 20)
    body = f"""func.func @main(%x: {x}, %w: {w}) -> {y} {{
      %0 = nn.exp %x : ({x}) -> {x}
      %1 = nn.exp %w : ({w}) -> {w}
      %2 = nn.matmul %0, %1 : ({x}, {w}) -> {y}
      func.return %2 : {y}
    }}"""
    check(body, f32(3, 19), f32(19, 20), tolerance=1e-4)


def test_factors_of_two_widths(check) -> None:
    """A dot cannot widen one factor alone."""
    x, w, y = tensor(5, 40, element="f16"), tensor(40, 20), tensor(5, 20)
    body = f"""func.func @main(%x: {x}, %w: {w}) -> {y} {{
      %0 = nn.cast %x {{to = f32}} : ({x}) -> {tensor(5, 40)}
      %1 = nn.matmul %0, %w : ({tensor(5, 40)}, {w}) -> {y}
      func.return %1 : {y}
    }}"""
    check(body, f32(5, 40).astype(np.float16), f32(40, 20), tolerance=1e-4)


@pytest.mark.parametrize("left", ["i8", "ui8"])
@pytest.mark.parametrize("right", ["i8", "ui8"])
def test_bytes_are_widened_by_their_sign(check, left: str, right: str) -> None:
    x, w = tensor(5, 40, element=left), tensor(40, 20, element=right)
    a, b, y = (tensor(*s, element="i32") for s in ((5, 40), (40, 20), (5, 20)))
    body = f"""func.func @main(%x: {x}, %w: {w}) -> {y} {{
      %0 = nn.cast %x {{to = i32}} : ({x}) -> {a}
      %1 = nn.cast %w {{to = i32}} : ({w}) -> {b}
      %2 = nn.matmul %0, %1 : ({a}, {b}) -> {y}
      func.return %2 : {y}
    }}"""
    types = {"i8": np.int8, "ui8": np.uint8}
    values = [RNG.integers(0, 256, s) for s in ((5, 40), (40, 20))]
    check(body, values[0].astype(types[left]), values[1].astype(types[right]))
