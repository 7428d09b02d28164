"""Blocks, branches and loops."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import i64
from xdsl.ir import Attribute, Block, Operation, SSAValue

from stepwell.dialects import llvm

from .arithmetic import Arithmetic
from .attributes import number, segments
from .inserter import Value


@dataclass
class Loop:
    """A loop under construction: its counter, its carried values, their next values.

    `entry` is the branch that enters it.
    """

    index: SSAValue
    args: Sequence[SSAValue]
    results: Sequence[SSAValue]
    entry: Operation


class Control(Arithmetic):
    """What decides which block runs next."""

    def new_block(self, arg_types: Sequence[Attribute] = ()) -> Block:
        """A new block at the end of the function."""
        block = Block(arg_types=arg_types)
        self.region.add_block(block)
        return block

    def br(self, to: Block, *args: SSAValue) -> Operation:
        """Branch."""
        return self.insert(xllvm.BrOp, args, None, None, (to,))

    def cond_br(
        self,
        cond: SSAValue,
        then: Block,
        then_args: Sequence[SSAValue],
        other: Block,
        other_args: Sequence[SSAValue],
        unroll: int | None = None,
    ) -> Operation:
        """Branch on an `i1`; `unroll` is the hint of the loop it closes."""
        properties: dict[str, Attribute] = {
            "operandSegmentSizes": segments(1, len(then_args), len(other_args))
        }
        return self.insert(
            xllvm.CondBrOp,
            (cond, *then_args, *other_args),
            None,
            properties,
            (then, other),
            None if unroll is None else {llvm.UNROLL: number(unroll, i64)},
        )

    @contextmanager
    def loop(
        self,
        trip: Value,
        carried: Sequence[SSAValue] = (),
        unroll: int | None = None,
        *,
        at_least_once: bool | None = None,
    ) -> Generator[Loop]:
        """A counted loop, tested at its end.

        ```python
        with b.loop(n, [zero]) as loop:
            loop.results = [b.binary("fadd", loop.args[0], x(loop.index))]
        total = loop.results[0]
        ```
        """
        if at_least_once is None:
            at_least_once = isinstance(trip, int) and trip > 0
        types = [v.type for v in carried]
        body = self.new_block([self.index_type, *types])
        zero = self.constant(0, self.index_type)
        done: Block | None = None
        if at_least_once:
            entry = self.br(body, zero, *carried)
        else:
            done = Block(arg_types=types)
            some = self.compare("sgt", trip, 0)
            entry = self.cond_br(some, body, (zero, *carried), done, carried)
        self.block = body
        state = Loop(body.args[0], list(body.args[1:]), [], entry)
        yield state
        if len(state.results) != len(carried):
            raise ValueError(
                f"expected {len(carried)} loop results, got {len(state.results)}"
            )
        step = self.binary("add", state.index, self.constant(1, self.index_type))
        more = self.compare("slt", step, trip)
        if done is None:
            # The body's own values are visible below it: no block arguments needed.
            done = self.new_block()
            self.cond_br(more, body, (step, *state.results), done, (), unroll)
        else:
            self.region.add_block(done)
            self.cond_br(
                more, body, (step, *state.results), done, state.results, unroll
            )
            state.results = list(done.args)
        self.block = done

    @contextmanager
    def when(self, cond: SSAValue) -> Generator[None]:
        """Ops that run only where `cond` holds."""
        then, done = self.new_block(), Block()
        self.cond_br(cond, then, (), done, ())
        self.block = then
        yield
        self.br(done)
        self.region.add_block(done)
        self.block = done

    def ret(self, value: SSAValue | None = None) -> None:
        """Return."""
        self.insert(xllvm.ReturnOp, () if value is None else (value,))
