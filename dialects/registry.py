"""Every dialect Stepwell reads or writes, by name, loaded on first use.

A tool that only handles `nn` never imports the dialects of the lower levels.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from xdsl.context import Context
from xdsl.ir import Dialect

DIALECTS: dict[str, str] = {
    # Ours, in the order of the staircase.
    "nn": "stepwell.dialects.nn:Nn",
    "quant": "stepwell.dialects.quant:Quant",
    "fusion": "stepwell.dialects.fusion:Fusion",
    "tile": "stepwell.dialects.tile:Tile",
    "nvvm": "stepwell.dialects.nvvm:NVVM",
    "engine": "stepwell.dialects.engine:Engine",
    # xDSL's, which our levels build on.
    "builtin": "xdsl.dialects.builtin:Builtin",
    "func": "xdsl.dialects.func:Func",
    "arith": "xdsl.dialects.arith:Arith",
    "math": "xdsl.dialects.math:Math",
    "scf": "xdsl.dialects.scf:Scf",
    "cf": "xdsl.dialects.cf:Cf",
    "vector": "xdsl.dialects.vector:Vector",
    "llvm": "stepwell.dialects.llvm:LLVM",
}
"""`module:object` of each dialect, by its name."""


def load_dialect(name: str) -> Dialect:
    """The dialect called `name`; raises `KeyError` for a name not in `DIALECTS`."""
    module, _, attribute = DIALECTS[name].partition(":")
    return getattr(import_module(module), attribute)


def dialect_loader(name: str) -> Callable[[], Dialect]:
    """A factory that imports the dialect when it is first asked for."""
    return lambda: load_dialect(name)


def register_dialects(context: Context) -> None:
    """Make all of `DIALECTS` known to `context` without importing any of them."""
    known = set(context.registered_dialect_names)
    for name in DIALECTS:
        if name not in known:
            context.register_dialect(name, dialect_loader(name))
