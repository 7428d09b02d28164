"""`compile`: from a module to one that runs in engines, ahead of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from stepwell.errors import ModelError, OptionError

from .compiler import compile_program
from .dynamo import reports_of
from .inputs import Input, prepare
from .module import CompiledModule, parameter_names
from .options import Settings, settings_from
from .program import SizeRange, program_of
from .reports import Report

_DYNAMO = ("default", "dynamo")


def compile(
    module: torch.nn.Module | ExportedProgram,
    ir: str = "default",
    inputs: Sequence[Any] | None = None,
    arg_inputs: Sequence[Any] | None = None,
    kwarg_inputs: Mapping[str, Any] | None = None,
    enabled_precisions: Any = None,
    **options: Any,
) -> Any:
    """Compile a module for inference, as `torch_tensorrt.compile` does.

    Args:
        module: a module, or what `torch.export.export` made of it.
        ir: "default" or "dynamo"; "torch_compile" is `torch.compile` with this backend.
        inputs: for each positional argument an `Input`, an example tensor, or a
            structure of them; other values are constants.
        arg_inputs: the same under another name.
        kwarg_inputs: the same for keyword arguments.
        enabled_precisions: dtypes that kernels may compute in, besides float32.
        options: see `Settings`, `NO_EFFECT` and `REFUSED` in `stepwell.torch.options`.

    Returns:
        A `CompiledModule`: called as the module is, and returns what it returns.

    Raises:
        OptionError: options that are unknown or cannot be granted.
        ModelError: torch cannot export the module.
        UnsupportedError: ops are left to torch and `require_full_compilation` is set.
    """
    if enabled_precisions is not None:
        options["enabled_precisions"] = enabled_precisions
    settings = settings_from(options)
    if ir == "torch_compile":
        return torch.compile(module, backend="stepwell", options=options)
    if ir not in _DYNAMO:
        raise OptionError(
            f"expected ir of 'default', 'dynamo' or 'torch_compile', got {ir!r}",
            notes=["TorchScript has no exported program"],
        )
    if inputs is not None and arg_inputs is not None:
        raise OptionError("expected inputs or arg_inputs, got both")
    if isinstance(module, ExportedProgram):
        return _compile_exported(module, settings, (), "module")
    args = inputs if inputs is not None else arg_inputs
    if args is None and kwarg_inputs is None:
        raise OptionError(
            "expected inputs to trace the module with, got none",
            fix="inputs=[stepwell.torch.Input((1, 3, 224, 224))]",
        )
    args = [args] if isinstance(args, torch.Tensor | Input) else list(args or ())
    kwargs = dict(kwarg_inputs or {})
    exported = _export(module, args, kwargs)
    specs = pytree.tree_leaves((tuple(args), kwargs))
    names, title = parameter_names(module), type(module).__name__
    return _compile_exported(exported, settings, names, title, specs)


def report(compiled: Any = None) -> Report:
    """What became of the ops of a compiled module.

    Args:
        compiled: what `compile` or `torch.compile` returned; None is every graph that
            `torch.compile` gave to this backend.
    """
    if isinstance(compiled, CompiledModule):
        return compiled.report
    return Report(reports_of(compiled))


def _export(
    module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> ExportedProgram:
    from stepwell.frontends.torch import export_module

    device = _device_of(module)
    examples, named, shapes = prepare(args, kwargs, device)
    return export_module(module, examples, named, shapes if len(shapes) else None)


def _compile_exported(
    exported: ExportedProgram,
    settings: Settings,
    names: tuple[str, ...],
    title: str,
    specs: Sequence[Any] = (),
) -> CompiledModule:
    from stepwell.frontends.torch import decompose, fake_inputs

    in_spec, out_spec = exported.call_spec.in_spec, exported.call_spec.out_spec
    if in_spec is None or out_spec is None:
        raise ModelError("expected an exported program with its call, got none")
    exported = decompose(exported)
    program, signature = program_of(exported)
    fakes = fake_inputs(exported)
    ranges = {**program.ranges, **_given_ranges(fakes, specs)}
    program = replace(program, ranges=ranges)
    values = [*program.weights.values(), *fakes]
    tensors = (value for value in values if isinstance(value, torch.Tensor))
    device = next((tensor.device for tensor in tensors), torch.device("cpu"))
    state: dict[str, Any] = {**exported.state_dict, **exported.constants}
    state = {name: state[name] for name in signature.arguments if name in state}
    graph, graph_report = compile_program(program, settings.for_device(device), title)
    return CompiledModule(
        graph,
        signature,
        (in_spec, out_spec),
        names,
        state,
        graph_report,
    )


def _given_ranges(fakes: Sequence[Any], specs: Sequence[Any]) -> dict[Any, SizeRange]:
    """The ranges that the user gave, by symbol; torch itself begins ranges at 2."""
    ranges: dict[Any, SizeRange] = {}
    for fake, spec in zip(fakes, specs, strict=False):
        if not isinstance(spec, Input) or not isinstance(fake, torch.Tensor):
            continue
        limits = zip(spec.min_shape, spec.max_shape, spec.opt_shape, strict=True)
        for size, limit in zip(fake.shape, limits, strict=True):
            if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol:
                ranges[size.node.expr] = SizeRange(*limit)
    return ranges


def _device_of(module: torch.nn.Module) -> torch.device:
    tensors = [*module.parameters(), *module.buffers()]
    return tensors[0].device if tensors else torch.device("cpu")
