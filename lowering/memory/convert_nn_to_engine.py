"""Turn what no kernel took into steps of the host program.

Input invariant: kernels are launches; every other `nn` op stands outside them. Output:
only `engine` ops, `nn.constant`s and the function's own ops. Reshapes become views,
control flow becomes branches and loops of the engine, and the rest host calls, which
`stepwell inspect` counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import (
    DenseArrayBase,
    ModuleOp,
    StringAttr,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, Region
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects import engine, nn
from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.nn.base import OptionalOperandsOp
from stepwell.dialects.shapes import DimsAttr, dims_of, element_of

SEGMENTS = "operandSegmentSizes"
TAKES_SHAPE = frozenset(
    {
        "broadcast_to",
        "max_pool_indices",
        "multinomial",
        "random_normal",
        "random_uniform",
    }
)
"""Host functions that are told their result's shape; others find it out."""


class Converter:
    """Converts the ops of one function, innermost regions first."""

    def block(self, block: Block) -> None:
        """Convert every op of a block."""
        for op in list(block.ops):
            rule = RULES.get(type(op))
            if rule is not None:
                rule(self, op)
            elif isinstance(op, nn.NnOp) and not isinstance(op, nn.ConstantOp):
                self.host_call(op)

    def insert(self, new: Operation, old: Operation) -> Operation:
        """Insert `new` before `old`, from the same source."""
        new.location = old.location
        Rewriter.insert_op(new, InsertPoint.before(old))
        return new

    def replace(self, old: Operation, new: Operation) -> None:
        """Replace an op by one with as many results."""
        new.location = old.location
        for mine, theirs in zip(new.results, old.results, strict=True):
            mine.name_hint = theirs.name_hint
        Rewriter.replace_op(old, new)

    def host_call(self, op: Operation) -> None:
        """`nn.op %x {a}` -> `engine.host_call "op"(%x) {config = {a}}`."""
        config = dict(op.properties)
        sizes = config.pop(SEGMENTS, None)
        if isinstance(op, OptionalOperandsOp) and isinstance(sizes, DenseArrayBase):
            config["segments"] = sizes
        name = op.name.removeprefix("nn.")
        if op.results:
            config["dtype"] = StringAttr(str(numpy_dtype(element_of(op.results[0]))))
        if name in TAKES_SHAPE:
            config["shape"] = DimsAttr(dims_of(op.results[0]))
        new = engine.HostCallOp(name, op.operands, op.result_types, config)
        self.replace(op, new)

    def alias(self, op: Operation) -> None:
        """`nn.reshape %x`, `nn.bitcast %x` -> `engine.alias %x`."""
        self.replace(op, engine.AliasOp(op.operands[0], op.results[0].type))

    def bind_symbols(self, op: Operation) -> None:
        """`nn.bind_symbols %n` -> `engine.read_scalar %n`."""
        assert isinstance(op, nn.BindSymbolsOp)
        self.replace(op, engine.ReadScalarOp(op.operand, *op.value("symbols")))

    def assert_dims(self, op: Operation) -> None:
        """One `engine.assert` for each pair of dims."""
        assert isinstance(op, nn.AssertDimsOp)
        predicate, message = op.value("predicate"), op.value("message")
        pairs = zip(op.value("left"), op.value("right"), strict=True)
        for left, right in pairs:
            new = engine.AssertOp(str(left), predicate, str(right), message)
            self.insert(new, op)
        Rewriter.erase_op(op)

    def branch(self, op: Operation) -> None:
        """`nn.if` -> `engine.if`."""
        assert isinstance(op, nn.IfOp)
        regions = [self.region(region) for region in (op.then_region, op.else_region)]
        self.replace(op, engine.IfOp(op.condition, op.result_types, *regions))

    def loop(self, op: Operation) -> None:
        """`nn.loop` -> `engine.loop`."""
        assert isinstance(op, nn.LoopOp)
        body = self.region(op.body)
        new = engine.LoopOp(
            op.trip_count, op.condition, list(op.initial), op.result_types, body
        )
        self.replace(op, new)

    def region(self, region: Region) -> Region:
        """Convert a region, and move its block into a new one."""
        block = region.block
        self.block(block)
        region.detach_block(block)
        return Region(block)

    def yields(self, op: Operation) -> None:
        """`nn.yield` -> `engine.yield`."""
        self.replace(op, engine.YieldOp(*op.operands))


Rule = Callable[[Converter, Operation], None]

RULES: Mapping[type[Operation], Rule] = {
    nn.BitcastOp: Converter.alias,
    nn.ReshapeOp: Converter.alias,
    nn.BindSymbolsOp: Converter.bind_symbols,
    nn.AssertDimsOp: Converter.assert_dims,
    nn.IfOp: Converter.branch,
    nn.LoopOp: Converter.loop,
    nn.YieldOp: Converter.yields,
}
"""Everything that is not a host call of its own name."""


@dataclass(frozen=True)
class ConvertNnToEnginePass(ModulePass):
    """Convert the host program of a module."""

    name = "convert-nn-to-engine"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Convert every function in place."""
        converter = Converter()
        for function in [one for one in op.ops if isinstance(one, FuncOp)]:
            for block in function.body.blocks:
                converter.block(block)
