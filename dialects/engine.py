"""The host program: which kernels run, in which order, on which memory.

`engine` ops work on tensors. After `plan-memory` every result of a launch has a
*place*: `slots = array<i64: 0, -1>` says that the first result lies in slot 0 of the
arena and the second directly in the buffer of the output that it is returned as. The
function's attribute `engine.slots` holds each slot's size in bytes, a dim expression.
The runtime reads nothing else: it knows no `nn` op but `nn.constant`.

Dim expressions are strings in the syntax of `stepwell.dialects.shapes`
(`"batch * seq floordiv 2"`).
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    I64,
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    IntegerType,
    StringAttr,
    SymbolRefAttr,
    TensorType,
    i1,
    i64,
)
from xdsl.ir import Attribute, Block, Dialect, Operation, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    ParsePropInAttrDict,
    base,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import IsTerminator, NoMemoryEffect
from xdsl.utils.exceptions import VerifyException

SLOTS_ATTRIBUTE = "engine.slots"
"""The function attribute with the size in bytes of each slot, `#nn.dims<...>`."""

OUTPUT_SLOT = -1
"""The place of a result that is written directly into an engine's output buffer."""

PREDICATES = ("eq", "ne", "lt", "le", "gt", "ge", "divides")
"""What `engine.assert` can say of two dim expressions."""

ANY_TENSOR = base(TensorType)


def _pairs(flat: DenseArrayBase[I64] | None) -> list[tuple[int, int]]:
    """The (result, operand) pairs of a flattened list."""
    if flat is None:
        return []
    numbers = [int(value) for value in flat.get_values()]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


@irdl_op_definition
class LaunchOp(IRDLOperation):
    """Run one kernel over its whole grid.

    The kernel's arguments are the operands, then the results, then one 64-bit integer
    for each of `symbols` (dim expressions). `ties` holds (result, operand) pairs,
    flattened: such a result lies in its operand's memory, so that the kernel gets the
    same pointer twice and keeps what it does not write. `in_place` holds pairs that the
    kernel touches at the same index only: `plan-memory` may give them one memory too.

    ```mlir
    %y = engine.launch @add__add1(%x, %b) {symbols = ["batch"], slots = array<i64: 0>}
        : (tensor<?x8xf32, #nn.dims<batch, 8>>, tensor<8xf32>)
        -> tensor<?x8xf32, #nn.dims<batch, 8>>
    ```
    """

    name = "engine.launch"
    kernel = prop_def(SymbolRefAttr)
    symbols = opt_prop_def(ArrayAttr[StringAttr])
    ties = opt_prop_def(DenseArrayBase[I64])
    in_place = opt_prop_def(DenseArrayBase[I64])
    slots = opt_prop_def(DenseArrayBase[I64])
    inputs = var_operand_def(ANY_TENSOR)
    outputs = var_result_def(ANY_TENSOR)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = (
        "$kernel `(` $inputs `)` attr-dict `:` functional-type($inputs, $outputs)"
    )

    def __init__(
        self,
        kernel: str | SymbolRefAttr,
        inputs: Sequence[SSAValue],
        result_types: Sequence[Attribute],
        symbols: Sequence[str] = (),
        ties: Sequence[tuple[int, int]] = (),
        in_place: Sequence[tuple[int, int]] = (),
    ) -> None:
        super().__init__(
            operands=[inputs],
            result_types=[result_types],
            properties={
                "kernel": SymbolRefAttr(kernel) if isinstance(kernel, str) else kernel,
                "symbols": ArrayAttr([StringAttr(s) for s in symbols])
                if symbols
                else None,
                "ties": _flat(ties),
                "in_place": _flat(in_place),
            },
        )

    @property
    def tied_operands(self) -> dict[int, int]:
        """The operand whose memory each tied result is written into."""
        return dict(_pairs(self.ties))

    @property
    def in_place_operands(self) -> dict[int, list[int]]:
        """The operands whose memory each result may take."""
        found: dict[int, list[int]] = {}
        for result, operand in _pairs(self.in_place):
            found.setdefault(result, []).append(operand)
        return found

    def verify_(self) -> None:
        _verify_slots(self.slots, len(self.outputs))
        for name, flat in (("ties", self.ties), ("in_place", self.in_place)):
            if flat is not None and len(flat) % 2:
                raise VerifyException(
                    f"expected {name} as flattened (result, operand) pairs, "
                    f"got {len(flat)} numbers"
                )
        ties = _pairs(self.ties)
        if len({result for result, _ in ties}) != len(ties):
            raise VerifyException("expected each result tied once")
        for result, operand in (*ties, *_pairs(self.in_place)):
            if not 0 <= result < len(self.outputs):
                raise VerifyException(
                    f"expected a result below {len(self.outputs)}, got {result}"
                )
            if not 0 <= operand < len(self.inputs):
                raise VerifyException(
                    f"expected an operand below {len(self.inputs)}, got {operand}"
                )
            if self.outputs[result].type != self.inputs[operand].type:
                raise VerifyException(
                    f"expected result {result} of the type of operand "
                    f"{operand}, {self.inputs[operand].type}, "
                    f"got {self.outputs[result].type}"
                )


