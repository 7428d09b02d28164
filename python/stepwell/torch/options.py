"""The options of `torch_tensorrt.compile`: which we use, which change nothing here and
why, and which would promise something that Stepwell does not do, so are refused.
"""

from __future__ import annotations

import difflib
import logging
import operator
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from stepwell.errors import OptionError

from .reports import op_name

log = logging.getLogger("stepwell.torch")

PRECISIONS: Mapping[str, str] = {
    "float32": "fp32",
    "float": "fp32",
    "fp32": "fp32",
    "f32": "fp32",
    "float16": "fp16",
    "half": "fp16",
    "fp16": "fp16",
    "f16": "fp16",
    "bfloat16": "bf16",
    "bf16": "bf16",
    "int8": "int8",
    "i8": "int8",
    "float8_e4m3fn": "fp8",
    "fp8": "fp8",
    "f8": "fp8",
}
"""Names that users give precisions, and the builder's names."""

NO_EFFECT: Mapping[str, str] = {
    "assume_dynamic_shape_support": "every op takes dynamic shapes",
    "cache_built_engines": "save the module instead",
    "reuse_cached_engines": "save the module instead",
    "engine_cache_dir": "save the module instead",
    "engine_cache_size": "save the module instead",
    "custom_engine_cache": "save the module instead",
    "timing_cache_path": "no kernel is chosen by timing",
    "num_avg_timing_iters": "no kernel is chosen by timing",
    "num_min_timing_iters": "no kernel is chosen by timing",
    "workspace_size": "memory is planned from the sizes of the model",
    "max_aux_streams": "an engine runs on the caller's stream",
    "optimization_level": "there is one level",
    "tiling_optimization_level": "there is one level",
    "l2_limit_for_tiling": "there is one level",
    "dla_sram_size": "there is no DLA",
    "dla_local_dram_size": "there is no DLA",
    "dla_global_dram_size": "there is no DLA",
    "disable_tf32": "float32 is not rounded to TF32",
    "sparse_weights": "kernels are dense",
    "truncate_double": "float64 is computed as float64",
    "truncate_long_and_double": "float64 and int64 are computed as they are",
    "use_python_runtime": "there is one runtime",
    "use_fast_partitioner": "there is one partitioner",
    "use_fp32_acc": "products of float16 are summed in float32 anyway",
    "use_explicit_typing": "types are the module's own",
    "enable_experimental_decompositions": "the importer has its own table",
    "decompose_attention": "the compiler decides",
    "use_complex_decomposition": "complex numbers run in torch",
    "attn_bias_is_causal": "masks are read, not assumed",
    "lazy_engine_init": "engines load at once",
    "offload_module_to_cpu": "the module is not copied to the device",
    "enable_resource_partitioning": "one graph is one engine",
    "cpu_memory_budget": "one graph is one engine",
    "dynamically_allocate_resources": "memory is held while the module lives",
    "disabled_constant_fold_exclusions": "there are none",
    "debug": "set the level of the logger 'stepwell' instead",
    "immutable_weights": "weights that change are noticed, and the engine is rebuilt",
}
"""Options accepted for compatibility, and why they change nothing."""

REFUSED: Mapping[str, tuple[Collection[Any], str]] = {
    "strip_engine_weights": ((False,), "an engine file holds its weights"),
    "enable_weight_streaming": ((False,), "weights are resident"),
    "make_refittable": ((False,), "weights cannot be replaced in an engine"),
    "refit": ((False,), "weights cannot be replaced in an engine"),
    "refit_identical_engine_weights": ((False,), "weights cannot be replaced"),
    "enable_cross_compile_for_windows": ((False,), "engines are for Linux"),
    "use_distributed_mode_trace": ((False,), "DTensors are not supported"),
    "enable_autocast": ((False,), "cast the module, or give enabled_precisions"),
    "engine_capability": (("standard", "STANDARD", "default"), "there is no safety"),
    "version_compatible": ((False,), "an engine runs with its own version or later"),
    "hardware_compatible": ((False,), "name a fixed level as target, as cpu-avx2"),
}
"""Options that change what is promised: the values that keep it, why not others."""


@dataclass(frozen=True)
class Settings:
    """How graphs become engines.

    Attributes:
        target: "cpu", "cuda", ...; None is where the inputs are.
        precision: of the builder.
        threads: of one call; None is all.
        min_block_size: a smaller engine between ops of torch is not worth its calls.
        torch_executed_ops: names of ops that torch shall run, `aten.add.Tensor` or
            `aten.add`.
        require_full_compilation: whether an op left to torch is an error.
        pass_through_build_failures: whether a failed build is an error; otherwise
            torch runs that part.
        dryrun: report the partition, build nothing.
        keep_ir: keep the IR in the engines.
    """

    target: str | None = None
    precision: str = "fp32"
    threads: int | None = None
    min_block_size: int = 5
    torch_executed_ops: frozenset[str] = frozenset()
    require_full_compilation: bool = False
    pass_through_build_failures: bool = False
    dryrun: bool = False
    keep_ir: bool = False

    def for_device(self, device: torch.device) -> Settings:
        """The settings with a target, that of the tensors if none was asked for."""
        target = self.target or device.type
        return replace(self, target=target, precision=self._precision_on(target))

    def _precision_on(self, target: str) -> str:
        if target.startswith("cpu") and self.precision in ("fp16", "bf16"):
            _note(
                f"precision {self.precision}",
                "on the cpu float32 is as fast and in the allowed set: float32 it is",
            )
            return "fp32"
        return self.precision


