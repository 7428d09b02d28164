"""An engine's program, linked: expressions read, symbols resolved to where they bind.

A symbol is *early* if the shapes of the engine's inputs bind it, and *late* if a value
of the run does: `read_scalar`, or the actual shape of what a host call, a branch or a
loop makes. Everything that depends on early symbols alone is computed once per shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from stepwell.errors import EngineFileError, InputError

from .dtypes import dtype_of
from .expressions import Expression, bare_symbol, parse, product
from .manifest import (
    Block,
    Expr,
    HostCall,
    If,
    Loop,
    Manifest,
    ReadScalar,
    Segment,
    Step,
    TensorInfo,
)

read_expression = lru_cache(maxsize=16384)(parse)
"""`expressions.parse`, remembered: engines repeat the same few expressions."""


@dataclass(frozen=True)
class LinkedValue:
    """A value with its dims read; `root` is the value whose memory it lies in."""

    dtype: np.dtype[Any]
    dims: tuple[Expression, ...]
    bare: tuple[str | None, ...]
    place: str
    index: int
    offset: Expression
    root: int

    @cached_property
    def symbols(self) -> frozenset[str]:
        """The symbols of its dims."""
        return frozenset().union(*(dim.symbols for dim in self.dims))

    def shape(self, bindings: Mapping[str, int]) -> tuple[int, ...]:
        """The actual dims. Raises `InputError` if one would be negative."""
        shape = tuple(dim(bindings) for dim in self.dims)
        if any(extent < 0 for extent in shape):
            raise InputError(f"expected dims of 0 or more, got {shape}")
        return shape

    def nbytes(self, bindings: Mapping[str, int]) -> int:
        """The bytes it takes."""
        return product(self.shape(bindings)) * self.dtype.itemsize


@dataclass(frozen=True)
class LinkedLaunch:
    """One launch: the words of its arguments, and its FLOPs and bytes."""

    kernel: int
    views: tuple[int, ...]
    integers: tuple[Expression, ...]
    work: tuple[Expression, ...]


@dataclass(frozen=True)
class LinkedSegment:
    """A segment, with the late symbols it depends on and its dynamic pointers.

    `dynamic` are the values, in inputs, outputs or on the host, whose addresses are
    other ones in every run.
    """

    number: int
    launches: tuple[LinkedLaunch, ...]
    late: tuple[str, ...]
    dynamic: frozenset[int]


class Program:
    """The linked form of a manifest.

    Attributes:
        early: the symbols that input shapes bind.
        defines: for each result of a host call, branch or loop, and each argument of a
            loop body, the symbols that its actual shape binds.
        segments: the segments, by the identity of their step.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.values: list[LinkedValue] = []
        for index in range(len(manifest.values)):
            self.values.append(self._link_value(index))
        self.slots = tuple(read_expression(size) for size in manifest.slots)
        self.grids = tuple(
            tuple(read_expression(extent) for extent in kernel.grid)
            for kernel in manifest.kernels
        )
        self.early = self._early_symbols()
        self.defines: dict[int, tuple[str, ...]] = {}
        self.segments: dict[int, LinkedSegment] = {}
        self._link_block(manifest.program, set(self.early))

    def range_of(self, tensors: Iterable[TensorInfo]) -> list[LinkedValue]:
        """The values of some inputs or outputs."""
        return [self.values[tensor.value] for tensor in tensors]

    def _link_value(self, index: int) -> LinkedValue:
        value = self.manifest.values[index]
        root = index
        if value.place == "alias":
            root = self.values[value.index].root
        return LinkedValue(
            dtype_of(value.dtype),
            tuple(read_expression(dim) for dim in value.dims),
            tuple(bare_symbol(dim) for dim in value.dims),
            value.place,
            value.index,
            read_expression(value.offset),
            root,
        )

    def _early_symbols(self) -> frozenset[str]:
        """Symbols that are a dim of some input; every other dim must follow."""
        inputs = self.range_of(self.manifest.inputs)
        early = frozenset(name for v in inputs for name in v.bare if name is not None)
        for tensor, value in zip(self.manifest.inputs, inputs, strict=True):
            if unbound := value.symbols - early:
                raise EngineFileError(
                    f"expected input {tensor.name!r} to bind {sorted(unbound)}"
                )
        return early

    def _define(self, values: Iterable[int], known: set[str]) -> None:
        """Note which symbols the actual shapes of `values` bind; they become known."""
        for index in values:
            value = self.values[index]
            new = [name for name in value.bare if name is not None]
            new = [name for name in dict.fromkeys(new) if name not in known]
            self.defines[index] = tuple(new)
            known.update(new)
            self._require_known(value.symbols, known)

    def _require_known(self, symbols: Iterable[str], known: set[str]) -> None:
        if unknown := set(symbols) - known:
            raise EngineFileError(
                f"expected symbols that are bound before use, got {sorted(unknown)}"
            )

    def _link_block(self, block: Block, known: set[str]) -> None:
        for step in block.steps:
            self._link_step(step, known)

    def _link_step(self, step: Step, known: set[str]) -> None:
        match step:
            case Segment():
                self._link_segment(step, known)
            case HostCall():
                self._define(step.outputs, known)
            case ReadScalar():
                known.update(step.symbols)
            case If():
                for block in (step.then_block, step.else_block):
                    self._link_block(block, set(known))
                self._define(step.outputs, known)
            case Loop():
                inside = set(known)
                self._define(step.arguments, inside)
                self._link_block(step.body, inside)
                self._define(step.outputs, known)
            case _:
                pass

    def _link_segment(self, step: Segment, known: set[str]) -> None:
        launches: list[LinkedLaunch] = []
        used: set[str] = set()
        dynamic: set[int] = set()
        for launch in step.launches:
            integers = tuple(read_expression(text) for text in launch.integers)
            used.update(*(integer.symbols for integer in integers))
            for index in launch.views:
                used |= self._symbols_of_address(index)
                if self.values[self.values[index].root].place not in ("weight", "slot"):
                    dynamic.add(index)
            work = tuple(map(read_expression, (launch.flops, launch.nbytes)))
            launches.append(LinkedLaunch(launch.kernel, launch.views, integers, work))
        self._require_known(used, known)
        self.segments[id(step)] = LinkedSegment(
            len(self.segments),
            tuple(launches),
            tuple(sorted(used - self.early)),
            frozenset(dynamic),
        )

    def _symbols_of_address(self, index: int) -> frozenset[str]:
        """What a value's address and size depend on."""
        value = self.values[index]
        symbols = value.symbols | value.offset.symbols
        if value.place == "slot":
            symbols |= self.slots[value.index].symbols
        if value.place == "alias":
            symbols |= self._symbols_of_address(value.index)
        return symbols


