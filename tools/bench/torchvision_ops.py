"""torchvision of PyPI beside a torch for the CPU.

Its compiled operators were built for another torch and do not load; the package then
wants two of them defined before it, or transformers, can be imported: call `register`
first.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

NAMES = ("nms", "qnms")
LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
"""Holds the definitions; they end with it."""


def register() -> None:
    """Define the two operators, unless they are there."""
    if operators_load():
        return
    for name in NAMES:
        if not hasattr(torch.ops.torchvision, name):
            arguments = "Tensor dets, Tensor scores, float threshold"
            LIBRARY.define(f"{name}({arguments}) -> Tensor")


def operators_load() -> bool:
    """Whether torchvision is there and its compiled operators fit this torch."""
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    try:
        for path in Path(spec.origin).parent.glob("_C*.so"):
            torch.ops.load_library(str(path))
            return True
    except OSError:
        pass
    return False
