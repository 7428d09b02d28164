"""From a program to a graph module that calls engines, with torch for the rest."""

from __future__ import annotations

import logging
import operator
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any, TypeGuard

import torch

from stepwell.errors import (
    CompileError,
    ModelError,
    ShapeError,
    StepwellError,
    UnsupportedError,
)

from .engines import EngineModule
from .options import Settings
from .partition import Part, computes, is_call, is_size, partition
from .parts import ExtractedPart, extract, hold, outputs_of
from .program import Program
from .reports import EnginePart, GraphReport, TorchOp, op_name, source_line
from .sizes import Sizes, symbol_sources, symbols_of
from .views import share_views

Node = torch.fx.Node
log = logging.getLogger("stepwell.torch")

FAILURES = (CompileError, ModelError, ShapeError, UnsupportedError)
"""What may be wrong with a part of a graph; torch can run it all the same."""


def compile_program(
    program: Program, settings: Settings, name: str
) -> tuple[torch.fx.GraphModule, GraphReport]:
    """Compile a program, part by part.

    Returns:
        A module of the program's arguments and outputs, and what became of it.

    Raises:
        UnsupportedError: ops are left to torch, and `require_full_compilation` is set.
        StepwellError: a build failed, and `pass_through_build_failures` is set.
    """
    compiled = _Compiler(program, settings, name)
    module = compiled.run()
    log.info("%s", compiled.report)
    return module, compiled.report


