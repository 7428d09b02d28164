"""torchvision of PyPI beside a torch for the CPU.

Its compiled operators were built for another torch and do not load; the package then
wants two of them defined before it can be imported. Import this module first.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch

LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
"""Holds the definitions; they end with it."""

if find_spec("torchvision") is not None and not hasattr(torch.ops.torchvision, "nms"):
    for _name in ("nms", "qnms"):
        LIBRARY.define(
            f"{_name}(Tensor dets, Tensor scores, float threshold) -> Tensor"
        )
