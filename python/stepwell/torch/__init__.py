"""PyTorch's front door: `torch_tensorrt`'s habits on Stepwell's engines.

    compiled = stepwell.torch.compile(model, inputs=[Input((1, 3, 224, 224))])
    y = compiled(x)

    compiled = torch.compile(model, backend="stepwell")

`import torch` in this package is PyTorch itself.
"""

from __future__ import annotations

from importlib import import_module

try:
    import_module("torch")
except ImportError:
    from stepwell.errors import MissingExtraError

    raise MissingExtraError(
        "stepwell.torch needs PyTorch, which is not installed",
        fix="pip install 'stepwell[torch]'",
    ) from None

from .compat import Device, dtype
from .dynamo import backend
from .files import load, save
from .front import compile, report
from .inputs import Input
from .module import CompiledModule
from .reports import EnginePart, GraphReport, Report, TorchOp

__all__ = [
    "CompiledModule",
    "Device",
    "EnginePart",
    "GraphReport",
    "Input",
    "Report",
    "TorchOp",
    "backend",
    "compile",
    "dtype",
    "load",
    "report",
    "save",
]
