"""The host program: the steps of its blocks."""

from __future__ import annotations

from collections.abc import Mapping

from xdsl.dialects.builtin import TensorType
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Block, Operation

from stepwell.dialects import engine
from stepwell.dialects.nn import ConstantOp
from stepwell.dialects.provenance import location_names
from stepwell.dialects.weights import WeightStore, decode_array
from stepwell.errors import CompileError
from stepwell.runtime.manifest import (
    Assert,
    Copy,
    HostCall,
    If,
    Launch,
    Loop,
    ReadScalar,
    Segment,
    Step,
)
from stepwell.runtime.manifest import Block as Steps

from .attributes import expr, plain
from .options import EngineOptions, LaunchSummary
from .values import Values
from .weights import WeightBlob


class ProgramWriter:
    """Writes the steps of ops; their values and weights are numbered on the way.

    Args:
        kernels: the numbers of kernels by name.
        store: holds the contents of constants.
        options: what is known of each launch.
    """

    def __init__(
        self,
        values: Values,
        kernels: Mapping[str, int],
        store: WeightStore,
        options: EngineOptions,
    ) -> None:
        self.values = values
        self.kernels = kernels
        self.store = store
        self.options = options
        self.weights = WeightBlob()

    def block(self, block: Block) -> Steps:
        """The steps of a block; runs of launches become segments."""
        steps: list[Step] = []
        launches: list[Launch] = []
        yields: tuple[int, ...] = ()
        for op in block.ops:
            if isinstance(op, engine.LaunchOp):
                launches.append(self.launch(op))
                continue
            if isinstance(op, engine.YieldOp):
                yields = self.values.all(op.values)
                continue
            step = self.step(op)
            if step is not None:
                steps += [Segment(tuple(launches))] if launches else []
                steps.append(step)
                launches = []
        steps += [Segment(tuple(launches))] if launches else []
        return Steps(tuple(steps), yields)

    def launch(self, op: engine.LaunchOp) -> Launch:
        """The launch of a kernel, with what is known of it."""
        values, tied = self.values, op.tied_operands
        for index, result in enumerate(op.outputs):
            if index in tied:
                source = values.number(op.inputs[tied[index]])
                if result not in values:
                    values.add(result, "alias", source)
            else:
                values.slotted(result)
        names = location_names(op)
        name = op.kernel.root_reference.data
        summary = self.options.summaries.get(names, LaunchSummary(name))
        symbols = () if op.symbols is None else tuple(s.data for s in op.symbols)
        return Launch(
            self.kernels[name],
            values.all((*op.inputs, *op.outputs)),
            symbols,
            summary.name,
            names,
            summary.ops,
            summary.flops,
            summary.nbytes,
            self.options.schedules.get(names, ""),
            summary.reasons,
        )

    def step(self, op: Operation) -> Step | None:
        """The step of an op; None if it is none at run time."""
        values = self.values
        match op:
            case ConstantOp():
                self.constant(op)
            case engine.AliasOp():
                if op.output not in values:
                    offset = 0 if op.offset is None else expr(op.offset.data)
                    values.add(op.output, "alias", values.number(op.source), offset)
            case engine.EmptyOp():
                values.slotted(op.output)
            case ReturnOp():
                pass
            case engine.CopyOp():
                values.slotted(op.output)
                return Copy(values.number(op.source), values.number(op.output))
            case engine.HostCallOp():
                config = {} if op.config is None else plain(op.config)
                inputs = values.all(op.inputs)
                return HostCall(op.callee.data, inputs, values.results(op), config)
            case engine.ReadScalarOp():
                symbols = tuple(symbol.data for symbol in op.symbols)
                return ReadScalar(values.number(op.source), symbols)
            case engine.AssertOp():
                lhs, rhs = expr(op.lhs.data), expr(op.rhs.data)
                return Assert(lhs, op.predicate.data, rhs, op.message.data)
            case engine.IfOp():
                condition = values.number(op.condition)
                then_block = self.block(op.then_region.block)
                else_block = self.block(op.else_region.block)
                return If(condition, then_block, else_block, values.results(op))
            case engine.LoopOp():
                return self.loop(op)
            case _:
                raise CompileError(
                    f"expected engine ops in the host program, got {op.name}",
                    where=", ".join(location_names(op)) or None,
                )
        return None

    def loop(self, op: engine.LoopOp) -> Loop:
        """A loop, and the steps of its body."""
        trips = None if op.trips is None else self.values.number(op.trips)
        condition = None if op.condition is None else self.values.number(op.condition)
        inits = self.values.all(op.inits)
        block = op.body.block
        arguments = tuple(self.values.add(argument, "host") for argument in block.args)
        body = self.block(block)
        return Loop(arguments, inits, body, self.values.results(op), trips, condition)

    def constant(self, op: ConstantOp) -> None:
        """Keep a constant's contents as a weight."""
        kind = op.result.type
        assert isinstance(kind, TensorType)
        array = decode_array(op.value_attr, kind, self.store)
        name = ", ".join(location_names(op)) or (op.result.name_hint or "")
        self.values.add(op.result, "weight", self.weights.add(array, name))
