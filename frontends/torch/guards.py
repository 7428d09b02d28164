"""What a trace took for granted of sizes: `if x.shape[0] % 2 == 0:` in the model.

PyTorch traces one side of such a branch and keeps the condition as a guard of the
exported program; its own `program.module()` checks the guards at each call. An engine
checks them once per new shape.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from .export import fake_inputs

_NUMBERED = re.compile(r"(.+)_(\d+)")


@dataclass(frozen=True)
class Guard:
    """A condition on the sizes of a program's inputs.

    Attributes:
        condition: SymPy's relation.
        pins: relations that imply it, for one that is none of sizes: each of its sizes
            is that of the example.
    """

    condition: Any
    pins: tuple[Any, ...]

    @property
    def is_plain(self) -> bool:
        """Whether it is a relation that has no real numbers in it."""
        return isinstance(self.condition, sympy.Rel) and not any(
            each.is_Float or type(each).__name__ == "ToFloat"
            for each in sympy.preorder_traversal(self.condition)
        )

    def __str__(self) -> str:
        return f"the model was traced for sizes with {self.condition}"


def guards_of(exported: ExportedProgram) -> list[Guard]:
    """What the sizes of a program's inputs must fulfil."""
    sizes = list(_sizes(exported))
    if not sizes:
        return []
    environment = sizes[0].node.shape_env
    found = [environment.replace(guard.expr) for guard in environment.guards]
    hints = {size.node.expr: size.node.hint for size in sizes}
    return [
        Guard(condition, tuple(_pins(condition, hints)))
        for condition in found or _read(exported)
        if condition != sympy.true and not _is_of_tracing(condition)
    ]


def _pins(condition: Any, hints: Mapping[Any, int | None]) -> Iterator[Any]:
    for symbol in sorted(condition.free_symbols, key=str):
        if (hint := hints.get(symbol)) is not None:
            yield sympy.Eq(symbol, hint)


def _is_of_tracing(guard: Any) -> bool:
    """Whether a guard is PyTorch's own rather than the model's.

    It asks of every view whether a size is 0 or 1, or whether dims divide others, to
    find out about broadcasting and strides. The graph is the same either way: ranges,
    too, begin at 1 where PyTorch writes 2.
    """
    if not isinstance(guard, sympy.Ne):
        return False
    rest, number = guard.args
    rests = [each for each in sympy.preorder_traversal(rest) if _is_remainder(each)]
    if rest in rests and number == 0 and rest.args[1].free_symbols:
        return True
    return not rests and number in (0, 1)


def _is_remainder(expression: Any) -> bool:
    return type(expression).__name__ in ("Mod", "PythonMod")


def _sizes(exported: ExportedProgram) -> Iterator[torch.SymInt]:
    for fake in fake_inputs(exported):
        shape = fake.shape if isinstance(fake, torch.Tensor) else (fake,)
        yield from (size for size in shape if isinstance(size, torch.SymInt))


def _read(exported: ExportedProgram) -> list[Any]:
    """The guards of a program that was loaded from a file, where they are Python code
    that reads the inputs from `L`."""
    code = getattr(exported, "_guards_code", [])
    if not code:
        return []
    scope = {"L": _arguments(exported), "torch": torch, "math": math}
    values = [eval(each, scope) for each in code]  # as program.module() does
    return [each.node.expr for each in values if isinstance(each, torch.SymBool)]


def _arguments(exported: ExportedProgram) -> dict[str, Any]:
    """What stands for each argument, by name; `*args` are a dict by position."""
    signature = exported.module_call_graph[0].signature
    assert signature is not None
    args, kwargs = pytree.tree_unflatten(fake_inputs(exported), signature.in_spec)
    names = signature.forward_arg_names or []
    found: dict[str, Any] = {**dict(zip(names, args, strict=False)), **kwargs}
    for name, value in list(found.items()):
        if numbered := _NUMBERED.fullmatch(name):
            found.setdefault(numbered[1], {})[int(numbered[2])] = value
    return found
