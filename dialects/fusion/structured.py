"""Structured ops: loops as data.

Each has an iteration space of named dims with sizes, one `AccessMap` per tensor it
reads or writes, and a body of scalar ops. A scalar of the body has the *storage type*
of its tensor's element type: unsigned integers are signless there, and the op says how
they are read (`arith.divui`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from xdsl.dialects.builtin import (
    ArrayAttr,
    IntegerType,
    Signedness,
    StringAttr,
    TensorType,
    UnitAttr,
)
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.access import AccessAttr, AccessMap
from stepwell.dialects.shapes import Dim, DimsAttr, symbols_of

from .assembly import (
    parse_dims,
    parse_ins,
    parse_outs,
    print_dims,
    print_ins,
    print_outs,
)
from .kernel import YieldOp


class Iterator(StrEnum):
    """What a dim of the iteration space is."""

    PARALLEL = "parallel"
    REDUCTION = "reduction"
    SCAN = "scan"
    SORT = "sort"


class Combine(StrEnum):
    """How the values that several points give to one element are combined."""

    ADD = "add"
    MUL = "mul"
    MAX = "max"
    MIN = "min"
    AND = "and"
    OR = "or"
    SET = "set"
    """The value of the last point in row-major order stays."""


def storage_type(element: Attribute) -> Attribute:
    """The type of a scalar in a body, for a tensor's element type."""
    if (
        isinstance(element, IntegerType)
        and element.signedness.data != Signedness.SIGNLESS
    ):
        return IntegerType(element.width.data)
    return element


