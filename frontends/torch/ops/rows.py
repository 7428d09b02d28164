"""Makers of builder functions: an op that is one `nn` op is a row of data."""

from __future__ import annotations

from typing import Any

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.shapes import Dim
from stepwell.frontends.described import Make, described, op_name
from stepwell.frontends.emit import broadcast, cast, reshape
from stepwell.frontends.torch.call import Call, Operand
from stepwell.frontends.torch.registry import Build


def unary(op: Make, **parameters: Any) -> Build:
    """`op` of the first argument, in the type of the result."""

    def build(call: Call, x: SSAValue, *_: Any) -> Operation:
        return op(cast(x, call.element()), **parameters)

    return described(build, f"One `{op_name(op)}`.")


def binary(op: Make, **parameters: Any) -> Build:
    """`op` of two arguments, in the type of the result."""

    def build(call: Call, a: Operand, b: Operand, *_: Any) -> Operation:
        element = call.element()
        return op(call.operand(a, element), call.operand(b, element), **parameters)

    return described(build, f"One `{op_name(op)}`.")


def compare(predicate: str) -> Build:
    """A comparison, in the type that its operands are promoted to."""

    def build(call: Call, a: Operand, b: Operand) -> Operation:
        return nn.CompareOp(*call.operands(a, b), predicate=predicate)

    return described(build, "One `nn.compare`.")


def reshaped(call: Call, x: SSAValue, *_: Any) -> SSAValue:
    """The elements in the shape that PyTorch computed."""
    return reshape(x, call.dims())


def same(call: Call, x: SSAValue, *_: Any) -> SSAValue:
    """The argument itself."""
    return x


def nothing(*_: Any) -> None:
    """A check that PyTorch made when it traced the model."""


def first_of(build: Build) -> Build:
    """An op of several results of which only the first is supported."""

    def build_list(call: Call, *arguments: Any) -> list[Any]:
        return [build(call, *arguments)]

    return described(build_list, build.__doc__ or "")


def pair(given: Any, count: int) -> list[Any]:
    """A list argument of `count` numbers; one number stands for all of them."""
    numbers = list(given) if isinstance(given, list | tuple) else [given]
    return numbers * count if len(numbers) == 1 else numbers


def filled(call: Call, number: Dim | float) -> SSAValue:
    """The result's shape filled with one number."""
    return broadcast(call.scalar(number, call.element()), call.dims())
