from __future__ import annotations

import numpy as np
import pytest

RNG = np.random.default_rng(2)


def cumulative(shape: tuple[int, ...], axis: int, **options: str) -> str:
    kind = f"tensor<{'x'.join(map(str, shape))}xf32>"
    extra = "".join(f", {key} = {value}" for key, value in options.items())
    return f"""func.func @main(%x: {kind}) -> {kind} {{
      %0 = nn.cumulative %x {{kind = "sum", axis = {axis} : i64{extra}}}
        : ({kind}) -> {kind}
      func.return %0 : {kind}
    }}"""


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("exclusive", ["true", "false"])
@pytest.mark.parametrize("reverse", ["true", "false"])
def test_cumulative_sums(check, axis: int, exclusive: str, reverse: str) -> None:
    values = RNG.standard_normal((5, 150)).astype(np.float32)
    body = cumulative((5, 150), axis, exclusive=exclusive, reverse=reverse)
    check(body, values, tolerance=1e-4)


@pytest.mark.parametrize("descending", ["true", "false"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("element", ["f32", "i32", "ui8"])
def test_sort_is_stable(check, element: str, axis: int, descending: str) -> None:
    x, i = f"tensor<6x37x{element}>", "tensor<6x37xi64>"
    body = f"""func.func @main(%x: {x}) -> ({x}, {i}) {{
      %v, %i = nn.sort %x {{axis = {axis} : i64, descending = {descending}}}
        : ({x}) -> ({x}, {i})
      func.return %v, %i : {x}, {i}
    }}"""
    dtype = {"f32": np.float32, "i32": np.int32, "ui8": np.uint8}[element]
    check(body, RNG.integers(0, 250, (6, 37)).astype(dtype) // 50)


def test_nan_is_the_largest_key(check) -> None:
    x, i = "tensor<9xf32>", "tensor<9xi64>"
    body = f"""func.func @main(%x: {x}) -> ({x}, {i}) {{
      %v, %i = nn.sort %x {{axis = 0 : i64, descending = true}} : ({x}) -> ({x}, {i})
      func.return %v, %i : {x}, {i}
    }}"""
    values = np.array([3, np.nan, -np.inf, np.inf, 0, np.nan, 3, -1, 2], np.float32)
    check(body, values)


@pytest.mark.parametrize("largest", ["true", "false"])
def test_the_first_of_a_sort(check, largest: str) -> None:
    x, y, i = "tensor<4x50xf32>", "tensor<4x7xf32>", "tensor<4x7xi64>"
    body = f"""func.func @main(%x: {x}) -> ({y}, {i}) {{
      %v, %i = nn.topk %x {{k = #nn.dims<7>, axis = 1 : i64, largest = {largest},
                             sorted = true}} : ({x}) -> ({y}, {i})
      func.return %v, %i : {y}, {i}
    }}"""
    check(body, RNG.standard_normal((4, 50)).astype(np.float32))
