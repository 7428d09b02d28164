"""TF-TRT's way of converting a SavedModel, on Stepwell.

Code written for `tensorflow.python.compiler.tensorrt.trt_convert` runs with the import
changed:

    from stepwell import tensorflow as trt

    converter = trt.TrtGraphConverterV2(input_saved_model_dir="model")
    converter.convert()
    converter.build(input_fn)
    converter.save("converted")
    infer = trt.load("converted").signatures["serving_default"]
    results = infer(x)

What is saved loads without TensorFlow, too; results are then NumPy arrays.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

import stepwell
from stepwell.errors import (
    EngineFileError,
    InputError,
    MissingExtraError,
    OptionError,
)
from stepwell.runtime import Engine

if TYPE_CHECKING:
    from stepwell.dialects.shapes import DimRange
    from stepwell.frontends.tensorflow.graph import LoadedGraph

__all__ = [
    "DEFAULT_TRT_CONVERSION_PARAMS",
    "ConvertedFunction",
    "ConvertedModel",
    "TrtConversionParams",
    "TrtConverter",
    "TrtGraphConverterV2",
    "TrtPrecisionMode",
    "load",
]

SIGNATURE = "serving_default"
ENGINE_FILE = "model.stepwell"
SIGNATURES_FILE = "signatures.json"
FORMAT = "stepwell-tensorflow"
SCHEMA = 1


class TrtPrecisionMode:
    """The names of precisions."""

    FP32 = "FP32"
    FP16 = "FP16"
    INT8 = "INT8"

    @staticmethod
    def supported_precision_modes() -> list[str]:
        """All of them, in both cases of letters."""
        modes = [TrtPrecisionMode.FP32, TrtPrecisionMode.FP16, TrtPrecisionMode.INT8]
        return [*modes, *(mode.lower() for mode in modes)]


class TrtConversionParams(NamedTuple):
    """TF-TRT's parameters; only the precision changes what Stepwell builds.

    There are no engines per shape and no segments left to TensorFlow, so that sizes of
    workspaces, segments and caches have nothing to limit.
    """

    max_workspace_size_bytes: int = 1 << 30
    precision_mode: str = TrtPrecisionMode.FP32
    minimum_segment_size: int = 3
    maximum_cached_engines: int = 1
    use_calibration: bool = True
    allow_build_at_runtime: bool = True
    rewriter_config_template: Any = None


DEFAULT_TRT_CONVERSION_PARAMS = TrtConversionParams()

Inputs: TypeAlias = Sequence[Any] | Mapping[str, Any]
InputFunction: TypeAlias = Callable[[], Iterable[Inputs]]
"""Yields one set of inputs after another: tuples, lists, or dicts by name."""


STRATEGIES = ("Range", "Optimal", "Range+Optimal", "ImplicitBatchModeCompatible")
"""TF-TRT's ways to make profiles of the sizes that `build` sees."""


class ConvertedFunction:
    """One signature of a model as an engine; called like a signature of TensorFlow.

    Args:
        engine: computes it.
        name: the signature's key.
    """

    def __init__(self, engine: Engine, name: str = SIGNATURE) -> None:
        self.engine = engine
        self.name = name

    def __call__(self, *inputs: Any, **named: Any) -> dict[str, Any]:
        """Run on inputs by position or by name.

        Returns:
            The outputs by name: `tf.Tensor`s where TensorFlow is loaded, else arrays.

        Raises:
            InputError: inputs that do not fit.
        """
        names = [spec.name for spec in self.engine.inputs]
        if len(inputs) > len(names):
            raise InputError(f"expected {len(names)} inputs, got {len(inputs)}")
        given = dict(zip(names, inputs, strict=False)) | named
        if unknown := sorted({*given} - {*names}):
            raise InputError(
                f"expected inputs {', '.join(names)}, got {', '.join(unknown)}"
            )
        arrays = {name: np.asarray(value) for name, value in given.items()}
        results = self.engine.run(arrays)
        return {name: _as_tensor(array) for name, array in results.items()}

    @property
    def structured_outputs(self) -> dict[str, Any]:
        """What is known of each output, by name."""
        return {spec.name: spec for spec in self.engine.outputs}

    @property
    def structured_input_signature(self) -> tuple[tuple[()], dict[str, Any]]:
        """What is known of each input, by name, as keyword arguments."""
        return (), {spec.name: spec for spec in self.engine.inputs}


class ConvertedModel:
    """What `load` returns: the signatures of a converted model."""

    def __init__(self, signatures: Mapping[str, ConvertedFunction]) -> None:
        self.signatures = dict(signatures)

    def __call__(self, *inputs: Any, **named: Any) -> dict[str, Any]:
        """The default signature, or the only one."""
        default = self.signatures.get(SIGNATURE)
        return (default or next(iter(self.signatures.values())))(*inputs, **named)


