"""Where an op comes from: locations that name the nodes of the user's model.

An importer gives each op `loc("node name")`; an op that stands for several carries
`loc(fused["a", "b"])`. Names stay in order, and each appears once.
"""

from __future__ import annotations

from xdsl.dialects.builtin import (
    ArrayAttr,
    CallSiteLoc,
    FileLineColLoc,
    FusedLoc,
    LocationAttr,
    NameLoc,
    NoneAttr,
    StringAttr,
    UnknownLoc,
)
from xdsl.ir import Attribute, Operation


def name_location(name: str) -> LocationAttr:
    """`loc("name")`."""
    return NameLoc(StringAttr(name), NoneAttr())


def fuse_locations(*locations: LocationAttr) -> LocationAttr:
    """One location for an op that replaces others; unknown ones do not count."""
    flat: dict[LocationAttr, None] = {}
    for location in locations:
        flat.update(dict.fromkeys(_flatten(location)))
    known = list(flat)
    if not known:
        return UnknownLoc()
    return known[0] if len(known) == 1 else FusedLoc(tuple(known), NoneAttr())


def fused_location(*ops: Operation) -> LocationAttr:
    """The location of an op that replaces `ops`."""
    return fuse_locations(*(op.location for op in ops))


def location_names(source: Operation | LocationAttr) -> tuple[str, ...]:
    """The names of the source nodes, in order; empty when unknown."""
    location = source.location if isinstance(source, Operation) else source
    names = (_name(part) for part in _flatten(location))
    return tuple(dict.fromkeys(names))


def has_location(op: Operation) -> bool:
    """Whether the op says where it comes from."""
    return bool(location_names(op))


def _flatten(location: Attribute) -> list[LocationAttr]:
    match location:
        case FusedLoc():
            parts = location.locations
            assert isinstance(parts, ArrayAttr)
            return [leaf for part in parts for leaf in _flatten(part)]
        case NameLoc() | FileLineColLoc() | CallSiteLoc():
            return [location]
        case _:
            return []


def _name(location: Attribute) -> str:
    match location:
        case NameLoc():
            return location.desc.data
        case FileLineColLoc():
            line, column = location.line.data, location.column.data
            return f"{location.filename.data}:{line}:{column}"
        case CallSiteLoc():
            return _name(location.callee)
        case _:
            return "unknown"
