"""Stepwell: trained models down a staircase of dialects to a fast engine.

    engine = stepwell.build("model.onnx")
    engine.save("model.stepwell")
    engine = stepwell.load("model.stepwell")
    y = engine(x)

Nothing is imported before it is used: a machine that only serves needs no compiler.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepwell.builder import build
    from stepwell.runtime import Engine, TensorSpec, load

__version__ = "0.1.0"

__all__ = ["Engine", "TensorSpec", "__version__", "build", "load"]

_HOMES = {
    "Engine": "stepwell.runtime",
    "TensorSpec": "stepwell.runtime",
    "build": "stepwell.builder",
    "load": "stepwell.runtime",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'stepwell' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
