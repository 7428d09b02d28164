"""Tensor types over symbolic dims, and the attributes that hold them."""

from __future__ import annotations

import pytest
from xdsl.dialects.builtin import Builtin, ModuleOp, TensorType, f32
from xdsl.parser import Parser
from xdsl.utils.exceptions import ParseError, VerifyException

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.dtypes import f16
from stepwell.dialects.nn import Nn
from stepwell.dialects.shapes import (
    DimRange,
    DimsAttr,
    RangeAttr,
    bind_symbols,
    dims_of,
    element_of,
    is_static,
    num_elements,
    ranges_of,
    set_ranges,
    symbol,
    tensor_type,
    with_dims,
    with_element,
)
from stepwell.errors import ShapeError

B, S = symbol("batch"), symbol("seq")


def parser(text: str) -> Parser:
    context = StepwellContext()
    context.load_dialect(Builtin)
    context.load_dialect(Nn)
    return Parser(context, text)


@pytest.mark.parametrize(
    ("dims", "text"),
    [
        ((2, 3), "tensor<2x3xf32>"),
        ((), "tensor<f32>"),
        ((B, 768), "tensor<?x768xf32, #nn.dims<batch, 768>>"),
        ((B * S // 2,), "tensor<?xf32, #nn.dims<(batch * seq) floordiv 2>>"),
        ((symbol("a,b>"),), 'tensor<?xf32, #nn.dims<"a,b>">>'),
    ],
)
def test_types_print_and_read_back(dims: tuple, text: str) -> None:
    kind = tensor_type(dims, f32)
    assert str(kind) == text
    assert parser(text).parse_type() == kind
    assert dims_of(kind) == dims


def test_parts_of_a_type() -> None:
    kind = tensor_type((B, 4), f32)
    assert element_of(kind) == f32
    assert num_elements(kind) == 4 * B
    assert not is_static(kind)
    assert is_static(with_dims(kind, (2, 2)))
    assert with_element(kind, f16) == tensor_type((B, 4), f16)


def test_equal_dims_make_equal_types() -> None:
    assert tensor_type((2 * B + 2 * B,), f32) == tensor_type((4 * B,), f32)


def test_dynamic_dims_need_expressions() -> None:
    with pytest.raises(ShapeError, match=r"expected #nn.dims<...> for the dynamic"):
        dims_of(TensorType(f32, [tensor_type((B,), f32).get_shape()[0]]))
    with pytest.raises(ShapeError, match="expected a tensor, got f32"):
        dims_of(f32)


@pytest.mark.parametrize(
    ("known", "text"),
    [
        (DimRange(1, 512, 128, 8), "#nn.range<1, 512, 128, 8>"),
        (DimRange(), "#nn.range<0, ?, ?, 1>"),
    ],
)
def test_ranges_print_and_read_back(known: DimRange, text: str) -> None:
    assert str(RangeAttr(known)) == text
    assert parser(text).parse_attribute() == RangeAttr(known)


@pytest.mark.parametrize("text", ["#nn.range<1, 2>", "#nn.range<?, 2, ?, 1>"])
def test_refuses_half_a_range(text: str) -> None:
    with pytest.raises(ParseError, match=r"expected #nn.range<min, max or"):
        parser(text).parse_attribute()


def test_refuses_an_empty_range() -> None:
    with pytest.raises(VerifyException, match="expected min <= max, got 3 and 2"):
        RangeAttr(DimRange(3, 2))
    with pytest.raises(VerifyException, match="expected a positive divisor, got 0"):
        RangeAttr(DimRange(divisor=0))


def test_a_module_states_its_ranges() -> None:
    module = ModuleOp([])
    assert ranges_of(module) == {}
    ranges = {"batch": DimRange(1, 32), "seq": DimRange(1, 512, 128, 8)}
    set_ranges(module, ranges)
    assert ranges_of(module) == ranges
    assert "seq = #nn.range<1, 512, 128, 8>" in str(module)


def test_shapes_bind_symbols() -> None:
    bindings = {"batch": 2}
    bind_symbols((B, S, 2 * S + 1), (2, 5, 11), bindings, "x")
    assert bindings == {"batch": 2, "seq": 5}


@pytest.mark.parametrize(
    ("dims", "shape", "message"),
    [
        ((B, 3), (2,), "expected rank 2 of x, got 1"),
        ((B, 3), (2, 4), "expected 3 = 3 at dim 1 of x, got 4"),
        ((B, B), (2, 3), "expected batch = 2 at dim 1 of x, got 3"),
        ((B, 2 * B), (2, 5), "expected 2 \\* batch = 4 at dim 1 of x, got 5"),
    ],
)
def test_a_shape_that_does_not_fit(dims: tuple, shape: tuple, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        bind_symbols(dims, shape, {}, "x")


def test_lists_of_dims_are_attributes() -> None:
    attr = DimsAttr((B, 3))
    assert str(attr) == "#nn.dims<batch, 3>"
    assert attr.get_values() == (B, 3)
    assert parser("#nn.dims<>").parse_attribute() == DimsAttr(())