class StructuredOp(IRDLOperation):
    """What all structured ops share: an iteration space, operands with maps, a body."""

    inputs = var_operand_def(TensorType)
    dests = var_operand_def(TensorType)
    outputs = var_result_def(TensorType)
    dims = prop_def(ArrayAttr[StringAttr])
    sizes = prop_def(DimsAttr)
    iterators = prop_def(ArrayAttr[StringAttr])
    input_maps = prop_def(ArrayAttr[AccessAttr])
    output_maps = prop_def(ArrayAttr[AccessAttr])
    combine = prop_def(ArrayAttr[StringAttr])
    body = region_def("single_block")

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(Pure())

    def __init__(
        self,
        space: Sequence[tuple[str, Dim, Iterator]],
        inputs: Sequence[SSAValue],
        input_maps: Sequence[AccessMap],
        output_maps: Sequence[AccessMap],
        result_types: Sequence[Attribute],
        combine: Sequence[Combine] = (),
        *,
        dests: Sequence[SSAValue] = (),
        body: Region | None = None,
        properties: dict[str, Attribute | None] | None = None,
    ) -> None:
        if body is None:
            scalars = [storage_type(_element(value)) for value in inputs]
            body = Region(Block(arg_types=scalars))
        combine = combine or [Combine.SET] * len(output_maps)
        super().__init__(
            operands=[inputs, dests],
            result_types=[result_types],
            properties={
                "dims": ArrayAttr(StringAttr(name) for name, _, _ in space),
                "sizes": DimsAttr(size for _, size, _ in space),
                "iterators": ArrayAttr(StringAttr(kind) for _, _, kind in space),
                "input_maps": ArrayAttr(AccessAttr(m) for m in input_maps),
                "output_maps": ArrayAttr(AccessAttr(m) for m in output_maps),
                "combine": ArrayAttr(StringAttr(kind) for kind in combine),
                **(properties or {}),
            },
            regions=[body],
        )

    @property
    def block(self) -> Block:
        """The body; one argument per input."""
        return self.body.block

    @property
    def yielded(self) -> tuple[SSAValue, ...]:
        """The scalars of the body that are written."""
        last = self.block.last_op
        assert isinstance(last, YieldOp)
        return tuple(last.operands)

    @property
    def dim_names(self) -> tuple[str, ...]:
        """The names of the iteration dims, outermost first."""
        return tuple(name.data for name in self.dims)

    @property
    def dim_sizes(self) -> tuple[Dim, ...]:
        """The extent of each iteration dim."""
        return self.sizes.data

    @property
    def kinds(self) -> tuple[Iterator, ...]:
        """The iterator kind of each dim."""
        return tuple(Iterator(kind.data) for kind in self.iterators)

    @property
    def space(self) -> tuple[tuple[str, Dim, Iterator], ...]:
        """Name, size and kind of each dim."""
        return tuple(zip(self.dim_names, self.dim_sizes, self.kinds, strict=True))

    @property
    def extents(self) -> dict[str, Dim]:
        """The size of each dim, by name."""
        return dict(zip(self.dim_names, self.dim_sizes, strict=True))

    @property
    def in_maps(self) -> tuple[AccessMap, ...]:
        """How each input is read."""
        return tuple(attr.data for attr in self.input_maps)

    @property
    def out_maps(self) -> tuple[AccessMap, ...]:
        """Where each result is written."""
        return tuple(attr.data for attr in self.output_maps)

    @property
    def combines(self) -> tuple[Combine, ...]:
        """How each result combines the values given to one element."""
        return tuple(Combine(kind.data) for kind in self.combine)

    def dims_of_kind(self, kind: Iterator) -> tuple[str, ...]:
        """The names of the dims of a kind, in order."""
        return tuple(name for name, _, k in self.space if k is kind)

    def verify_(self) -> None:
        self._verify_space()
        self._verify_operands()
        self._verify_body()

    def _verify_space(self) -> None:
        names = self.dim_names
        if not len(names) == len(self.dim_sizes) == len(self.iterators):
            raise VerifyException(
                f"expected as many sizes and iterators as dims, got {len(names)} dims, "
                f"{len(self.dim_sizes)} sizes, {len(self.iterators)} iterators"
            )
        if len(set(names)) != len(names):
            raise VerifyException(f"dims {list(names)} are not distinct")
        for name, size in zip(names, self.dim_sizes, strict=True):
            if symbols_of(size) & set(names):
                raise VerifyException(f"size of '{name}' depends on a dim: {size}")
        allowed = set(Iterator)
        for kind in self.iterators:
            if kind.data not in allowed:
                raise VerifyException(f"unknown iterator kind '{kind.data}'")

    def _verify_operands(self) -> None:
        _verify_maps(self, "input", self.inputs, self.in_maps)
        _verify_maps(self, "result", self.outputs, self.out_maps)
        if len(self.combine) != len(self.outputs):
            raise VerifyException("expected one combine kind per result")
        for kind in self.combine:
            if kind.data not in set(Combine):
                raise VerifyException(f"unknown combine kind '{kind.data}'")
        if self.dests and [d.type for d in self.dests] != [
            r.type for r in self.outputs
        ]:
            raise VerifyException("expected one destination per result, of its type")

    def _verify_body(self) -> None:
        expected = [storage_type(_element(value)) for value in self.inputs]
        if [arg.type for arg in self.block.args] != expected:
            raise VerifyException(
                "expected one body argument per input, of its storage type"
            )
        if not isinstance(self.block.last_op, YieldOp):
            raise VerifyException("expected the body to end in fusion.yield")
        results = [storage_type(_element(value)) for value in self.outputs]
        self._verify_yield([value.type for value in self.yielded], results)

    def _verify_yield(self, yielded: list[Attribute], results: list[Attribute]) -> None:
        if yielded != results:
            raise VerifyException(
                f"expected to yield {[str(t) for t in results]}, "
                f"got {[str(t) for t in yielded]}"
            )

    def print(self, printer: Printer) -> None:
        self._print_options(printer)
        print_dims(printer, self.space)
        print_ins(printer, self.inputs, self.in_maps)
        outs = zip(self.combines, self.out_maps, self.outputs, strict=True)
        print_outs(printer, list(outs), self.dests)
        printer.print_op_attributes(self.attributes, print_keyword=True)
        printer.print_string(" ")
        printer.print_region(self.body)

    @classmethod
    def parse(cls, parser: Parser):
        properties = cls._parse_options(parser)
        space = [(n, s, Iterator(k)) for n, s, k in parse_dims(parser)]
        names = tuple(name for name, _, _ in space)
        inputs, input_maps = parse_ins(parser, names)
        combine, output_maps, dests, types = parse_outs(parser, names)
        attributes = parser.parse_optional_attr_dict_with_keyword()
        op = cls(
            space,
            inputs,
            input_maps,
            output_maps,
            types,
            [Combine(kind) for kind in combine],
            dests=dests,
            body=parser.parse_region(),
            properties=properties,
        )
        if attributes is not None:
            op.attributes |= attributes.data
        return op

    def _print_options(self, printer: Printer) -> None:
        """Print what one kind of structured op has beside the shared parts."""

    @classmethod
    def _parse_options(cls, parser: Parser) -> dict[str, Attribute | None]:
        return {}


