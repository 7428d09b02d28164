"""`Input`: the shape, or range of shapes, and the dtype of one input of a module.

It has Torch-TensorRT's signature. `prepare` turns a structure of `Input`s, tensors and
plain values into the example arguments and the dynamic dims of `torch.export`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.export import Dim, ShapesCollection

from stepwell.errors import OptionError

Shape = tuple[int, ...]
_FIELDS = ("min_shape", "opt_shape", "max_shape")


class Input:
    """One input of a module.

    ```python
    Input((1, 3, 224, 224), dtype=torch.float16)
    Input(min_shape=(1, 8), opt_shape=(8, 64), max_shape=(32, 512), dtype=torch.int64)
    ```

    Args:
        shape: the only shape, or
        min_shape, opt_shape, max_shape: the range of shapes and the one to tune for.
        dtype: the tensor's element type; float32 by default.
        format: accepted for compatibility: engines take any strides.
        tensor_domain: the range `(low, high)` of example values, by default `(0, 2)`.
        torch_tensor: an example; by default one is made.
        name: a name for messages.

    Raises:
        OptionError: shapes of different rank, or an empty range.
    """

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        *,
        min_shape: Sequence[int] | None = None,
        opt_shape: Sequence[int] | None = None,
        max_shape: Sequence[int] | None = None,
        dtype: torch.dtype | None = None,
        format: torch.memory_format = torch.contiguous_format,
        tensor_domain: tuple[float, float] | None = None,
        torch_tensor: torch.Tensor | None = None,
        name: str = "",
        is_shape_tensor: bool = False,
    ) -> None:
        if is_shape_tensor:
            raise OptionError(
                "expected an Input with data, got is_shape_tensor=True",
                fix="pass an example tensor of integers instead",
            )
        self.min_shape, self.opt_shape, self.max_shape = _range_of(
            shape, (min_shape, opt_shape, max_shape)
        )
        found = torch.float32 if torch_tensor is None else torch_tensor.dtype
        self.dtype = dtype or found
        self.format = format
        self.tensor_domain = tensor_domain or (0.0, 2.0)
        self.torch_tensor = torch_tensor
        self.name = name

    @property
    def is_dynamic(self) -> bool:
        """Whether any dim is a range."""
        return self.min_shape != self.max_shape

    @property
    def shape(self) -> Shape | dict[str, Shape]:
        """The shape, or by field the three of a range."""
        if not self.is_dynamic:
            return self.opt_shape
        return {name: getattr(self, name) for name in _FIELDS}

    @classmethod
    def from_tensor(cls, tensor: torch.Tensor, **_: Any) -> Input:
        """The shape and dtype of a tensor, which is the example."""
        return cls(tuple(tensor.shape), dtype=tensor.dtype, torch_tensor=tensor)

    @classmethod
    def from_tensors(cls, tensors: Sequence[torch.Tensor], **_: Any) -> list[Input]:
        """`from_tensor` of each."""
        return [cls.from_tensor(tensor) for tensor in tensors]

    def example_tensor(
        self,
        optimization_profile_field: str | None = None,
        device: torch.device | None = None,
    ) -> torch.Tensor:
        """A tensor of this dtype and of one of the shapes, by default the best one."""
        if self.torch_tensor is not None and optimization_profile_field is None:
            return self.torch_tensor
        shape: Shape = getattr(self, optimization_profile_field or "opt_shape")
        return _example(shape, self.dtype, self.tensor_domain, device)

    def tracing_example(self, device: torch.device) -> torch.Tensor:
        """A tensor to trace with: its dynamic dims are at least 2 where they can be,
        since tracing takes a size of 1 for a constant."""
        sizes = zip(self.min_shape, self.opt_shape, self.max_shape, strict=True)
        shape = tuple(
            max(opt, min(2, high)) if low != high else opt for low, opt, high in sizes
        )
        if self.torch_tensor is not None and tuple(self.torch_tensor.shape) == shape:
            return self.torch_tensor
        return _example(shape, self.dtype, self.tensor_domain, device)

    def dynamic_dims(self) -> dict[int, Any]:
        """The ranges of its dims, as `torch.export` takes them."""
        ranges = zip(self.min_shape, self.max_shape, strict=True)
        return {
            index: Dim.DYNAMIC(min=low, max=high)
            for index, (low, high) in enumerate(ranges)
            if low != high
        }

    def __repr__(self) -> str:
        return f"Input({self.shape}, dtype={self.dtype})"


def prepare(
    args: Sequence[Any], kwargs: Mapping[str, Any], device: torch.device
) -> tuple[tuple[Any, ...], dict[str, Any], ShapesCollection]:
    """Example arguments, and the dynamic shapes of the tensors in them."""
    shapes = ShapesCollection()

    def example(spec: Any) -> Any:
        if not isinstance(spec, Input):
            return spec
        tensor = spec.tracing_example(device)
        if dims := spec.dynamic_dims():
            tensor = tensor.clone()  # of its own identity: that is the key
            shapes[tensor] = dims
        return tensor

    def walk(spec: Any) -> Any:
        if isinstance(spec, torch.Size):
            spec = Input(spec)
        if isinstance(spec, tuple) and hasattr(spec, "_fields"):
            return type(spec)(*map(walk, spec))
        if isinstance(spec, list | tuple):
            return type(spec)(map(walk, spec))
        if isinstance(spec, dict):
            return {key: walk(item) for key, item in spec.items()}
        return example(spec)

    return tuple(map(walk, args)), {k: walk(v) for k, v in kwargs.items()}, shapes


def _range_of(
    shape: Sequence[int] | None, fields: Sequence[Sequence[int] | None]
) -> tuple[Shape, Shape, Shape]:
    given = [tuple(field) for field in fields if field is not None]
    if shape is not None:
        if given:
            raise OptionError("expected shape or min, opt and max_shape, got both")
        only = tuple(shape)
        return only, only, only
    if len(given) != 3:
        raise OptionError(
            "expected an Input's shape, or all of min_shape, opt_shape and max_shape",
            fix="Input((1, 3, 224, 224)) or Input(min_shape=..., opt_shape=..., "
            "max_shape=...)",
        )
    low, opt, high = given
    ranks = {len(low), len(opt), len(high)}
    if len(ranks) > 1 or any(
        not 0 <= a <= b <= c for a, b, c in zip(low, opt, high, strict=True)
    ):
        raise OptionError(
            f"expected min_shape <= opt_shape <= max_shape, got {low}, {opt} and {high}"
        )
    return low, opt, high


def _example(
    shape: Shape,
    dtype: torch.dtype,
    domain: tuple[float, float],
    device: torch.device | None,
) -> torch.Tensor:
    low, high = domain
    if dtype.is_floating_point or dtype.is_complex:
        values = torch.rand(shape, device=device) * (high - low) + low
        return values.to(dtype)
    if dtype == torch.bool:
        return torch.ones(shape, dtype=dtype, device=device)
    top = max(int(high), int(low) + 1)
    return torch.randint(int(low), top, shape, dtype=dtype, device=device)
