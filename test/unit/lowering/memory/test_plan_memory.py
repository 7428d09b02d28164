"""Plans of random programs, judged by running them symbolically."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from xdsl.dialects.builtin import DenseArrayBase, ModuleOp, TensorType, f32, i64
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from stepwell.dialects.dims import evaluate, symbol
from stepwell.dialects.engine import SLOTS_ATTRIBUTE, AliasOp, LaunchOp
from stepwell.dialects.shapes import dims_of, tensor_type
from stepwell.errors import CompileError
from stepwell.lowering.memory.lifetimes import storages_of, times_of
from stepwell.lowering.memory.plan_memory import PlanMemoryPass, verify_no_overlap

SIZES = (4, 8, 8, 16)


def program(draw_op, steps):
    """A random chain of launches and views over earlier values."""
    block = Block(arg_types=[TensorType(f32, [8])])
    values = [block.args[0]]
    for _ in range(steps):
        kind, picks, size = draw_op(len(values))
        operands = [values[i] for i in picks]
        if kind == "view":
            source = operands[0]
            op = AliasOp(source, source.type)
        elif kind == "tie":
            op = LaunchOp("k", operands, [operands[0].type], ties=[(0, 0)])
        elif kind == "map":
            pair = [(0, 0)]
            op = LaunchOp("k", operands, [operands[0].type], in_place=pair)
        else:
            op = LaunchOp("k", operands, [TensorType(f32, [size])])
        block.add_op(op)
        values.append(op.results[0])
    block.add_op(ReturnOp(values[-1]))
    types = ([block.args[0].type], [values[-1].type])
    return ModuleOp([FuncOp("main", types, Region(block))])


def simulate(function):
    """Run symbolically: every buffer remembers which value was written last."""
    contents, where, owner = {}, {}, {}
    for op in function.body.block.ops:
        for operand in op.operands:
            place = where.get(operand)
            if place is not None:
                assert contents[place] == owner[operand], f"{operand} was overwritten"
        if isinstance(op, AliasOp):
            if op.source in where:
                where[op.output] = where[op.source]
                owner[op.output] = owner[op.source]
        elif not isinstance(op, ReturnOp):
            slots = list(op.slots.get_values())
            for result, slot in zip(op.results, slots, strict=True):
                place = slot if slot >= 0 else ("output",)
                where[result], owner[result] = place, result
                contents[place] = result


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_value_is_overwritten_before_its_last_use(data):
    def draw_op(count):
        kind = data.draw(
            st.sampled_from(["launch", "launch", "map", "map", "view", "tie"])
        )
        picks = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=3))
        return kind, picks, data.draw(st.sampled_from(SIZES))

    module = program(draw_op, data.draw(st.integers(1, 14)))
    PlanMemoryPass().apply(None, module)
    module.verify()
    (function,) = module.ops
    simulate(function)


def chain(length):
    return program(lambda count: ("launch", [count - 1], 8), length)


def test_a_chain_needs_two_slots():
    module = chain(20)
    PlanMemoryPass().apply(None, module)
    (function,) = module.ops
    assert len(function.attributes[SLOTS_ATTRIBUTE].data) == 2


def test_the_simulation_finds_a_wrong_plan():
    """Negative control of `simulate`."""
    module = chain(4)
    PlanMemoryPass().apply(None, module)
    (function,) = module.ops
    first, second, third, _ = [op for op in function.walk() if isinstance(op, LaunchOp)]
    third.operands = [*third.operands, first.results[0]]
    second.properties["slots"] = DenseArrayBase.from_list(i64, [0])
    first.properties["slots"] = DenseArrayBase.from_list(i64, [0])
    with pytest.raises(AssertionError, match="overwritten"):
        simulate(function)


def test_the_verifier_finds_a_wrong_plan():
    """Negative control of `verify_no_overlap`."""
    module = chain(4)
    (function,) = module.ops
    storages = storages_of(function, times_of(function))
    apart = {storage.root: index for index, storage in enumerate(storages)}
    verify_no_overlap(storages, apart)
    together = dict.fromkeys(apart, 0)
    with pytest.raises(CompileError, match="never alive together in slot 0"):
        verify_no_overlap(storages, together)


def test_slots_of_dynamic_size_hold_every_member():
    batch = symbol("batch")
    kinds = [tensor_type([d], f32) for d in (batch, 2 * batch, batch + 7, 5, batch)]
    block = Block(arg_types=[kinds[0]])
    value = block.args[0]
    for kind in [*kinds, kinds[0]]:
        op = LaunchOp("k", [value], [kind])
        block.add_op(op)
        value = op.results[0]
    block.add_op(ReturnOp(value))
    function = FuncOp("main", ([kinds[0]], [value.type]), Region(block))
    PlanMemoryPass().apply(None, ModuleOp([function]))
    sizes = function.attributes[SLOTS_ATTRIBUTE].data
    for op in function.body.block.ops:
        if isinstance(op, LaunchOp) and (slot := op.slots.get_values()[0]) >= 0:
            for actual in (1, 3, 100):
                have = evaluate(sizes[slot], {"batch": actual})
                (dim,) = dims_of(op.results[0])
                assert have >= 4 * evaluate(dim, {"batch": actual})
