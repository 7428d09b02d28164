"""Scalar bodies on vector pieces: what each `arith` and `math` op becomes.

One row of `RULES` per op. Integer division never traps: a zero divisor counts as 1,
as in the reference interpreter, and `INT_MIN / -1` wraps. Shifts by the width or more
give 0 or the sign. Floats may contract `a * b + c`, and nothing else: NaN, infinities
and signed zeros are those of IEEE 754.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import FloatAttr, IntegerAttr
from xdsl.ir import Block, Operation, SSAValue

from stepwell.codegen.llvm_types import lanes_of, vector
from stepwell.codegen.math import MATH_FUNCTIONS

from .casts import CASTS
from .elements import carrier_type, is_rounded, round_to_element
from .floats import FLOATS
from .integers import INTEGERS
from .rules import Context, Rule, no_rule, through_f32


class Scalars(Context):
    """Translates bodies op by op."""

    def run(
        self,
        block: Block,
        args: Sequence[SSAValue],
        lanes: int,
        outer: Callable[[SSAValue], SSAValue],
    ) -> list[SSAValue]:
        """The operands of the body's terminator, for one piece.

        Args:
            block: the body.
            args: the pieces of the block's arguments, of `lanes` lanes or one.
            lanes: the lanes of the results.
            outer: the scalar value of an SSA value defined outside the body.
        """
        values: dict[SSAValue, SSAValue] = dict(zip(block.args, args, strict=True))

        def value_of(value: SSAValue) -> SSAValue:
            known = values.get(value)
            if known is None:
                known = values[value] = outer(value)
            return known

        last = block.last_op
        assert last is not None
        for op in block.ops:
            if op is last:
                break
            if isinstance(op, arith.ConstantOp):
                values[op.results[0]] = self.apply(op, (), 1)
                continue
            # What depends on no lane is computed once, as a scalar.
            operands = [value_of(v) for v in op.operands]
            wide = max((lanes_of(v.type) for v in operands), default=1)
            operands = [self._widened(v, wide) for v in operands]
            values[op.results[0]] = self.apply(op, operands, wide)
        return [self._widened(value_of(v), lanes) for v in last.operands]

    def _widened(self, value: SSAValue, lanes: int) -> SSAValue:
        return value if lanes_of(value.type) == lanes else self.b.splat(value, lanes)

    def apply(
        self, op: Operation, operands: Sequence[SSAValue], lanes: int
    ) -> SSAValue:
        """One op on pieces.

        Raises:
            CompileError: the op has no rule.
        """
        element = op.results[0].type
        if isinstance(op, arith.ConstantOp):
            attr = op.value
            if not isinstance(attr, FloatAttr | IntegerAttr):
                raise no_rule(op)
            carrier = carrier_type(element, self.carriers)
            return self.b.constant(attr.value.data, vector(carrier, lanes))
        rule = self.rules.get(type(op))
        if rule is None and op.name in MATH_FUNCTIONS:
            rule = _FUNCTION
        if rule is None:
            raise no_rule(op)
        result = rule(self, op, operands)
        if is_rounded(element, self.carriers):
            return round_to_element(self.b, result, element)
        return result

    @property
    def rules(self) -> Mapping[type[Operation], Rule]:
        """The rule of each op."""
        return RULES


def _of_library(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    return s.function(op.name, operands)


_FUNCTION = through_f32(_of_library)


def _select(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    return s.b.select(*operands)


RULES: Mapping[type[Operation], Rule] = {
    **FLOATS,
    **INTEGERS,
    **CASTS,
    arith.SelectOp: _select,
}
