"""The contract of each level: which ops and types are legal where.

A level is a table from an enclosing op to what may stand directly inside of it: whole
dialects, or single ops. Types are checked too: no quantized type goes below `fusion`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import Attribute, Operation
from xdsl.traits import ConstantLike, IsTerminator

from stepwell.dialects.dtypes import StoredType
from stepwell.dialects.provenance import has_location, location_names
from stepwell.errors import CompileError, OptionError

_SCALAR = frozenset({"arith", "math"})
_GRAPH = frozenset({"nn", "quant", "func.return", "func.call"})


@dataclass(frozen=True)
class Level:
    """What is legal at one step of the staircase.

    Attributes:
        name: the level, as `--stop-after` spells it.
        inside: per enclosing op, the dialects and ops that may stand in it; regions of
            any other op take what the op around them takes.
        quantized: whether `!quant` types may occur.
        located: whether every op must say where it comes from.
    """

    name: str
    inside: Mapping[str, frozenset[str]]
    quantized: bool = False
    located: bool = True


_KERNELS = _GRAPH | {"fusion.kernel", "engine.copy", "engine.empty"}
"""A graph of kernels; what they write into in place is a copy, or empty at first."""


LEVELS: Mapping[str, Level] = {
    level.name: level
    for level in (
        Level(
            "nn",
            {"builtin.module": frozenset({"func"}), "func.func": _GRAPH},
            quantized=True,
        ),
        Level(
            "fusion",
            {
                "builtin.module": frozenset({"func"}),
                "func.func": _KERNELS,
                "fusion.kernel": frozenset(
                    {"nn", "quant", "fusion.insert", "fusion.yield"}
                ),
            },
            quantized=True,
        ),
        Level(
            "generic",
            {
                "builtin.module": frozenset({"func"}),
                "func.func": _KERNELS,
                # Attention stays whole until its tile program is written.
                "fusion.kernel": frozenset({"fusion", "nn.attention", "nn.constant"}),
                "fusion.generic": _SCALAR | {"fusion"},
                "fusion.scan": _SCALAR | {"fusion"},
                "fusion.sort": _SCALAR | {"fusion"},
            },
        ),
        Level(
            "tile",
            {
                "builtin.module": frozenset({"func", "tile.func"}),
                "func.func": _GRAPH | {"engine"},
                "tile.func": _SCALAR | {"tile", "scf"},
            },
        ),
        Level(
            "engine",
            {
                "builtin.module": frozenset({"func", "tile.func"}),
                "func.func": frozenset({"engine", "func.return", "nn.constant"}),
                "tile.func": _SCALAR | {"tile", "scf"},
            },
        ),
    )
}
"""The levels in their order, by name."""


def verify_level(module: ModuleOp, level: str) -> None:
    """Check that the module keeps the contract of `level`.

    Raises:
        OptionError: there is no such level.
        CompileError: an op or type is not legal there; names it, its place in the
            model, and the rule.
    """
    if (rules := LEVELS.get(level)) is None:
        raise OptionError(f"expected a level of {', '.join(LEVELS)}, got {level!r}")
    _verify_inside(module, rules.inside[module.name], rules)
    if rules.located:
        verify_provenance(module)


def keeps_level(module: ModuleOp, level: str) -> bool:
    """Whether all ops and types of the module are legal at `level`."""
    rules = LEVELS[level]
    try:
        _verify_inside(module, rules.inside[module.name], rules)
    except CompileError:
        return False
    return True


def verify_provenance(module: ModuleOp) -> None:
    """Check that every op of the host's functions says where it comes from.

    Constants and terminators need not, nor what stands inside a kernel that does.

    Raises:
        CompileError: names the op.
    """
    for function in module.ops:
        if function.name == "func.func":
            _verify_located(function)


def _verify_located(parent: Operation) -> None:
    for op in _children(parent):
        if op.has_trait(ConstantLike) or op.has_trait(IsTerminator):
            continue
        if not has_location(op):
            raise CompileError(
                f"expected {op.name} to say where it comes from, got loc(unknown)",
                notes=["every op below an import carries its source node's location"],
            )
        if op.name != "fusion.kernel":
            _verify_located(op)


def _verify_inside(parent: Operation, legal: frozenset[str], rules: Level) -> None:
    for op in _children(parent):
        if op.name not in legal and op.dialect_name() not in legal:
            raise CompileError(
                f"{op.name} is not legal at level {rules.name}",
                where=_place(op),
                notes=[f"in {parent.name}: expected {', '.join(sorted(legal))}"],
            )
        if not rules.quantized:
            _verify_types(op, rules)
        _verify_inside(op, rules.inside.get(op.name, legal), rules)


def _verify_types(op: Operation, rules: Level) -> None:
    for value in op.results:
        if _is_quantized(value.type):
            raise CompileError(
                f"expected stored types at level {rules.name}, got {value.type}",
                where=_place(op),
                notes=["legalize-quant turns quantized values into stored ones"],
            )


def _is_quantized(kind: Attribute) -> bool:
    return isinstance(kind, TensorType) and isinstance(kind.element_type, StoredType)


def _children(op: Operation) -> Iterable[Operation]:
    return (
        child for region in op.regions for block in region.blocks for child in block.ops
    )


def _place(op: Operation) -> str:
    """The names of the source nodes of the op, or of the closest op around it."""
    current: Operation | None = op
    while current is not None:
        if names := location_names(current):
            return ", ".join(names)
        current = current.parent_op()
    return "unknown"