class TrtConverter:
    """Converts one signature of a SavedModel to an engine.

    Args:
        input_saved_model_dir: the SavedModel.
        input_saved_model_tags: the tags of its graph; "serve" by default.
        input_saved_model_signature_key: the signature; "serving_default" by default.
        use_dynamic_shape: open dims stay open either way.
        dynamic_shape_profile_strategy: one of `STRATEGIES`, in letters of either case;
            the engine has one range for all sizes, and is tuned by `build`.
        conversion_params: a `TrtConversionParams`, of TF-TRT or of this module.
        target: as `stepwell.build` takes it.
        threads: as `stepwell.build` takes it.
        params: the fields of `TrtConversionParams`, before those of
            `conversion_params`.

    Raises:
        OptionError: a parameter is not valid, or asks for INT8.
    """

    def __init__(
        self,
        input_saved_model_dir: str | os.PathLike[str] | None = None,
        input_saved_model_tags: Sequence[str] | None = None,
        input_saved_model_signature_key: str | None = None,
        use_dynamic_shape: bool | None = None,
        dynamic_shape_profile_strategy: str | None = None,
        *,
        conversion_params: TrtConversionParams | None = None,
        target: str = "cpu",
        threads: int | None = None,
        **params: Any,
    ) -> None:
        del use_dynamic_shape
        if input_saved_model_dir is None:
            raise OptionError("expected input_saved_model_dir, got none")
        if unknown := {*params} - {*TrtConversionParams._fields}:
            raise OptionError(f"unknown parameters: {', '.join(sorted(unknown))}")
        strategy = dynamic_shape_profile_strategy
        if strategy and strategy.lower() not in map(str.lower, STRATEGIES):
            raise OptionError(
                f"expected a strategy of {', '.join(STRATEGIES)}, got {strategy!r}"
            )
        given = conversion_params or DEFAULT_TRT_CONVERSION_PARAMS
        self.directory = Path(input_saved_model_dir)
        self.tags = tuple(input_saved_model_tags or ("serve",))
        self.signature = input_saved_model_signature_key or SIGNATURE
        self.precision = _precision(params.get("precision_mode", given.precision_mode))
        self.target = target
        self.threads = threads
        self._loaded: LoadedGraph | None = None
        self._function: ConvertedFunction | None = None

    def convert(
        self, calibration_input_fn: InputFunction | None = None
    ) -> ConvertedFunction:
        """Compile the signature for all sizes of its open dims.

        Raises:
            ModelError: the SavedModel is damaged.
            UnsupportedError: lists everything in it that is not supported.
            MissingExtraError: TensorFlow is not installed.
            OptionError: there is a function for calibration, which only INT8 needs.
        """
        if calibration_input_fn is not None:
            raise OptionError(
                f"expected no calibration_input_fn: {self.precision.upper()} needs no "
                "calibration"
            )
        self._function = self._compiled({})
        return self._function

    def build(self, input_fn: InputFunction) -> None:
        """Tune the engine for the sizes of given inputs, and run it once on each.

        Every other size still runs; TF-TRT would build another engine for it.

        Raises:
            OptionError: `convert` was not called.
            InputError: inputs that do not fit.
        """
        self._converted("build")
        inputs = [_by_name(each, self._names()) for each in input_fn()]
        if not inputs:
            raise InputError("expected input_fn to yield inputs, got none")
        self._function = self._compiled(self._profile(inputs[-1]))
        for each in inputs:
            self._function(**each)

    def save(
        self,
        output_saved_model_dir: str | os.PathLike[str],
        save_gpu_specific_engines: bool = True,
        **_: Any,
    ) -> None:
        """Write the engine and its signature to a directory, which `load` reads.

        Raises:
            OptionError: `convert` was not called.
            EngineFileError: the directory cannot be written.
        """
        del save_gpu_specific_engines
        function = self._converted("save")
        directory = Path(output_saved_model_dir)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            function.engine.save(directory / ENGINE_FILE)
            record = {
                "format": FORMAT,
                "schema": SCHEMA,
                "signatures": {function.name: ENGINE_FILE},
            }
            (directory / SIGNATURES_FILE).write_text(json.dumps(record, indent=1))
        except OSError as error:
            raise EngineFileError(f"cannot write {directory}: {error}") from None

    def summary(
        self,
        line_length: int = 160,
        detailed: bool = True,
        print_fn: Callable[[str], Any] | None = None,
    ) -> None:
        """Print the kernels of the engine, or with `detailed` false how many.

        Raises:
            OptionError: `convert` was not called.
        """
        function = self._converted("summary")
        lines = str(function.engine.inspect()).splitlines()
        for line in lines if detailed else lines[:1]:
            (print_fn or print)(line[:line_length])

    def _compiled(self, shapes: Mapping[str, Any]) -> ConvertedFunction:
        engine = stepwell.build(
            self._load(),
            target=self.target,
            precision=self.precision,
            shapes=shapes,
            threads=self.threads,
        )
        return ConvertedFunction(engine, self.signature)

    def _load(self) -> LoadedGraph:
        if self._loaded is None:
            try:
                import_module("tensorflow")
            except ImportError:
                raise MissingExtraError(
                    "converting a SavedModel needs tensorflow, which is not installed",
                    fix="pip install 'stepwell[tensorflow]'",
                ) from None
            from stepwell.frontends.tensorflow import load as load_source

            self._loaded = load_source(
                self.directory, signature=self.signature, tags=self.tags
            )
        return self._loaded

    def _converted(self, wanted: str) -> ConvertedFunction:
        if self._function is None:
            raise OptionError(
                f"expected convert() before {wanted}()", fix="call convert() first"
            )
        return self._function

    def _names(self) -> list[str]:
        return [each.name for each in self._load().inputs]

    def _profile(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Each open dim with the size that the engine is tuned for."""
        from stepwell.dialects.shapes import DimRange

        profile: dict[str, list[int | DimRange]] = {}
        for each in self._load().inputs:
            sizes = np.shape(inputs[each.name])
            declared = each.shape or [None] * len(sizes)
            if len(declared) != len(sizes):
                raise InputError(
                    f"expected {len(declared)} dims of input {each.name!r}, "
                    f"got {len(sizes)}"
                )
            profile[each.name] = [
                dim if isinstance(dim, int) else DimRange(1, None, size)
                for dim, size in zip(declared, sizes, strict=True)
            ]
        return profile


TrtGraphConverterV2 = TrtConverter


def load(
    directory: str | os.PathLike[str],
    threads: int | None = None,
    device: str | None = None,
) -> ConvertedModel:
    """Load what `TrtConverter.save` wrote.

    Args:
        directory: holds the engine and its signature.
        threads: as `stepwell.load` takes it.
        device: as `stepwell.load` takes it.

    Raises:
        EngineFileError: the directory holds no converted model.
    """
    path = Path(directory)
    try:
        record = json.loads((path / SIGNATURES_FILE).read_text())
    except (OSError, ValueError) as error:
        raise EngineFileError(
            f"{path}: expected a converted model", notes=[str(error)]
        ) from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise EngineFileError(f"{path}: expected a converted model")
    if record.get("schema") != SCHEMA:
        raise EngineFileError(
            f"{path}: expected schema {SCHEMA}, got {record.get('schema')}"
        )
    signatures: dict[str, ConvertedFunction] = {}
    for name, file in record["signatures"].items():
        if Path(file).name != file:
            raise EngineFileError(f"{path}: expected a file's name, got {file!r}")
        engine = stepwell.load(path / file, threads=threads, device=device)
        signatures[name] = ConvertedFunction(engine, name)
    return ConvertedModel(signatures)


def _precision(mode: str) -> str:
    """Stepwell's name of a precision.

    Raises:
        OptionError: there is none of that name, or it is INT8.
    """
    if mode not in TrtPrecisionMode.supported_precision_modes():
        raise OptionError(f"expected a precision of FP32 or FP16, got {mode!r}")
    if mode.upper() == TrtPrecisionMode.INT8:
        raise OptionError(
            "expected a precision of FP32 or FP16, got INT8: products of integers are "
            "computed in f32, so that it would cost accuracy and gain no time",
            notes=[
                "a model that was trained with quantization keeps its ranges in FP32"
            ],
            fix="convert with precision_mode='FP16' or 'FP32', and without a "
            "calibration_input_fn",
        )
    return mode.lower()


def _by_name(inputs: Inputs, names: Sequence[str]) -> dict[str, Any]:
    """Inputs by name, from a sequence or a mapping."""
    if isinstance(inputs, Mapping):
        return {name: np.asarray(value) for name, value in inputs.items()}
    if len(inputs) != len(names):
        raise InputError(f"expected {len(names)} inputs, got {len(inputs)}")
    return {name: np.asarray(value) for name, value in zip(names, inputs, strict=True)}


def _as_tensor(array: Any) -> Any:
    """A `tf.Tensor` if the caller has loaded TensorFlow, else the array."""
    tensorflow = sys.modules.get("tensorflow")
    return array if tensorflow is None else tensorflow.constant(array)
