"""What is legal at each level, and how a breach reads."""

from __future__ import annotations

import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.levels import LEVELS, verify_level, verify_provenance
from stepwell.dialects.registry import register_dialects
from stepwell.errors import CompileError, OptionError


def parse(body: str, arguments: str = "%x: tensor<4xf32>") -> ModuleOp:
    context = StepwellContext()
    register_dialects(context)
    text = f"func.func @main({arguments}) {{\n{body}\nfunc.return\n}}"
    return Parser(context, text).parse_module()


RELU = "%y = nn.relu %x : (tensor<4xf32>) -> tensor<4xf32>"


def test_the_levels_stand_in_the_order_of_the_staircase() -> None:
    assert list(LEVELS) == ["nn", "fusion", "generic", "tile", "engine"]


def test_an_unknown_level() -> None:
    with pytest.raises(OptionError, match=r"expected a level of nn, .*, got 'ptx'"):
        verify_level(parse(""), "ptx")


def test_graph_ops_are_legal_until_they_are_lowered() -> None:
    module = parse(f'{RELU} loc("relu1")')
    for level in ("nn", "fusion", "generic", "tile"):
        verify_level(module, level)
    with pytest.raises(
        CompileError, match=r"nn.relu is not legal at level engine"
    ) as error:
        verify_level(module, "engine")
    assert error.value.where == "relu1"
    assert error.value.notes == (
        "in func.func: expected engine, func.return, nn.constant",
    )


def test_scalars_stay_out_of_the_graph() -> None:
    module = parse('%c = arith.constant 1 : i32 loc("c")')
    for level in LEVELS:
        with pytest.raises(CompileError, match=r"arith.constant is not legal"):
            verify_level(module, level)


def test_regions_of_control_flow_hold_what_is_around_them() -> None:
    text = """
    "nn.if"(%c) ({
      %y = nn.relu %x : (tensor<4xf32>) -> tensor<4xf32> loc("then")
      nn.yield
    }, {
      %z = arith.constant 1 : i32
      nn.yield
    }) : (tensor<i1>) -> () loc("branch")
    """
    module = parse(text, "%c: tensor<i1>, %x: tensor<4xf32>")
    with pytest.raises(CompileError, match=r"arith.constant is not legal") as error:
        verify_level(module, "nn")
    assert error.value.where == "branch"


def test_quantized_types_end_above_the_loops() -> None:
    kind = "tensor<4x!quant.uniform<i8:f32, 0.5:0>>"
    module = parse(f'%y = nn.relu %x : ({kind}) -> {kind} loc("r")', f"%x: {kind}")
    verify_level(module, "fusion")
    with pytest.raises(CompileError, match="expected stored types at level generic"):
        verify_level(module, "generic")


def test_every_op_says_where_it_comes_from() -> None:
    verify_provenance(parse(f'{RELU} loc("relu1")'))
    constant = "%c = nn.constant {value = dense<1.0> : tensor<1xf32>} : tensor<1xf32>"
    verify_provenance(parse(constant))
    with pytest.raises(CompileError, match=r"expected nn.relu to say where it comes"):
        verify_provenance(parse(RELU))
    with pytest.raises(CompileError, match=r"expected nn.relu to say where it comes"):
        verify_level(parse(RELU), "nn")
