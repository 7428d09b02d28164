from __future__ import annotations

import numpy as np
import pytest

RNG = np.random.default_rng(1)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def tensor(*shape: int | str, element: str = "f32") -> str:
    if all(isinstance(n, int) for n in shape):
        return f"tensor<{''.join(f'{n}x' for n in shape)}{element}>"
    dims = "".join(f"{n if isinstance(n, int) else '?'}x" for n in shape)
    return f"tensor<{dims}{element}, #nn.dims<{', '.join(map(str, shape))}>>"


@pytest.mark.parametrize("kind", ["sum", "mean", "max", "min", "prod"])
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)])
def test_reduce_over_any_axes(check, kind: str, axes: tuple[int, ...]) -> None:
    shape = (3, 18, 35)
    out = tensor(*(1 if d in axes else n for d, n in enumerate(shape)))
    given = ", ".join(map(str, axes))
    body = f"""func.func @main(%x: {tensor(*shape)}) -> {out} {{
      %0 = nn.reduce %x {{kind = "{kind}", axes = array<i64: {given}>,
                          keepdims = true}} : ({tensor(*shape)}) -> {out}
      func.return %0 : {out}
    }}"""
    values = f32(*shape) if kind != "prod" else 1 + 0.01 * f32(*shape)
    check(body, values, tolerance=1e-4)


@pytest.mark.parametrize("kind", ["any", "all"])
@pytest.mark.parametrize("length", [2, 77])
def test_reduce_of_bools(check, kind: str, length: int) -> None:
    x, y = tensor(40, length, element="i1"), tensor(40, element="i1")
    body = f"""func.func @main(%x: {x}) -> {y} {{
      %0 = nn.reduce %x {{kind = "{kind}", axes = array<i64: 1>, keepdims = false}}
        : ({x}) -> {y}
      func.return %0 : {y}
    }}"""
    mostly = 0.97 if kind == "all" else 0.03
    check(body, RNG.random((40, length)) < mostly)


@pytest.mark.parametrize("element", ["i32", "i8", "ui8", "f16", "f64"])
def test_reduce_of_any_type(check, element: str) -> None:
    x, y = tensor(4, 77, element=element), tensor(4, element=element)
    body = f"""func.func @main(%x: {x}) -> {y} {{
      %0 = nn.reduce %x {{kind = "max", axes = array<i64: 1>, keepdims = false}}
        : ({x}) -> {y}
      func.return %0 : {y}
    }}"""
    names = {"i32": np.int32, "i8": np.int8, "ui8": np.uint8, "f16": np.float16}
    values = RNG.integers(0, 250, (4, 77)).astype(names.get(element, np.float64))
    check(body, values)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_softmax_along_any_axis(check, op: str, axis: int) -> None:
    kind = tensor(4, 19, 21)
    body = f"""func.func @main(%x: {kind}) -> {kind} {{
      %0 = nn.{op} %x {{axis = {axis} : i64}} : ({kind}) -> {kind}
      func.return %0 : {kind}
    }}"""
    check(body, f32(4, 19, 21))


@pytest.mark.parametrize("sizes", [(1, 1), (2, 63), (3, 64), (2, 200)])
def test_softmax_of_dynamic_rows(check, sizes: tuple[int, int]) -> None:
    kind = tensor("a", "b")
    body = f"""func.func @main(%x: {kind}) -> {kind} {{
      %0 = nn.softmax %x {{axis = 1 : i64}} : ({kind}) -> {kind}
      func.return %0 : {kind}
    }}"""
    check(body, f32(*sizes))


def test_rows_too_long_to_be_held(check) -> None:
    kind = tensor(2, 5000)
    body = f"""func.func @main(%x: {kind}) -> {kind} {{
      %0 = nn.softmax %x {{axis = 1 : i64}} : ({kind}) -> {kind}
      func.return %0 : {kind}
    }}"""
    check(body, f32(2, 5000))


def test_layer_norm(check) -> None:
    x, w = tensor(5, 96), tensor(96)
    body = f"""func.func @main(%x: {x}, %w: {w}, %b: {w}) -> {x} {{
      %0 = nn.layer_norm %x, %w, %b {{axis = 1 : i64, epsilon = 1.0e-5 : f64}}
        : ({x}, {w}, {w}) -> {x}
      func.return %0 : {x}
    }}"""
    check(body, f32(5, 96), f32(96), f32(96), tolerance=1e-4)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("last", ["true", "false"])
def test_arg_reduce(check, axis: int, last: str) -> None:
    x, y = tensor(6, 41), tensor(*((41,) if axis == 0 else (6,)), element="i64")
    body = f"""func.func @main(%x: {x}) -> {y} {{
      %0 = nn.arg_reduce %x {{kind = "max", axis = {axis} : i64, keepdims = false,
                              select_last = {last}}} : ({x}) -> {y}
      func.return %0 : {y}
    }}"""
    check(body, RNG.integers(0, 5, (6, 41)).astype(np.float32))


@pytest.mark.parametrize("op", ["max_pool", "avg_pool"])
@pytest.mark.parametrize("channels", [3, 40])
def test_pooling_channels_last(check, op: str, channels: int) -> None:
    x, y = tensor(1, 9, 11, channels), tensor(1, 5, 6, channels)
    body = f"""func.func @main(%x: {x}) -> {y} {{
      %0 = nn.{op} %x {{kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>,
        pads = #nn.dims<1, 1, 1, 1>, dilations = array<i64: 1, 1>,
        channels_last = true}} : ({x}) -> {y}
      func.return %0 : {y}
    }}"""
    check(body, f32(1, 9, 11, channels))


def test_a_masked_tail_does_not_count(check) -> None:
    """exp(0) = 1 past the end would; so would 0 in a maximum of negative numbers."""
    kind, out = tensor("a"), tensor()
    body = f"""func.func @main(%x: {kind}) -> {out} {{
      %0 = nn.exp %x : ({kind}) -> {kind}
      %1 = nn.reduce %0 {{kind = "sum", axes = array<i64: 0>, keepdims = false}}
        : ({kind}) -> {out}
      func.return %1 : {out}
    }}"""
    check(body, f32(70))


@pytest.mark.parametrize("axes", [(0,), (1,)])
def test_dims_without_elements(check, axes: tuple[int, ...]) -> None:
    x, y = tensor(0, 5), tensor(*(5,) if axes == (0,) else (0,))
    body = f"""func.func @main(%x: {x}) -> {y} {{
      %0 = nn.reduce %x {{kind = "sum", axes = array<i64: {axes[0]}>, keepdims = false}}
        : ({x}) -> {y}
      func.return %0 : {y}
    }}"""
    check(body, f32(0, 5))
