"""An engine as a module of torch: tensors in and out, on the CPU without copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import torch

from stepwell.errors import InputError
from stepwell.runtime import Engine

_BIT_TWINS: dict[Any, tuple[torch.dtype, Any]] = {
    torch.bfloat16: (torch.int16, ml_dtypes.bfloat16),
    torch.float8_e4m3fn: (torch.uint8, ml_dtypes.float8_e4m3fn),
    torch.float8_e5m2: (torch.uint8, ml_dtypes.float8_e5m2),
}
"""dtypes that NumPy lacks: one of torch with the same bits, and the engine's."""
_FROM_NUMPY = {np.dtype(kind): dtype for dtype, (_, kind) in _BIT_TWINS.items()}
_BITS = {1: np.uint8, 2: np.int16}


class EngineModule(torch.nn.Module):
    """Calls an engine with tensors.

    On the CPU an input's memory is read in place (unless it is not contiguous), and an
    output is the memory that the engine wrote. On a GPU the engine itself takes and
    gives tensors, on torch's current stream.

    Args:
        engine: what to call.
        orders: for each output, the permutation of its dims that is due, or None.
    """

    def __init__(
        self, engine: Engine, orders: Sequence[tuple[int, ...] | None]
    ) -> None:
        super().__init__()
        self.engine = engine
        self.orders = tuple(orders)
        self.is_cpu = engine.manifest.target.kind == "cpu"

    def __deepcopy__(self, memo: dict[int, Any]) -> EngineModule:
        """Another module of the same engine, which never changes."""
        return EngineModule(self.engine, self.orders)

    def forward(self, *inputs: Any) -> tuple[torch.Tensor, ...]:
        """The outputs, each a tensor of its own.

        Raises:
            InputError: inputs that do not fit the engine, or on another device.
        """
        results = self.engine(*map(self.operand, inputs))
        if len(self.orders) == 1:
            results = (results,)
        tensors = map(self.result, results)
        return tuple(
            tensor if order is None else tensor.permute(order)
            for tensor, order in zip(tensors, self.orders, strict=True)
        )

    def operand(self, value: Any) -> Any:
        """An input as the engine takes it: an array, or a tensor where it lies."""
        if self.is_cpu or not isinstance(value, torch.Tensor):
            return to_array(value)
        if value.is_cuda:
            return value.detach()
        if value.ndim == 0:  # torch, too, lets a number from the CPU join in
            return to_array(value)
        raise InputError(
            f"expected a tensor on a GPU, got one on {value.device}",
            fix="move it with x.cuda(), or compile with target='cpu'",
        )

    def result(self, value: Any) -> torch.Tensor:
        """An output as a tensor on the engine's device."""
        tensor = to_tensor(value)
        return tensor if self.is_cpu or tensor.is_cuda else tensor.cuda()


def to_array(value: Any) -> Any:
    """A tensor's memory as an array; a size as one of rank 0.

    Raises:
        InputError: the tensor is not on the CPU.
    """
    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    if value.device.type != "cpu":
        raise InputError(
            f"expected a tensor on the cpu, got one on {value.device}",
            fix="move it with x.cpu(), or compile with target='cuda'",
        )
    value = value.detach()
    if value.is_conj() or value.is_neg():
        value = value.resolve_conj().resolve_neg()
    if value.dtype in _BIT_TWINS:
        bits, dtype = _BIT_TWINS[value.dtype]
        return value.contiguous().view(bits).numpy().view(dtype)
    return value.numpy()


def to_tensor(array: Any) -> torch.Tensor:
    """An array's memory as a tensor, which keeps it alive."""
    if isinstance(array, torch.Tensor):
        return array
    if array.dtype in _FROM_NUMPY:
        bits = array.view(_BITS[array.dtype.itemsize])
        return torch.from_numpy(bits).view(_FROM_NUMPY[array.dtype])
    return torch.from_numpy(array)