def bind_shape(
    value: LinkedValue,
    shape: tuple[int, ...],
    bindings: dict[str, int],
    defines: Iterable[str],
    what: str,
) -> None:
    """Bind the symbols `defines` by an actual shape, and check the other dims.

    Raises:
        InputError: the rank or a dim is another than expected.
    """
    if len(shape) != len(value.dims):
        raise InputError(f"expected rank {len(value.dims)} of {what}, got {len(shape)}")
    new = set(defines)
    for name, extent in zip(value.bare, shape, strict=True):
        if name in new:
            bindings[name] = extent
            new.discard(name)
    for index, (dim, extent) in enumerate(zip(value.dims, shape, strict=True)):
        if (expected := dim(bindings)) != extent:
            text = dim.text if dim.is_constant else f"{dim.text} = {expected}"
            raise InputError(f"expected {text} at dim {index} of {what}, got {extent}")


def check_ranges(
    manifest: Manifest, bindings: Mapping[str, int], names: Iterable[str]
) -> None:
    """Check symbols against the ranges and divisors that the engine was built for.

    Raises:
        InputError: a symbol is out of its range.
    """
    for name in names:
        known = manifest.symbols.get(name)
        if known is None:
            continue
        value = bindings[name]
        high = known.max
        if value < known.min or (high is not None and value > high):
            limit = "" if high is None else str(high)
            raise InputError(
                f"expected {name} in {known.min}..{limit}, got {value}",
                fix=f"build the engine with a range of {name} that holds {value}",
            )
        if value % known.divisor:
            raise InputError(
                f"expected {name} to be a multiple of {known.divisor}, got {value}"
            )


def expressions_of(texts: Iterable[Expr]) -> list[Expression]:
    """Several expressions, read."""
    return [read_expression(text) for text in texts]
