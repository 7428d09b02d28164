"""Calls of kernels and of functions of the host."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    I64,
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    StringAttr,
    SymbolRefAttr,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    var_operand_def,
    var_result_def,
)
from xdsl.utils.exceptions import VerifyException

from .places import ANY_TENSOR, verify_slots


def _pairs(flat: DenseArrayBase[I64] | None) -> list[tuple[int, int]]:
    """The (result, operand) pairs of a flattened list."""
    if flat is None:
        return []
    numbers = [int(value) for value in flat.get_values()]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


class Call(IRDLOperation):
    """Something that reads tensors and makes tensors."""

    inputs = var_operand_def(ANY_TENSOR)
    outputs = var_result_def(ANY_TENSOR)
    irdl_options = (ParsePropInAttrDict(),)


_OF_TENSORS = "`(` $inputs `)` attr-dict `:` functional-type($inputs, $outputs)"


@irdl_op_definition
class LaunchOp(Call):
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
    assembly_format = f"$kernel {_OF_TENSORS}"

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
        verify_slots(self.slots, len(self.outputs))
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


@irdl_op_definition
class HostCallOp(Call):
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
    assembly_format = f"$callee {_OF_TENSORS}"

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