def _flat(pairs: Sequence[tuple[int, int]]) -> DenseArrayBase[I64] | None:
    flat = [number for pair in pairs for number in pair]
    return DenseArrayBase.from_list(i64, flat) if flat else None


def _verify_slots(slots: DenseArrayBase[I64] | None, results: int) -> None:
    if slots is None:
        return
    if len(slots) != results:
        raise VerifyException(
            f"expected one slot for each of {results} results, got {len(slots)}"
        )
    lowest = min((int(slot) for slot in slots.get_values()), default=0)
    if lowest < OUTPUT_SLOT:
        raise VerifyException(f"expected a slot of at least -1, got {lowest}")


@irdl_op_definition
class HostCallOp(IRDLOperation):
    """Call a function of the runtime's host library by name.

    For what no kernel can do yet: results of data-dependent size, sorts of unbounded
    length. `config` holds the attributes of the `nn` op. A symbol in a result type that
    is unknown before the call is bound by the result's actual shape.

    ```mlir
    %i = engine.host_call "nonzero"(%x) {config = {}}
        : (tensor<8xf32>) -> tensor<1x?xi64, #nn.dims<1, count>>
    ```
    """

    name = "engine.host_call"
    callee = prop_def(StringAttr)
    config = opt_prop_def(DictionaryAttr)
    inputs = var_operand_def(ANY_TENSOR)
    outputs = var_result_def(ANY_TENSOR)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = (
        "$callee `(` $inputs `)` attr-dict `:` functional-type($inputs, $outputs)"
    )

    def __init__(
        self,
        callee: str,
        inputs: Sequence[SSAValue],
        result_types: Sequence[Attribute],
        config: dict[str, Attribute] | None = None,
    ) -> None:
        super().__init__(
            operands=[inputs],
            result_types=[result_types],
            properties={
                "callee": StringAttr(callee),
                "config": DictionaryAttr(config) if config else None,
            },
        )


@irdl_op_definition
class AliasOp(IRDLOperation):
    """See a contiguous tensor's memory under another shape or element type, for free.

    `offset` is a dim expression in elements of the operand, zero if absent; with it the
    result may be smaller than the operand (a slice of the outermost dim).

    ```mlir
    %v = engine.alias %x : tensor<2x3xf32> -> tensor<6xf32>
    ```
    """

    name = "engine.alias"
    source = operand_def(ANY_TENSOR)
    offset = opt_prop_def(StringAttr)
    output = result_def(ANY_TENSOR)
    traits = traits_def(NoMemoryEffect())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$source attr-dict `:` type($source) `->` type($output)"

    def __init__(
        self, source: SSAValue, result_type: Attribute, offset: str | None = None
    ) -> None:
        super().__init__(
            operands=[source],
            result_types=[result_type],
            properties={"offset": StringAttr(offset) if offset is not None else None},
        )

    def verify_(self) -> None:
        source, output = self.source.type, self.output.type
        have, want = _static_bits(source), _static_bits(output)
        if have is None or want is None:
            return
        if want > have or (self.offset is None and want != have):
            raise VerifyException(
                f"expected a view of the {have // 8} bytes of {source}, "
                f"got {want // 8} bytes of {output}"
            )


def _static_bits(type_: Attribute) -> int | None:
    """Bits a tensor takes in memory, where a bool takes a byte; None if dynamic."""
    assert isinstance(type_, TensorType)
    element = type_.get_element_type()
    width = getattr(element, "bitwidth", None)
    if width is None or not type_.has_static_shape():
        return None
    count = 1
    for extent in type_.get_shape():
        count *= extent
    return count * max(width, 8)


