"""Frozen dataclasses to JSON and back, checking every type on the way in.

A union of records is told apart by the key `"op"`, which holds the class's `TAG`.
Unknown and missing keys, wrong types and deep nesting are errors: nothing that was not
written by `encode` gets through `decode`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin

from stepwell.errors import EngineFileError

MAX_DEPTH = 64

T = TypeVar("T")


def encode(value: Any) -> Any:
    """The JSON form of a record; fields at their default are left out."""
    if is_dataclass(value) and not isinstance(value, type):
        tag = getattr(value, "TAG", None)
        record = {"op": tag} if tag is not None else {}
        for f in fields(value):
            item = getattr(value, f.name)
            if not _is_default(f, item):
                record[f.name] = encode(item)
        return record
    if isinstance(value, tuple | list):
        return [encode(item) for item in cast("list[Any]", value)]
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in sorted(value.items())}
    return value


def decode(kind: type[T], data: Any) -> T:
    """The record of class `kind` that `data` is the JSON form of.

    Raises:
        EngineFileError: the data has another form; the message has the path to it.
    """
    return _decode(kind, data, kind.__name__, 0)


def _is_default(f: Field[Any], value: Any) -> bool:
    if f.default is not MISSING:
        return type(value) is type(f.default) and value == f.default
    return f.default_factory is not MISSING and value == f.default_factory()


def _fail(path: str, expected: str, data: Any) -> typing.NoReturn:
    raise EngineFileError(
        f"expected {expected} at {path} of the manifest, got {str(data)[:80]!r}"
    )


def _decode(kind: Any, data: Any, path: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        _fail(path, f"at most {MAX_DEPTH} levels of nesting", "more")
    if kind is Any:
        return _plain(data, path, depth)
    if is_dataclass(kind):
        return _record(cast("type[Any]", kind), data, path, depth)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _union(arguments, data, path, depth)
    if origin is tuple:
        if not isinstance(data, list):
            _fail(path, "a list", data)
        return tuple(
            _decode(arguments[0], item, f"{path}[{index}]", depth + 1)
            for index, item in enumerate(cast("list[Any]", data))
        )
    if origin is not None:  # Mapping[str, T]
        if not isinstance(data, dict):
            _fail(path, "an object", data)
        return {
            key: _decode(arguments[1], item, f"{path}.{key}", depth + 1)
            for key, item in cast("dict[str, Any]", data).items()
        }
    return _scalar(kind, data, path)


def _scalar(kind: Any, data: Any, path: str) -> Any:
    if kind is float and type(data) is int:
        return float(data)
    if type(data) is not kind:
        _fail(path, "null" if kind is type(None) else f"type {kind.__name__}", data)
    if kind is int and not -(2**63) <= data < 2**64:
        _fail(path, "a 64-bit integer", data)
    return data


def _plain(data: Any, path: str, depth: int) -> Any:
    """Any JSON value of bounded depth."""
    if isinstance(data, list):
        items = enumerate(cast("list[Any]", data))
        return [_decode(Any, item, f"{path}[{i}]", depth + 1) for i, item in items]
    if isinstance(data, dict):
        pairs = cast("dict[str, Any]", data).items()
        return {k: _decode(Any, item, f"{path}.{k}", depth + 1) for k, item in pairs}
    return data


def _union(kinds: tuple[Any, ...], data: Any, path: str, depth: int) -> Any:
    records = {kind.TAG: kind for kind in kinds if hasattr(kind, "TAG")}
    if records:
        tag = cast("dict[str, Any]", data).get("op") if isinstance(data, dict) else None
        if not isinstance(tag, str) or tag not in records:
            _fail(path, f"an op of {', '.join(records)}", tag)
        return _decode(records[tag], data, path, depth)
    for kind in kinds:
        simple = get_origin(kind) or kind
        if (data is None and kind is type(None)) or type(data) is simple:
            return _decode(kind, data, path, depth)
    record = next((kind for kind in kinds if kind is not type(None)), None)
    return _decode(record, data, path, depth)


@cache
def _fields_of(kind: type[Any]) -> tuple[tuple[Field[Any], Any], ...]:
    hints = typing.get_type_hints(kind)
    return tuple((f, hints[f.name]) for f in fields(kind))


def _record(kind: type[Any], data: Any, path: str, depth: int) -> Any:
    if not isinstance(data, dict):
        _fail(path, "an object", data)
    left = dict(cast("dict[str, Any]", data))
    left.pop("op", None) if hasattr(kind, "TAG") else None
    values: dict[str, Any] = {}
    for f, hint in _fields_of(kind):
        if f.name in left:
            item = left.pop(f.name)
            values[f.name] = _decode(hint, item, f"{path}.{f.name}", depth + 1)
        elif f.default is MISSING and f.default_factory is MISSING:
            _fail(path, f"the key {f.name!r}", sorted(data))
    if left:
        _fail(path, f"no key but {', '.join(f.name for f in fields(kind))}", list(left))
    return kind(**values)
