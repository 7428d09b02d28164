"""The `stepwell` backend of `torch.compile`.

Dynamo hands over a graph at its first call; AOTAutograd makes it functional and
decomposes it into the importer's ops. The engines are built then, with the weights that
the call brings; a call that brings other weights builds them anew.
"""

from __future__ import annotations

import itertools
import logging
import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch._dynamo.backends.common import aot_autograd
from torch._guards import TracingContext
from torch.export import exported_program

from stepwell.errors import UnsupportedError

from .compiler import compile_program
from .options import Settings, settings_from
from .program import Program, SizeRange, ranges_of
from .reports import GraphReport

log = logging.getLogger("stepwell.torch")
MAX_REBUILDS = 3
"""A graph whose weights change more often is being trained: torch runs it."""

_graphs: weakref.WeakSet[CapturedGraph] = weakref.WeakSet()
_numbers = itertools.count()


def backend(
    module: torch.fx.GraphModule,
    example_inputs: Sequence[Any],
    options: Mapping[str, Any] | None = None,
    **extra: Any,
) -> Callable[..., Any]:
    """Compile one graph of Dynamo's for inference.

    Args:
        options: of `torch.compile(model, backend="stepwell", options={...})`; the same
            as those of `stepwell.torch.compile`.
    """
    from stepwell.frontends.torch import decomposition_table

    settings = settings_from({**(options or {}), **extra})
    split = exported_program._split_decomp_table_to_cia_and_python_decomp  # pyright: ignore[reportPrivateUsage]
    composite, table = split(decomposition_table())
    keep_whole = exported_program._override_composite_implicit_decomp  # pyright: ignore[reportPrivateUsage]
    with torch.no_grad(), keep_whole(composite):
        run = aot_autograd(
            fw_compiler=lambda graph, _: CapturedGraph(graph, settings),
            decompositions=table,
        )(module, example_inputs)
    return _inference_only(run)


class CapturedGraph:
    """A functional graph, compiled at its first call with the weights it brings.

    Args:
        module: the graph, whose placeholders are weights, sizes and tensors.
        settings: how to compile it.
    """

    _boxed_call = True  # AOTAutograd hands over a list, which is emptied

    def __init__(self, module: torch.fx.GraphModule, settings: Settings) -> None:
        self.module, self.settings = module, settings
        self.name = f"graph_{next(_numbers)}"
        self.number = int(self.name.removeprefix("graph_"))
        self.held = _held_inputs()
        self.marks: list[tuple[int, int]] = []
        self.compiled: torch.nn.Module | None = None
        self.builds = 0
        self.report = GraphReport(self.name)
        self.ranges = _ranges()
        _graphs.add(self)

    def __call__(self, args: list[Any]) -> Sequence[Any]:
        marks = [_mark(args[index]) for index in self.held]
        if self.compiled is None or marks != self.marks:
            self.compiled = self.compile(args)
            self.marks = marks
        if self.compiled is self.module:
            values = list(args)
        else:
            values = [args[index] for index in self.passed]
        args.clear()
        with torch.no_grad():
            return self.compiled(*values)

    @property
    def passed(self) -> list[int]:
        """The arguments that are not weights."""
        held = set(self.held)
        count = len(self.module.graph.find_nodes(op="placeholder"))
        return [index for index in range(count) if index not in held]

    def compile(self, args: Sequence[Any]) -> torch.nn.Module:
        """The module that calls engines, or the graph itself if it is being trained."""
        if self.builds > MAX_REBUILDS:
            if self.compiled is not self.module:
                log.warning("%s: its weights keep changing: torch runs it", self.name)
            return self.module
        if self.builds:
            log.warning("%s: its weights have changed: it is built anew", self.name)
        self.builds += 1
        nodes = self.module.graph.find_nodes(op="placeholder")
        weights = {nodes[index].name: args[index] for index in self.held}
        program = Program(self.module, weights, self.ranges)
        tensors = (arg for arg in args if isinstance(arg, torch.Tensor))
        device = next((tensor.device for tensor in tensors), torch.device("cpu"))
        settings = self.settings.for_device(device)
        compiled, self.report = compile_program(program, settings, self.name)
        return compiled

    def is_of(self, compiled: Any) -> bool:
        """Whether the graph was captured from a compiled module or function."""
        module = getattr(compiled, "_orig_mod", compiled)
        if isinstance(module, torch.nn.Module):
            tensors = [*module.parameters(), *module.buffers()]
            known = {tensor.data_ptr() for tensor in tensors}
            if any(pointer in known for pointer, _ in self.marks):
                return True
            module = type(module).forward
        code = getattr(getattr(module, "__wrapped__", module), "__code__", None)
        if code is None:
            return False
        resumed = r"(torch_dynamo_resume_in_)?"  # Dynamo's name behind a graph break
        frame = re.compile(
            rf'File "{re.escape(code.co_filename)}", line \d+, in '
            rf"{resumed}{re.escape(code.co_name)}(_at_\d+)?$",
            re.MULTILINE,
        )
        traces = (node.meta.get("stack_trace") for node in self.module.graph.nodes)
        return any(frame.search(trace) for trace in traces if trace)


def reports_of(compiled: Any = None) -> list[GraphReport]:
    """The reports of the graphs of a compiled module or function, or of all."""
    graphs = sorted(_graphs, key=lambda graph: graph.number)
    return [
        graph.report for graph in graphs if compiled is None or graph.is_of(compiled)
    ]


class _NoBackward(torch.autograd.Function):
    """Passes a result on, and tells whoever asks for its gradient."""

    @staticmethod
    def forward(ctx: Any, result: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise UnsupportedError(
            "expected no backward pass through a model compiled by Stepwell",
            notes=["engines are for inference and compute no gradients"],
            fix="call it under torch.no_grad(), or train with another backend",
        )


def _inference_only(run: Callable[..., Any]) -> Callable[..., Any]:
    """`run`, with results that refuse to be differentiated where torch would do it."""

    def call(*args: Any) -> Any:
        anchor = _anchor(args) if torch.is_grad_enabled() else None
        results = run(*args)
        if anchor is None:
            return results
        return type(results)(_guarded(result, anchor) for result in results)

    return torch._dynamo.disable(call, reason="the engines are called as they are")  # pyright: ignore[reportPrivateUsage]


def _guarded(result: Any, anchor: torch.Tensor) -> Any:
    if not isinstance(result, torch.Tensor) or result.requires_grad:
        return result
    if not (result.is_floating_point() or result.is_complex()):
        return result
    return _NoBackward.apply(result, anchor)


def _anchor(args: Sequence[Any]) -> torch.Tensor | None:
    """An argument that the user may want gradients of."""
    tensors = (arg for arg in args if isinstance(arg, torch.Tensor))
    return next((tensor for tensor in tensors if tensor.requires_grad), None)


def _held_inputs() -> list[int]:
    """The arguments of the graph being compiled that are weights: parameters and
    buffers that it does not change."""
    context = TracingContext.try_get()
    known = context.fw_metadata if context is not None else None
    if known is None:
        return []
    changed = set(known.mutated_inp_runtime_indices)
    return [index for index in known.static_input_indices if index not in changed]


def _ranges() -> Mapping[Any, SizeRange]:
    context = TracingContext.try_get()
    mode = context.fake_mode if context is not None else None
    environment = mode.shape_env if mode is not None else None
    return ranges_of(environment.var_to_range) if environment is not None else {}


def _mark(tensor: torch.Tensor) -> tuple[int, int]:
    """What changes when a tensor is replaced or written to."""
    version = 0 if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), version