@irdl_op_definition
class ReadScalarOp(IRDLOperation):
    """Bind symbols to the values of an integer tensor, in order.

    Each value must lie in its symbol's range (`nn.symbols`); the run fails otherwise.

    ```mlir
    engine.read_scalar %n as ["count"] : tensor<i64>
    engine.read_scalar %shape as ["rows", "columns"] : tensor<2xi64>
    ```
    """

    name = "engine.read_scalar"
    source = operand_def(ANY_TENSOR)
    symbols = prop_def(ArrayAttr[StringAttr])
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$source `as` $symbols attr-dict `:` type($source)"

    def __init__(self, source: SSAValue, *symbols: str) -> None:
        names = ArrayAttr([StringAttr(symbol) for symbol in symbols])
        super().__init__(operands=[source], properties={"symbols": names})

    def verify_(self) -> None:
        type_ = self.source.type
        assert isinstance(type_, TensorType)
        count = 1
        for extent in type_.get_shape():
            count *= extent
        is_integer = isinstance(type_.get_element_type(), IntegerType)
        if count != len(self.symbols) or not is_integer:
            raise VerifyException(
                f"expected a tensor of {len(self.symbols)} integers, got {type_}"
            )


@irdl_op_definition
class AssertOp(IRDLOperation):
    """Check a fact about dims, once for each new shape.

    `"a" divides "b"` says that `b` is a multiple of `a`.

    ```mlir
    engine.assert "batch * seq" "eq" "rows" message "MatMul 'qk': rows differ"
    ```
    """

    name = "engine.assert"
    lhs = prop_def(StringAttr)
    predicate = prop_def(StringAttr)
    rhs = prop_def(StringAttr)
    message = prop_def(StringAttr)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$lhs $predicate $rhs `message` $message attr-dict"

    def __init__(self, lhs: str, predicate: str, rhs: str, message: str) -> None:
        super().__init__(
            properties={
                "lhs": StringAttr(lhs),
                "predicate": StringAttr(predicate),
                "rhs": StringAttr(rhs),
                "message": StringAttr(message),
            }
        )

    def verify_(self) -> None:
        if self.predicate.data not in PREDICATES:
            raise VerifyException(
                f"expected a predicate of {', '.join(PREDICATES)}, "
                f"got {self.predicate.data!r}"
            )


@irdl_op_definition
class EmptyOp(IRDLOperation):
    """Memory with unspecified contents, for results that are written piece by piece.

    ```mlir
    %e = engine.empty : tensor<2x8xf32>
    ```
    """

    name = "engine.empty"
    slots = opt_prop_def(DenseArrayBase[I64])
    output = result_def(ANY_TENSOR)
    traits = traits_def(NoMemoryEffect())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "attr-dict `:` type($output)"

    def __init__(self, result_type: Attribute) -> None:
        super().__init__(result_types=[result_type])

    def verify_(self) -> None:
        _verify_slots(self.slots, 1)


@irdl_op_definition
class CopyOp(IRDLOperation):
    """A copy of a tensor in memory of its own.

    ```mlir
    %c = engine.copy %x : tensor<2x8xf32>
    ```
    """

    name = "engine.copy"
    source = operand_def(ANY_TENSOR)
    slots = opt_prop_def(DenseArrayBase[I64])
    output = result_def(ANY_TENSOR)
    traits = traits_def(NoMemoryEffect())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$source attr-dict `:` type($source) `->` type($output)"

    def __init__(self, source: SSAValue, result_type: Attribute | None = None) -> None:
        super().__init__(operands=[source], result_types=[result_type or source.type])

    def verify_(self) -> None:
        _verify_slots(self.slots, 1)
        source, output = self.source.type, self.output.type
        assert isinstance(source, TensorType)
        assert isinstance(output, TensorType)
        if source.get_element_type() != output.get_element_type():
            raise VerifyException(
                f"expected a copy of the element type of {source}, got {output}"
            )


@irdl_op_definition
class YieldOp(IRDLOperation):
    """Hand values from a region to its `engine.if` or `engine.loop`."""

    name = "engine.yield"
    values = var_operand_def(ANY_TENSOR)
    traits = traits_def(IsTerminator())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "attr-dict ($values^ `:` type($values))?"

    def __init__(self, *values: SSAValue) -> None:
        super().__init__(operands=[values])


def _yield_of(region: Region, op: Operation) -> YieldOp:
    terminator = region.block.last_op
    if not isinstance(terminator, YieldOp):
        raise VerifyException(f"expected {op.name} to end its region in engine.yield")
    return terminator


def _is_boolean(value: SSAValue) -> bool:
    type_ = value.type
    return (
        isinstance(type_, TensorType)
        and type_.get_element_type() == i1
        and all(extent == 1 for extent in type_.get_shape())
    )


