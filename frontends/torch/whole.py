"""Recurrent layers as ops of our own while a module is traced.

PyTorch traces `lstm`, `gru` and `rnn` step by step to find their shapes, which fixes
the number of steps. In the block of `whole_recurrent_layers()` a module calls
`stepwell::lstm` and its kin instead: they compute the same, and their shapes are known.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.modules import rnn

_COMMON = (
    "Tensor[] weights, bool has_biases, int num_layers, float dropout, bool train, "
    "bool bidirectional, bool batch_first"
)
_LIBRARY = torch.library.Library("stepwell", "FRAGMENT")


def _states(
    x: torch.Tensor, state: torch.Tensor, bidirectional: bool, batch_first: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tensors without data of the shapes of the output and of the last state."""
    features = state.shape[-1] * (2 if bidirectional else 1)
    return x.new_empty((*x.shape[:2], features)), torch.empty_like(state)


def _fake_lstm(
    x: torch.Tensor, states: Sequence[torch.Tensor], *options: Any
) -> tuple[torch.Tensor, ...]:
    y, state = _states(x, states[0], *options[-2:])
    return y, state, torch.empty_like(states[1])


def _fake_gru(x: torch.Tensor, state: torch.Tensor, *options: Any) -> Any:
    return _states(x, state, *options[-2:])


def _define(name: str, function: Callable[..., Any]) -> None:
    is_lstm = name == "lstm"
    state = "Tensor[] states" if is_lstm else "Tensor state"
    results = "(Tensor, Tensor, Tensor)" if is_lstm else "(Tensor, Tensor)"
    _LIBRARY.define(f"{name}(Tensor x, {state}, {_COMMON}) -> {results}")
    _LIBRARY.impl(name, function, "CompositeExplicitAutograd")
    torch.library.register_fake(
        f"stepwell::{name}", _fake_lstm if is_lstm else _fake_gru, lib=_LIBRARY
    )


_KINDS = {
    "lstm": torch.lstm,
    "gru": torch.gru,
    "rnn_tanh": torch.rnn_tanh,
    "rnn_relu": torch.rnn_relu,
}
for _name, _function in _KINDS.items():
    _define(_name, _function)


class _Functions:
    """What `torch.nn.modules.rnn` calls, with layers by name; the rest is PyTorch's."""

    def __init__(self, functions: Any) -> None:
        self._functions = functions

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._functions, name)
        if name not in _KINDS:
            return found
        whole = getattr(torch.ops.stepwell, name)

        def call(x: torch.Tensor, second: Any, third: Any, *rest: Any) -> Any:
            is_packed = isinstance(third, torch.Tensor)
            return (found if is_packed else whole)(x, second, third, *rest)

        return call


@contextmanager
def whole_recurrent_layers() -> Generator[None]:
    """Make modules call our ops for layers of unpacked sequences."""
    module: Any = rnn
    original = module._VF
    module._VF = _Functions(original)
    try:
        yield
    finally:
        module._VF = original