def settings_from(options: Mapping[str, Any]) -> Settings:
    """The settings in a user's options.

    Raises:
        OptionError: an option that is unknown, or cannot be granted.
    """
    used: dict[str, Any] = {}
    for name, value in options.items():
        if name in _USED:
            used.update(_USED[name](value))
        elif name in NO_EFFECT:
            _note(name, NO_EFFECT[name])
        elif name in REFUSED:
            _refuse(name, value)
        elif name == "torch_executed_modules":
            if value:
                raise OptionError(
                    "expected no torch_executed_modules, got some",
                    fix="use torch_executed_ops, or compile the parts by themselves",
                )
        elif name.startswith(("autocast_", "dla_")):
            _note(name, "it belongs to an option that is off")
        else:
            raise _unknown(name)
    return Settings(**used)


def precision_of(enabled: Collection[Any] | Any) -> str:
    """The builder's precision for a set of enabled ones: the narrowest float.

    float32 is always allowed, as with Torch-TensorRT.
    """
    wanted = [enabled] if isinstance(enabled, str | torch.dtype) else list(enabled)
    names = {_precision_name(item) for item in wanted}
    if narrow := names & {"int8", "fp8"}:
        raise OptionError(
            f"expected enabled_precisions of float32, float16 or bfloat16, got "
            f"{', '.join(sorted(narrow))}",
            fix="quantize the module first; its types are kept",
        )
    if {"fp16", "bf16"} <= names:
        return "fp16"
    return next((name for name in ("fp16", "bf16") if name in names), "fp32")


def _precision_name(item: Any) -> str:
    name = str(getattr(item, "name", item)).removeprefix("torch.")
    if name not in PRECISIONS:
        raise OptionError(f"expected a precision such as torch.float16, got {item!r}")
    return PRECISIONS[name]


def _device_target(device: Any) -> dict[str, Any]:
    if device is None:
        return {}
    device = getattr(device, "device", device)
    if not isinstance(device, str | torch.device):
        raise OptionError(f"expected a torch device, got {device!r}")
    found = torch.device(device)
    if found.type not in ("cpu", "cuda"):
        raise OptionError(f"expected a cpu or cuda device, got {device}")
    return {"target": found.type}


def _op_names(ops: Collection[Any]) -> frozenset[str]:
    """The names of ops: `aten.relu` for all overloads, `aten.relu.default` for one.

    Raises:
        OptionError: PyTorch has no such op.
    """
    names = (op if isinstance(op, str) else op_name(op) for op in ops)
    found = {name.replace("torch.ops.", "").replace("::", ".") for name in names}
    for name in sorted(found):
        space, _, rest = name.partition(".")
        try:
            operator.attrgetter(rest)(getattr(torch.ops, space))
        except AttributeError:
            raise OptionError(
                f"expected ops of torch in torch_executed_ops, got {name!r}",
                fix="name them as reports do: aten.relu or aten.relu.default",
            ) from None
    return frozenset(found)


def _least_size(value: Any) -> dict[str, Any]:
    if not isinstance(value, int) or value < 0:
        raise OptionError(f"expected a min_block_size of 0 or more, got {value!r}")
    return {"min_block_size": value}


_USED: Mapping[str, Any] = {
    "target": lambda value: {"target": value},
    "device": _device_target,
    "enabled_precisions": lambda value: {"precision": precision_of(value)},
    "precision": lambda value: {"precision": _precision_name(value)},
    "threads": lambda value: {"threads": value},
    "min_block_size": _least_size,
    "torch_executed_ops": lambda value: {"torch_executed_ops": _op_names(value)},
    "require_full_compilation": lambda value: {"require_full_compilation": bool(value)},
    "pass_through_build_failures": lambda value: {
        "pass_through_build_failures": bool(value)
    },
    "fallback_data_dependent_ops": lambda value: {},
    "dryrun": lambda value: {"dryrun": bool(value)},
    "keep_ir": lambda value: {"keep_ir": bool(value)},
}

_noted: set[tuple[str, str]] = set()


def _note(name: str, reason: str) -> None:
    """Log once that an option has no effect."""
    if (name, reason) not in _noted:
        _noted.add((name, reason))
        log.info("%s has no effect: %s", name, reason)


def _refuse(name: str, value: Any) -> None:
    allowed, reason = REFUSED[name]
    plain = getattr(value, "name", value)
    if plain not in allowed and str(plain).lower() not in map(str, allowed):
        raise OptionError(
            f"expected {name}={next(iter(allowed))!r}, got {value!r}", notes=[reason]
        )


def _unknown(name: str) -> OptionError:
    known = [*_USED, *NO_EFFECT, *REFUSED]
    close = difflib.get_close_matches(name, known, 1)
    fix = f"did you mean {close[0]}?" if close else None
    return OptionError(f"unknown option {name!r}", fix=fix)
