"""The pattern driver: sources are kept, dead ops go, endless patterns are an error."""

from __future__ import annotations

import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

from stepwell.dialects import nn
from stepwell.dialects.context import StepwellContext
from stepwell.dialects.provenance import location_names
from stepwell.dialects.registry import register_dialects
from stepwell.errors import CompileError
from stepwell.lowering.rewriting import Outcome, Rewriter, apply_patterns, pattern

TEXT = """
func.func @f(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = nn.neg %x : (tensor<4xf32>) -> tensor<4xf32> loc("a")
  %b = nn.exp %a : (tensor<4xf32>) -> tensor<4xf32> loc("b")
  %c = nn.abs %b : (tensor<4xf32>) -> tensor<4xf32> loc("c")
  func.return %c : tensor<4xf32>
}
"""


@pattern(nn.AbsOp)
def drop_abs_of_exp(op: nn.AbsOp, rewriter: Rewriter) -> Outcome:
    if not isinstance(op.operand.owner, nn.ExpOp):
        return "only of an exponential"
    rewriter.absorb_down_to(op.operand.owner.operands[0])
    inner = rewriter.emit(nn.SinOp(op.operand.owner.operands[0]))
    rewriter.replace_with(nn.CosOp(inner))
    return None


@pattern(nn.CosOp)
def cos_to_sin(op: nn.CosOp, rewriter: Rewriter) -> Outcome:
    rewriter.replace_with(nn.SinOp(op.operand))
    return None


@pattern(nn.SinOp)
def sin_to_cos(op: nn.SinOp, rewriter: Rewriter) -> Outcome:
    rewriter.replace_with(nn.CosOp(op.operand))
    return None


def parse(text: str) -> tuple[ModuleOp, StepwellContext]:
    context = StepwellContext()
    register_dialects(context)
    context.load_registered_dialect("builtin")
    return Parser(context, text).parse_module(), context


def test_all_new_ops_name_what_they_replace_and_dead_ones_go() -> None:
    module, context = parse(TEXT)
    assert apply_patterns(module, [drop_abs_of_exp], context)
    names = {op.name: location_names(op) for op in module.walk()}
    assert names["nn.sin"] == names["nn.cos"] == ("b", "c")
    assert "nn.exp" not in names and names["nn.neg"] == ("a",)
    assert not apply_patterns(module, [drop_abs_of_exp], context)


def test_a_declined_pattern_says_why_only_when_asked() -> None:
    module, context = parse(TEXT.replace("nn.exp", "nn.log"))
    assert not apply_patterns(module, [drop_abs_of_exp], context)
    heard: list[tuple[str, str, str]] = []
    context.explain = lambda op, name, reason: heard.append((op.name, name, reason))
    apply_patterns(module, [drop_abs_of_exp], context)
    assert heard == [("nn.abs", "drop-abs-of-exp", "only of an exponential")]


def test_patterns_that_undo_each_other_are_an_error() -> None:
    module, context = parse(TEXT.replace("nn.exp", "nn.sin"))
    with pytest.raises(CompileError, match="without end"):
        apply_patterns(module, [cos_to_sin, sin_to_cos], context)


def test_a_value_with_another_type_keeps_the_type_its_users_know() -> None:
    text = """
    func.func @f(%x: tensor<?xf32, #nn.dims<n>>) -> tensor<?xf32, #nn.dims<m>> {
      %a = nn.abs %x : (tensor<?xf32, #nn.dims<n>>) -> tensor<?xf32, #nn.dims<m>>
      func.return %a : tensor<?xf32, #nn.dims<m>>
    }"""

    @pattern(nn.AbsOp)
    def abs_to_relu(op: nn.AbsOp, rewriter: Rewriter) -> Outcome:
        rewriter.replace_with(nn.ReluOp(op.operand))
        return None

    module, context = parse(text)
    apply_patterns(module, [abs_to_relu], context)
    module.verify()
