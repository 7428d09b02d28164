"""Where a call comes from: the module that made it, and the user's source line."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import torch
from torch import fx

from .overloads import op_name

_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')
_TORCH = str(Path(torch.__file__).parent)
_NUMBER = re.compile(r"_\d+$")


class Locations:
    """Names for the calls of one graph: `layer1.0.conv1`, `layer1.0.add`.

    A call is named after the module that made it; where a module makes several, the
    name of the op follows, and a number where that is not enough.
    """

    def __init__(self, graph: fx.Graph, prefix: str = "") -> None:
        self._prefix = prefix
        calls = [node for node in graph.nodes if node.op == "call_function"]
        self._calls = Counter(
            module_path(node) for node in calls if _name(node) not in _FREE
        )
        self._used: Counter[str] = Counter()

    def name(self, node: fx.Node) -> str:
        """The name of a call; each call of a graph has its own."""
        path = module_path(node)
        parts = [self._prefix, path]
        if not path or self._calls[path] > 1:
            parts.append(_name(node))
        name = ".".join(filter(None, parts)) or _name(node)
        self._used[name] += 1
        count = self._used[name]
        return name if count == 1 else f"{name}_{count}"


_FREE = ("getitem", "sym_size", "mul", "add", "sub", "floordiv")
"""Calls on sizes, and those that only take a result apart."""


def module_path(node: fx.Node) -> str:
    """The path of the innermost module that made a call: `layer1.0.conv1`."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [entry[0] for entry in stack.values() if isinstance(entry, tuple)]
    if not paths or "_empty_nn_module_stack" in paths[-1]:
        return ""
    path = paths[-1].replace("L['self']", "").replace("L__self__", "")
    return re.sub(r"\[['\"]?([^'\"\]]+)['\"]?\]", r".\1", path).strip("._")


def source_line(node: fx.Node) -> str:
    """`model.py:12 in forward`: the innermost frame outside of PyTorch, if any."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    own = [frame for frame in frames if not frame[0].startswith(_TORCH)]
    for file, line, function in reversed(own or frames):
        return f"{file}:{line} in {function}"
    return ""


def _name(node: fx.Node) -> str:
    """The op's name without its namespace, overload and underscores: `add`."""
    return op_name(node.target).strip("_") or _NUMBER.sub("", node.name)
