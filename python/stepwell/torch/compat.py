"""Names that code for `torch_tensorrt` uses, in torch's own terms."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stepwell.errors import OptionError


class dtype:
    """`torch_tensorrt.dtype`: other names of torch's dtypes."""

    f8 = fp8 = float8_e4m3fn = torch.float8_e4m3fn
    f16 = fp16 = half = float16 = torch.float16
    bf16 = bfloat16 = torch.bfloat16
    f32 = fp32 = float = float32 = torch.float32
    f64 = fp64 = double = float64 = torch.float64
    u8 = uint8 = torch.uint8
    i8 = int8 = char = torch.int8
    i32 = int32 = torch.int32
    i64 = int64 = long = torch.int64
    b = bool = torch.bool


@dataclass(frozen=True)
class Device:
    """`torch_tensorrt.Device`: a GPU by number, or a device by its name.

    Raises:
        OptionError: it is a DLA core.
    """

    spec: str = ""
    gpu_id: int = 0
    dla_core: int = -1
    allow_gpu_fallback: bool = False

    def __post_init__(self) -> None:
        if self.dla_core >= 0 or self.spec.startswith("dla"):
            raise OptionError("expected a GPU, got a DLA core")

    @property
    def device(self) -> torch.device:
        """As torch names it."""
        name = self.spec.replace("gpu", "cuda") or f"cuda:{self.gpu_id}"
        return torch.device(name)