@irdl_op_definition
class GenericOp(StructuredOp):
    """A loop nest with a scalar body.

    `result[out_map(i)] = combine over i of body(input[in_map(i)])`, starting from the
    identity of `combine`, or from the destination when there is one. With `set` the
    write map must be injective, or the last point in row-major order wins.

    ```mlir
    %y = fusion.generic [m: 64, n: 32, reduction k: 128]
        ins(%a[m, k] : tensor<64x128xf32>, %b[k, n] : tensor<128x32xf32>)
        outs(add [m, n] : tensor<64x32xf32>) {
    ^bb0(%x: f32, %w: f32):
      %p = arith.mulf %x, %w : f32
      fusion.yield %p : f32
    }
    ```
    """

    name = "fusion.generic"

    def verify_(self) -> None:
        super().verify_()
        if set(self.kinds) - {Iterator.PARALLEL, Iterator.REDUCTION}:
            raise VerifyException("expected parallel and reduction dims only")
        reduced = set(self.dims_of_kind(Iterator.REDUCTION))
        for kind, access in zip(self.combines, self.out_maps, strict=True):
            written = reduced & access.used_dims
            if written and kind is not Combine.SET and not access.indirects:
                raise VerifyException(
                    f"reduction dim '{min(written)}' appears in a write map"
                )
            if reduced and kind is Combine.SET and not reduced <= access.used_dims:
                raise VerifyException("a reduction needs a combine kind, got 'set'")


@irdl_op_definition
class ScanOp(StructuredOp):
    """A running combination along the one dim of kind `scan`.

    The value written at index `s` combines the body's values at `0..s`, without `s`
    itself when `exclusive`. A scan from the end has maps that run backwards.

    ```mlir
    %y = fusion.scan [b: 4, scan s: 16] ins(%x[b, s] : tensor<4x16xf32>)
        outs(add [b, s] : tensor<4x16xf32>) { ... }
    ```
    """

    name = "fusion.scan"

    exclusive = opt_prop_def(UnitAttr)

    def verify_(self) -> None:
        super().verify_()
        if len(self.dims_of_kind(Iterator.SCAN)) != 1:
            raise VerifyException("expected exactly one scan dim")
        if Combine.SET in self.combines:
            raise VerifyException("a scan needs a combine kind, got 'set'")

    def _print_options(self, printer: Printer) -> None:
        if self.exclusive is not None:
            printer.print_string(" exclusive")

    @classmethod
    def _parse_options(cls, parser: Parser) -> dict[str, Attribute | None]:
        exclusive = parser.parse_optional_keyword("exclusive")
        return {"exclusive": UnitAttr() if exclusive else None}


@irdl_op_definition
class SortOp(StructuredOp):
    """Sorts along the one dim of kind `sort`; the results are values and `i64` indices.

    Stable: equal keys stay in the order of their indices. NaN is the largest key. A
    result's tensor may be shorter than the dim: the first elements are kept (top-k).

    ```mlir
    %v, %i = fusion.sort descending [b: 4, sort s: 100]
        ins(%x[b, s] : tensor<4x100xf32>)
        outs(set [b, s] : tensor<4x5xf32>, set [b, s] : tensor<4x5xi64>) { ... }
    ```
    """

    name = "fusion.sort"

    descending = opt_prop_def(UnitAttr)

    def verify_(self) -> None:
        super().verify_()
        if len(self.dims_of_kind(Iterator.SORT)) != 1:
            raise VerifyException("expected exactly one sort dim")
        if len(self.outputs) != 2:
            raise VerifyException("expected two results: values and indices")

    def _verify_yield(self, yielded: list[Attribute], results: list[Attribute]) -> None:
        if yielded != results[:1]:
            raise VerifyException("expected to yield the key, of the values' type")

    def _print_options(self, printer: Printer) -> None:
        if self.descending is not None:
            printer.print_string(" descending")

    @classmethod
    def _parse_options(cls, parser: Parser) -> dict[str, Attribute | None]:
        descending = parser.parse_optional_keyword("descending")
        return {"descending": UnitAttr() if descending else None}


def _element(value: SSAValue) -> Attribute:
    assert isinstance(value.type, TensorType)
    return value.type.element_type


def _verify_maps(
    op: StructuredOp,
    what: str,
    values: Sequence[SSAValue],
    maps: Sequence[AccessMap],
) -> None:
    if len(values) != len(maps):
        raise VerifyException(
            f"expected one access map per {what}, got {len(maps)} for {len(values)}"
        )
    for position, (value, access) in enumerate(zip(values, maps, strict=True)):
        assert isinstance(value.type, TensorType)
        rank = len(value.type.get_shape())
        if access.dims != op.dim_names:
            raise VerifyException(
                f"map of {what} {position} is over {list(access.dims)}, "
                f"expected {list(op.dim_names)}"
            )
        if len(access.results) != rank:
            raise VerifyException(
                f"map of {what} {position} has {len(access.results)} results, "
                f"expected {rank} for {value.type}"
            )
        for indirect in access.indirects:
            if indirect.operand >= len(op.inputs):
                raise VerifyException(
                    f"map of {what} {position} reads input {indirect.operand}, "
                    f"but there are {len(op.inputs)}"
                )