class _Compiler:
    def __init__(self, program: Program, settings: Settings, name: str) -> None:
        self.program, self.views = share_views(program)
        self.settings, self.name = settings, name
        self.graph = self.program.module.graph
        self.report = GraphReport(name)
        self.refused: dict[Node, str] = {}
        self.built: dict[tuple[Node, ...], tuple[torch.nn.Module, ExtractedPart]] = {}
        self.seconds: dict[tuple[Node, ...], float] = {}
        self.known = symbol_sources(self.program.arguments).keys()

    def run(self) -> torch.fx.GraphModule:
        self.refused = refusals(self.program, self.settings)
        while True:
            smallest = self.settings.min_block_size
            parts = partition(self.graph, self.refused, smallest, self.views)
            self.require_full(parts)
            if all(self.build(part) for part in parts if part.is_engine):
                break
        self.fill_report(parts)
        return self.assemble(parts)

    def fill_report(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if not part.is_engine:
                ops = [node for node in part.nodes if computes(node)]
                self.report.torch_ops += map(self.left_to_torch, ops)
                continue
            module, _ = self.built[part.nodes]
            kernels = module.engine.kernel_count if _is_engine(module) else 0
            name = f"engine_{len(self.report.engines)}"
            seconds = self.seconds[part.nodes]
            ops = sum(map(computes, part.nodes))
            entry = EnginePart(name, ops, kernels, seconds)
            self.report.engines.append(entry)

    def require_full(self, parts: Sequence[Part]) -> None:
        rest = [node for part in parts if not part.is_engine for node in part.nodes]
        left = [node for node in rest if computes(node)]
        if left and self.settings.require_full_compilation:
            raise UnsupportedError(
                f"expected every op of {self.name} in an engine, "
                f"got {len(left)} that are left to torch",
                notes=[str(self.left_to_torch(node)) for node in left[:20]],
                fix="compile without require_full_compilation",
            )

    def left_to_torch(self, node: Node) -> TorchOp:
        """An op's entry in the report."""
        reason = self.refused.get(node)
        if reason is None:
            least = self.settings.min_block_size
            reason = f"fewer than min_block_size={least} ops stand together"
        return TorchOp(op_name(node.target), reason, source_line(node))

    def build(self, part: Part) -> bool:
        """Build the engine of a part; False if it cannot be, and is refused now."""
        if part.nodes in self.built:
            return True
        outputs = outputs_of(part, self.graph, self.known)
        name = f"{self.name}_{len(self.built)}"
        extracted = extract(part, self.program, outputs, name)
        start = perf_counter()
        try:
            module = self.engine(extracted)
        except FAILURES as error:
            if self.settings.pass_through_build_failures:
                raise
            self.refuse(part, error)
            return False
        self.seconds[part.nodes] = perf_counter() - start
        self.built[part.nodes] = module, extracted
        return True

    def engine(self, part: ExtractedPart) -> torch.nn.Module:
        from stepwell.builder import build

        if self.settings.dryrun:
            return part.module
        engine = build(
            part.module,
            shapes=self.profiles(part),
            target=self.settings.target or "cpu",
            precision=self.settings.precision,
            threads=self.settings.threads,
            keep_ir=self.settings.keep_ir,
        )
        return EngineModule(engine, part.orders)

    def profiles(self, part: ExtractedPart) -> dict[str, Any]:
        """The ranges of the sizes of a part's inputs, as `build` takes them."""
        from stepwell.dialects.shapes import DimRange

        profiles: dict[str, Any] = {}
        for symbol, (node, axis) in symbol_sources(part.inputs).items():
            known = self.program.ranges.get(symbol)
            if axis is not None and known is not None:
                rank = node.meta["val"].ndim
                profile = profiles.setdefault(node.name, [None] * rank)
                profile[axis] = DimRange(known.min, known.max, known.opt)
        return profiles

    def refuse(self, part: Part, error: StepwellError) -> None:
        """Leave to torch what an error is about: one node if it names one, else all."""
        blamed = [node for node in part.nodes if _is_about(error, node)]
        reason = f"{type(error).__name__}: {error.summary}"
        log.warning("%s: a part is left to torch\n%s", self.name, error)
        for node in blamed or part.nodes:
            self.refused[node] = reason

    def assemble(self, parts: Sequence[Part]) -> torch.fx.GraphModule:
        """The graph of calls of engines and of ops of torch."""
        graph, root = torch.fx.Graph(), torch.nn.Module()
        values: dict[Node, Any] = {}
        for node in self.program.arguments:
            values[node] = graph.node_copy(node)
        sizes = Sizes(graph, [values[node] for node in self.program.arguments])
        for guard in self.program.guards:
            sizes.require(guard)

        def value(node: Node) -> Any:
            if node not in values:
                values[node] = make(node)
            return values[node]

        def make(node: Node) -> Any:
            if node.op in ("get_attr", "placeholder"):
                return hold(graph, root, node, self.program)
            if is_size(node) and sizes.can_make(node.meta["val"]):
                return sizes.make(node.meta["val"])
            return graph.node_copy(node, value)

        engines = 0
        for part in parts:
            if part.is_engine:
                name = f"engine_{engines}"
                engines += 1
                module, extracted = self.built[part.nodes]
                root.add_module(name, module)
                inputs = tuple(map(value, extracted.inputs))
                result = graph.call_module(name, inputs)
                for index, node in enumerate(extracted.outputs):
                    item = graph.call_function(operator.getitem, (result, index))
                    item.meta = dict(node.meta)
                    values[node] = item
            else:
                for node in part.nodes:
                    value(node)
        output = self.graph.output_node()
        graph.output(torch.fx.map_arg(output.args[0], value))
        return torch.fx.GraphModule(root, graph)


def refusals(program: Program, settings: Settings) -> dict[Node, str]:
    """The calls that no engine can hold, each with why."""
    from stepwell.frontends.torch import unsupported
    from stepwell.frontends.torch.locations import source_line as place_of

    graph = program.module.graph
    owners = _owners(program.module)
    refused: dict[Node, str] = {}
    for issue in unsupported(program.module):
        node = issue.fx_node
        if node is not None:
            owner = owners.get(node.graph, node)
            reason = issue.what.removesuffix(f" at {place_of(node)}")
            refused.update(dict.fromkeys(_calls_about(owner), reason))
    for node in graph.nodes:
        if node.op == "call_function" and (reason := _user_reason(node, settings)):
            refused.setdefault(node, reason)
    if refused:
        for node in graph.nodes:
            if is_call(node) and _makes_symbols(node):
                reason = "a size known only at run time, in a graph that is split"
                refused.setdefault(node, reason)
    return refused


def _calls_about(node: Node) -> Iterator[Node]:
    """A call; those that read a number, however many numbers are in between."""
    if not is_size(node):
        yield node
        return
    for user in node.users:
        yield from _calls_about(user)


def _user_reason(node: Node, settings: Settings) -> str | None:
    """Why torch shall run an op that the compiler could take."""
    name = op_name(node.target)
    packet = name.rpartition(".")[0]
    if name in settings.torch_executed_ops or packet in settings.torch_executed_ops:
        return "torch_executed_ops names it"
    if packet in RANDOM:
        return "its random numbers come from torch's generator"
    return None


def _owners(module: torch.fx.GraphModule) -> dict[torch.fx.Graph, Node]:
    """For each graph of control flow, however deep, the top-level call it is in."""
    owners: dict[torch.fx.Graph, Node] = {}
    for node in module.graph.find_nodes(op="get_attr"):
        held = operator.attrgetter(str(node.target))(module)
        if isinstance(held, torch.fx.GraphModule):
            graphs = (m for m in held.modules() if isinstance(m, torch.fx.GraphModule))
            owner = next(iter(node.users))
            owners.update({inner.graph: owner for inner in graphs})
    return owners


def _makes_symbols(node: Node) -> bool:
    """Whether a result has a size that its operands do not have."""
    own = symbols_of(node)
    return bool(own) and not own <= set().union(*map(symbols_of, node.all_input_nodes))


def _is_about(error: StepwellError, node: Node) -> bool:
    where = error.where or ""
    return f"'{node.name}'" in where or f'"{node.name}"' in where


def _is_engine(module: torch.nn.Module) -> TypeGuard[EngineModule]:
    return isinstance(module, EngineModule)


RANDOM = frozenset(
    f"aten.{name}"
    for name in (
        "bernoulli",
        "exponential",
        "geometric",
        "log_normal",
        "cauchy",
        "multinomial",
        "native_dropout",
        "normal",
        "normal_functional",
        "poisson",
        "rand",
        "rand_like",
        "randint",
        "randint_like",
        "randn",
        "randn_like",
        "randperm",
        "uniform",
    )
)
"""Ops that draw numbers: torch draws them, so that `torch.manual_seed` holds."""