@irdl_op_definition
class IfOp(IRDLOperation):
    """Run one of two regions. The regions see the values around them.

    A yielded value's shape may differ between the regions; symbols of a result type
    that are unknown before are bound by the actual shape.

    ```mlir
    %y = engine.if %c : tensor<i1> -> tensor<4xf32> {
      engine.yield %a : tensor<4xf32>
    } else {
      engine.yield %b : tensor<4xf32>
    }
    ```
    """

    name = "engine.if"
    condition = operand_def(ANY_TENSOR)
    outputs = var_result_def(ANY_TENSOR)
    then_region = region_def("single_block")
    else_region = region_def("single_block")
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = (
        "$condition attr-dict `:` type($condition) (`->` type($outputs)^)? "
        "$then_region `else` $else_region"
    )

    def __init__(
        self,
        condition: SSAValue,
        result_types: Sequence[Attribute],
        then_region: Region,
        else_region: Region,
    ) -> None:
        super().__init__(
            operands=[condition],
            result_types=[result_types],
            regions=[then_region, else_region],
        )

    def verify_(self) -> None:
        if not _is_boolean(self.condition):
            raise VerifyException(
                f"expected a condition of one i1, got {self.condition.type}"
            )
        for region in (self.then_region, self.else_region):
            count = len(_yield_of(region, self).values)
            if count != len(self.outputs):
                raise VerifyException(
                    f"expected each region to yield {len(self.outputs)} values, "
                    f"got {count}"
                )


@irdl_op_definition
class LoopOp(IRDLOperation):
    """Repeat a region, with the meaning of ONNX Loop.

    The region's arguments are the iteration number (`tensor<i64>`) and the carried
    values, which start as `inits`. It yields whether to go on, the next carried values,
    and any number of scanned values. The results are the last carried values, then each
    scanned value stacked along a new first dim. It stops after `trips` rounds (if
    given) or when the condition (if given, or yielded) is false.

    ```mlir
    %last = engine.loop trips(%n : tensor<i64>) carry(%x : tensor<4xf32>)
        -> tensor<4xf32> {
    ^bb0(%i: tensor<i64>, %a: tensor<4xf32>):
      engine.yield %c, %a : tensor<i1>, tensor<4xf32>
    }
    ```
    """

    name = "engine.loop"
    trips = opt_operand_def(ANY_TENSOR)
    condition = opt_operand_def(ANY_TENSOR)
    inits = var_operand_def(ANY_TENSOR)
    outputs = var_result_def(ANY_TENSOR)
    body = region_def("single_block")
    irdl_options = (
        ParsePropInAttrDict(),
        AttrSizedOperandSegments(as_property=True),
    )
    assembly_format = (
        "(`trips` `(` $trips^ `:` type($trips) `)`)? "
        "(`while` `(` $condition^ `:` type($condition) `)`)? "
        "(`carry` `(` $inits^ `:` type($inits) `)`)? "
        "attr-dict (`->` type($outputs)^)? $body"
    )

    def __init__(
        self,
        trips: SSAValue | None,
        condition: SSAValue | None,
        inits: Sequence[SSAValue],
        result_types: Sequence[Attribute],
        body: Region | Block,
    ) -> None:
        super().__init__(
            operands=[trips, condition, inits],
            result_types=[result_types],
            regions=[body if isinstance(body, Region) else Region(body)],
        )

    @property
    def scanned(self) -> int:
        """How many results are stacks of scanned values."""
        return len(self.outputs) - len(self.inits)

    def verify_(self) -> None:
        if self.condition is not None and not _is_boolean(self.condition):
            raise VerifyException(
                f"expected a condition of one i1, got {self.condition.type}"
            )
        arguments, carried = self.body.block.args, len(self.inits)
        if len(arguments) != 1 + carried:
            raise VerifyException(
                f"expected region arguments for the iteration and {carried} carried "
                f"values, got {len(arguments)}"
            )
        if len(self.outputs) < carried:
            raise VerifyException(
                f"expected at least {carried} results, got {len(self.outputs)}"
            )
        values = _yield_of(self.body, self).values
        if len(values) != 1 + len(self.outputs):
            raise VerifyException(
                f"expected the region to yield a condition and {len(self.outputs)} "
                f"values, got {len(values)} in all"
            )
        if not _is_boolean(values[0]):
            raise VerifyException(
                f"expected to yield a condition of one i1 first, got {values[0].type}"
            )


Engine = Dialect(
    "engine",
    [
        LaunchOp,
        HostCallOp,
        AliasOp,
        ReadScalarOp,
        AssertOp,
        EmptyOp,
        CopyOp,
        YieldOp,
        IfOp,
        LoopOp,
    ],
    [],
)
