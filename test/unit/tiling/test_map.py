from __future__ import annotations

import numpy as np
import pytest

RNG = np.random.default_rng(0)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def text(arguments: str, result: str, body: str) -> str:
    return f"func.func @main({arguments}) -> {result} {{\n{body}\n}}"


@pytest.mark.parametrize("shape", [(1,), (7,), (64,), (1000,), (3, 5, 7), (2, 40, 33)])
def test_elementwise_of_any_shape(check, shape: tuple[int, ...]) -> None:
    kind = f"tensor<{'x'.join(map(str, shape))}xf32>"
    body = f"""
      %0 = nn.mul %x, %y : ({kind}, {kind}) -> {kind}
      %1 = nn.tanh %0 : ({kind}) -> {kind}
      func.return %1 : {kind}"""
    check(text(f"%x: {kind}, %y: {kind}", kind, body), f32(*shape), f32(*shape))


@pytest.mark.parametrize("shape", [(3, 5), (16, 16), (33, 70), (100, 3)])
def test_transposes(check, shape: tuple[int, int]) -> None:
    m, n = shape
    a, b = f"tensor<{m}x{n}xf32>", f"tensor<{n}x{m}xf32>"
    body = f"""
      %0 = nn.transpose %x {{perm = array<i64: 1, 0>}} : ({a}) -> {b}
      %1 = nn.relu %0 : ({b}) -> {b}
      func.return %1 : {b}"""
    check(text(f"%x: {a}", b, body), f32(m, n))


def test_broadcasts_along_rows_and_columns(check) -> None:
    x, y, z = "tensor<5x40xf32>", "tensor<5x1xf32>", "tensor<40xf32>"
    body = f"""
      %0 = nn.add %x, %y : ({x}, {y}) -> {x}
      %1 = nn.mul %0, %z : ({x}, {z}) -> {x}
      func.return %1 : {x}"""
    arguments = f"%x: {x}, %y: {y}, %z: {z}"
    check(text(arguments, x, body), f32(5, 40), f32(5, 1), f32(40))


@pytest.mark.parametrize("sizes", [(1, 1), (3, 70), (5, 64)])
def test_dynamic_sizes(check, sizes: tuple[int, int]) -> None:
    kind = "tensor<?x?xf32, #nn.dims<a, b>>"
    body = f"""
      %0 = nn.sigmoid %x : ({kind}) -> {kind}
      func.return %0 : {kind}"""
    check(text(f"%x: {kind}", kind, body), f32(*sizes))


def test_concat_and_pad(check) -> None:
    a, b, c = "tensor<2x3xf32>", "tensor<2x5xf32>", "tensor<2x8xf32>"
    d = "tensor<4x9xf32>"
    body = f"""
      %0 = nn.concat %x, %y {{axis = 1 : i64}} : ({a}, {b}) -> {c}
      %1 = nn.pad %0 {{low = #nn.dims<1, 0>, high = #nn.dims<1, 1>,
                       mode = "constant"}} : ({c}) -> {d}
      func.return %1 : {d}"""
    check(text(f"%x: {a}, %y: {b}", d, body), f32(2, 3), f32(2, 5))


def test_gather_of_rows(check) -> None:
    table, ids, out = "tensor<10x33xf32>", "tensor<2x3xi64>", "tensor<2x3x33xf32>"
    body = f"""
      %0 = nn.gather %t, %i {{axis = 0 : i64}} : ({table}, {ids}) -> {out}
      func.return %0 : {out}"""
    where = np.array([[0, 9, 4], [-1, 3, 3]], np.int64)
    check(text(f"%t: {table}, %i: {ids}", out, body), f32(10, 33), where)


@pytest.mark.parametrize("reduction", ["none", "add", "max"])
def test_scatter_of_elements(check, reduction: str) -> None:
    x, i = "tensor<6x5xf32>", "tensor<4x5xi64>"
    u = "tensor<4x5xf32>"
    body = f"""
      %0 = nn.scatter_elements %x, %i, %u {{axis = 0 : i64, reduction = "{reduction}"}}
        : ({x}, {i}, {u}) -> {x}
      func.return %0 : {x}"""
    where = RNG.integers(0, 6, (4, 5))
    if reduction == "none":
        where = np.argsort(RNG.standard_normal((6, 5)), 0)[:4]
    arguments = f"%x: {x}, %i: {i}, %u: {u}"
    check(text(arguments, x, body), f32(6, 5), where.astype(np.int64), f32(4, 5))


@pytest.mark.parametrize("kind", ["i8", "ui8", "i32", "i64", "f16", "f64", "i1"])
def test_element_types(check, kind: str) -> None:
    from xdsl.parser import Parser

    from stepwell.dialects.context import StepwellContext
    from stepwell.dialects.dtypes import numpy_dtype
    from stepwell.dialects.registry import register_dialects

    context = StepwellContext()
    register_dialects(context)
    dtype = numpy_dtype(Parser(context, kind).parse_type())
    tensor = f"tensor<3x37x{kind}>"
    body = f"""
      %0 = nn.maximum %x, %y : ({tensor}, {tensor}) -> {tensor}
      func.return %0 : {tensor}"""
    if kind == "i1":
        body = body.replace("maximum", "and")
    values = [RNG.integers(0, 250, (3, 37)).astype(dtype) for _ in "xy"]
    check(text(f"%x: {tensor}, %y: {tensor}", tensor, body), *values)
