"""The line that a builder function has in the list of supported ops."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from xdsl.ir import Operation

Make = Callable[..., Operation]
"""What makes an op: its class, or the class with some parameters given."""

Builder = TypeVar("Builder", bound=Callable[..., Any])


def described(build: Builder, text: str) -> Builder:
    """`build` with `text` as its line in the list of supported ops."""
    build.__doc__ = text
    return build


def op_name(op: Make) -> str:
    """The name of the op that `op` makes."""
    made = op.func if isinstance(op, partial) else op
    return getattr(made, "name", str(made))
