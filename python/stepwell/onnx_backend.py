"""Stepwell as a backend of ONNX: `prepare`, `run_model`, `run_node`, `supports_device`.

    import onnx.backend.test
    import stepwell.onnx_backend

    tests = onnx.backend.test.BackendTest(stepwell.onnx_backend.StepwellBackend)

An input that decides a shape or an axis (`Reshape`'s second, say) is fixed to the value
of the first run; another value compiles the model again. The values so far are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import onnx
import onnx.backend.base
import onnx.helper
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.registry import register_dialects
from stepwell.errors import InputError, OptionError
from stepwell.frontends.onnx import check_model, fix_inputs, import_model, shape_inputs
from stepwell.frontends.onnx.sequences import has_sequences, take_apart

Array = np.ndarray[Any, Any]
Runner = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""Runs one compiled model: arrays by input name to arrays by output name."""


def compile_engine(model: onnx.ModelProto) -> Runner:
    """Compile for this machine's CPU."""
    import stepwell

    return stepwell.build(model, target="cpu").run


def compile_reference(model: onnx.ModelProto) -> Runner:
    """Import only: the reference interpreter runs the `nn` ops."""
    from stepwell.dialects.semantics import interpret

    context = StepwellContext()
    register_dialects(context)
    module = import_model(model, context)

    names = result_names(module)

    def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        results = interpret(module, inputs, context.weights)
        return dict(zip(names, results, strict=True))

    return run


def result_names(module: ModuleOp) -> list[str]:
    """The `nn.name` of each result of `@main`."""
    (function,) = (op for op in module.ops if isinstance(op, FuncOp))
    entries = cast(ArrayAttr[DictionaryAttr], function.res_attrs)
    return [cast(StringAttr, entry.data["nn.name"]).data for entry in entries]


EXECUTORS = {"engine": compile_engine, "reference": compile_reference}


class StepwellRep(onnx.backend.base.BackendRep):
    """A model ready to run."""

    def __init__(self, model: onnx.ModelProto, executor: str) -> None:
        self._model = model
        self._compile = EXECUTORS[executor]
        constants = {tensor.name for tensor in model.graph.initializer}
        self._names = [
            entry.name for entry in model.graph.input if entry.name not in constants
        ]
        self._outputs = [entry.name for entry in model.graph.output]
        self._compiled: dict[bytes, Runner] = {}
        self._fixed: list[str] | None = None
        if not has_sequences(model):
            self._fixed = sorted(shape_inputs(model).intersection(self._names))
        if self._fixed == []:
            self._compiled[b""] = self._compile(model)

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs for `inputs`: one array, a list in order, or a dict by name.

        Raises:
            InputError: there are too many or too few inputs.
        """
        by_name = self._by_name(inputs)
        model, fixed = self._model, self._fixed
        if fixed is None:
            model, by_name = take_apart(model, by_name)
            fixed = sorted(shape_inputs(model).intersection(by_name))
        values = {name: by_name.pop(name) for name in fixed}
        key = b"".join(
            repr((array.shape, array.dtype.str)).encode() + array.tobytes()
            for array in values.values()
        )
        if self._fixed is None:
            key += repr([(n, a.shape, a.dtype) for n, a in by_name.items()]).encode()
        if key not in self._compiled:
            self._compiled[key] = self._compile(fix_inputs(model, values))
        results = self._compiled[key](by_name)
        return tuple(
            results[name] if name in results else elements_of(results, name)
            for name in self._outputs
        )

    def _by_name(self, inputs: Any) -> dict[str, Any]:
        if isinstance(inputs, Mapping):
            return {name: inputs[name] for name in self._names}
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        if len(inputs) != len(self._names):
            raise InputError(
                f"expected {len(self._names)} inputs ({', '.join(self._names)}), got "
                f"{len(inputs)}"
            )
        return dict(zip(self._names, map(as_input, inputs), strict=True))


def as_input(value: Any) -> Any:
    """An array, or a list of arrays for a sequence, or None for no value."""
    if value is None or isinstance(value, list | tuple):
        return value
    return np.asarray(value)


def elements_of(results: Mapping[str, Array], name: str) -> list[Array]:
    """The elements of the sequence `name`: the results `name/0`, `name/1`, ..."""
    count = sum(key.rpartition("/")[0] == name for key in results)
    return [results[f"{name}/{index}"] for index in range(count)]


class StepwellBackend(onnx.backend.base.Backend):
    """The backend; `executor` chooses the engine or the reference interpreter."""

    executor = "engine"

    @classmethod
    def is_compatible(
        cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any
    ) -> bool:
        """Whether everything in the model is supported."""
        return cls.supports_device(device) and check_model(model).is_supported

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether `device` (`CPU`, `CUDA:0`) can run models."""
        return device.partition(":")[0] == "CPU"

    @classmethod
    def prepare(
        cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any
    ) -> StepwellRep:
        """Compile a model.

        Raises:
            OptionError: there is no such device.
            UnsupportedError: lists what of the model is not supported.
        """
        if not cls.supports_device(device):
            raise OptionError(f"expected device CPU, got {device!r}")
        return StepwellRep(model, cls.executor)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Run one node on arrays, in the order of its inputs."""
        given = dict(
            zip(filter(None, node.input), map(np.asarray, inputs), strict=True)
        )
        graph = onnx.helper.make_graph(
            [node],
            node.op_type,
            [_entry(name, array) for name, array in given.items()],
            [onnx.ValueInfoProto(name=name) for name in node.output if name],
        )
        for entry, info in zip(graph.output, outputs_info or (), strict=False):
            number = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(info[0]))
            described = onnx.helper.make_tensor_value_info(entry.name, number, info[1])
            entry.CopyFrom(described)
        version = kwargs.get("opset_version", onnx.defs.onnx_opset_version())
        opset = onnx.helper.make_opsetid(node.domain, version)
        model = onnx.helper.make_model(graph, opset_imports=[opset])
        return cls.prepare(model, device).run(given)


class ReferenceBackend(StepwellBackend):
    """The reference interpreter, which runs imported ops one by one on NumPy."""

    executor = "reference"


def _entry(name: str, array: Array) -> onnx.ValueInfoProto:
    number = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return onnx.helper.make_tensor_value_info(name, number, array.shape)


is_compatible = StepwellBackend.is_compatible
prepare = StepwellBackend.prepare
run_model = StepwellBackend.run_model
run_node = StepwellBackend.run_node
supports_device = StepwellBackend.supports_device
