"""What all `nn` ops share: inferred result types, checked parameters, one syntax.

Every op without regions prints as `nn.op %operands {parameters} : (types) -> types`.
A builder takes the operands in order (None for an absent optional one), then the
parameters as keywords with plain Python values; it infers the result types:

    conv = ConvOp(x, w, bias, strides=(2, 2), pads=(1, 1, 1, 1))
    conv.value("strides")                                            # (2, 2)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeAlias

from typing_extensions import TypeVar
from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    TensorType,
)
from xdsl.ir import Attribute, Operation, Region, SSAValue
from xdsl.ir.core import OpResult, SSAValues
from xdsl.irdl import (
    AttrConstraint,
    AttrSizedOperandSegments,
    IntConstraint,
    IRDLOperation,
    ParsePropInAttrDict,
    opt_prop_def,
    prop_def,
    traits_def,
)
from xdsl.irdl.constraints import VerificationContext
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import EffectInstance, MemoryEffect, MemoryEffectKind
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.dtypes import f64, i1, i32, i64
from stepwell.dialects.shapes import DimsAttr, dims_of, may_be_equal
from stepwell.errors import ShapeError

Value: TypeAlias = SSAValue | Operation
"""What a builder takes for an operand: a value, or an op with one result."""

Operand: TypeAlias = Value | Sequence[Value] | None

_PLACEHOLDER = TensorType(i1, [])


class Effects(MemoryEffect):
    """What an `nn` op does besides computing its results: nothing, unless it says so.

    A trait of the base class reaches every subclass, so the ops with an effect state
    it in `EFFECT`: READ for random numbers (never merged, erased when unused), WRITE
    for assertions and bound symbols (never erased).
    """

    @classmethod
    def get_effects(cls, op: Operation) -> set[EffectInstance]:
        """The effect of `op`, if it has one."""
        kind = op.EFFECT if isinstance(op, NnOp) else None
        return set() if kind is None else {EffectInstance(kind)}


class NnOp(IRDLOperation, ABC):
    """Base of the `nn` ops: an op whose result types follow from the rest of it."""

    EFFECT: ClassVar[MemoryEffectKind | None] = None

    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "operands attr-dict `:` functional-type(operands, results)"
    traits = traits_def(Effects())

    def __init__(
        self,
        *operands: Operand,
        result_types: Sequence[Attribute | Sequence[Attribute]] | None = None,
        regions: Sequence[Region | Sequence[Region]] = (),
        **parameters: Any,
    ) -> None:
        """Build the op; `result_types` overrides inference where an op needs it.

        Raises:
            ShapeError: the operands do not fit together.
            TypeError: the op has no parameter of that name.
        """
        definition = self.get_irdl_definition()
        given = [*operands, *[None] * (len(definition.operands) - len(operands))]
        infers = result_types is None
        super().__init__(
            operands=given,
            properties=self._properties(parameters),
            result_types=[_PLACEHOLDER] * len(definition.results)
            if result_types is None
            else result_types,
            regions=regions,
        )
        if infers:
            set_result_types(self, self.infer_result_types())

    @abstractmethod
    def infer_result_types(self) -> Sequence[Attribute]:
        """The types the results must have, from operand types and parameters.

        Raises:
            ShapeError: the operands do not fit together.
        """

    def value(self, name: str) -> Any:
        """The parameter `name` as a Python value; None if it is absent."""
        attribute = self.properties.get(name)
        return None if attribute is None else to_python(attribute)

    def verify_(self) -> None:
        """Check the result types against inference."""
        try:
            expected = self.infer_result_types()
        except ShapeError as error:
            raise VerifyException(str(error)) from None
        for index, (kind, result) in enumerate(
            zip(expected, self.results, strict=True)
        ):
            have = result.type
            if kind is have or kind == have:
                continue
            if not may_be_same_type(kind, have):
                raise VerifyException(
                    f"expected result {index} of {self.name} of type {kind}, "
                    f"got {result.type}"
                )

    @classmethod
    def _properties(cls, parameters: Mapping[str, Any]) -> dict[str, Attribute | None]:
        definitions = cls.get_irdl_definition().properties
        properties: dict[str, Attribute | None] = {}
        for name, value in parameters.items():
            if name not in definitions:
                raise TypeError(
                    f"expected a parameter of {cls.name} ({', '.join(definitions)}), "
                    f"got {name}"
                )
            constraint = definitions[name].constr
            if value is None or isinstance(value, Attribute):
                properties[name] = value
            else:
                assert isinstance(constraint, Parameter)
                properties[name] = constraint.attribute(value)
        return properties


def set_result_types(op: Operation, types: Sequence[Attribute]) -> None:
    """Give the results of `op` new types; their uses are left without a value.

    Only for an op whose results nobody uses yet.
    """
    op.results = SSAValues(OpResult(kind, op, i) for i, kind in enumerate(types))


def infer_types(op: Operation) -> list[Attribute]:
    """The result types of `op`: inferred for an `nn` op, else those it has.

    Raises:
        ShapeError: the operands do not fit together.
    """
    if isinstance(op, NnOp):
        return list(op.infer_result_types())
    return [result.type for result in op.results]


def may_be_same_type(left: Attribute, right: Attribute) -> bool:
    """Whether no dim is proved to differ, and rank and element type are the same."""
    if not isinstance(left, TensorType) or not isinstance(right, TensorType):
        return left == right
    if left.element_type != right.element_type:
        return False
    left_dims, right_dims = dims_of(left), dims_of(right)
    return len(left_dims) == len(right_dims) and all(
        map(may_be_equal, left_dims, right_dims)
    )


def to_python(attribute: Attribute) -> Any:
    """A parameter as an int, float, bool, str or tuple; other attributes as such."""
    decode = _DECODERS.get(type(attribute))
    return attribute if decode is None else decode(attribute)


def _number(attribute: Any) -> int | bool:
    number = attribute.value.data
    return bool(number) if attribute.type == i1 else number


_DECODERS: dict[type[Attribute], Callable[[Any], Any]] = {
    IntegerAttr: _number,
    FloatAttr: lambda attribute: attribute.value.data,
    StringAttr: lambda attribute: attribute.data,
    DimsAttr: lambda attribute: attribute.data,
    DenseArrayBase: lambda attribute: attribute.get_values(),
    ArrayAttr: lambda attribute: tuple(map(to_python, attribute)),
}


_AttributeT = TypeVar("_AttributeT", bound=Attribute, default=Attribute)


class OptionalOperandsOp(NnOp, ABC):
    """An op with several optional operands; an absent one prints as `none`."""

    irdl_options = (AttrSizedOperandSegments(as_property=True), ParsePropInAttrDict())
    assembly_format = None

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        """Read `%a, none, %b {parameters} : (types) -> types`."""
        given = parser.parse_comma_separated_list(
            parser.Delimiter.NONE,
            lambda: (
                None
                if parser.parse_optional_keyword("none")
                else parser.parse_unresolved_operand()
            ),
        )
        parameters = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        kind = parser.parse_function_type()
        present = [operand for operand in given if operand is not None]
        operands = parser.resolve_operands(present, kind.inputs.data, parser.pos)
        sizes = [int(operand is not None) for operand in given]
        names = cls.get_irdl_definition().properties
        sized = {_SEGMENTS: DenseArrayBase.from_list(i32, sizes)}
        return cls.create(
            operands=operands,
            result_types=list(kind.outputs),
            properties={k: v for k, v in parameters.items() if k in names} | sized,
            attributes={k: v for k, v in parameters.items() if k not in names},
        )

    def print(self, printer: Printer) -> None:
        """Write what `parse` reads."""
        operands = iter(self.operands)
        sizes = self.properties[_SEGMENTS]
        assert isinstance(sizes, DenseArrayBase)
        printer.print_string(" ")
        printer.print_list(
            sizes.get_values(),
            lambda size: (
                printer.print_ssa_value(next(operands))
                if size
                else printer.print_string("none")
            ),
        )
        definitions = self.get_irdl_definition().properties
        shown = {
            name: value
            for name, value in self.properties.items()
            if name != _SEGMENTS and value != definitions[name].default_value
        }
        printer.print_op_attributes(shown | self.attributes)
        printer.print_string(" : ")
        printer.print_function_type(self.operand_types, self.result_types)


_SEGMENTS = AttrSizedOperandSegments.attribute_name


@dataclass(frozen=True)
class Parameter(AttrConstraint[_AttributeT]):
    """The constraint of a parameter, and the way from Python values to it."""

    kind: str
    choices: tuple[str, ...] = ()

    def attribute(self, value: Any) -> Attribute:
        """The attribute of a Python value."""
        return _ENCODERS[self.kind](value)

    def verify(self, attr: Attribute, constraint_context: VerificationContext) -> None:
        """Check the attribute's class, and a string against the choices."""
        if not _CHECKS[self.kind](attr):
            raise VerifyException(f"expected {self.kind}, got {attr}")
        if self.choices and to_python(attr) not in self.choices:
            raise VerifyException(
                f"expected one of {', '.join(self.choices)}, got {to_python(attr)}"
            )

    def mapping_type_vars(
        self, type_var_mapping: Mapping[TypeVar, AttrConstraint | IntConstraint]
    ) -> AttrConstraint[_AttributeT]:
        """There are no type variables."""
        return self


def _strings(values: Iterable[str]) -> Attribute:
    return ArrayAttr(StringAttr(value) for value in values)


_ENCODERS: dict[str, Any] = {
    "int": lambda value: IntegerAttr(int(value), i64),
    "bool": lambda value: IntegerAttr(int(bool(value)), i1),
    "float": lambda value: FloatAttr(float(value), f64),
    "str": lambda value: StringAttr(value),
    "ints": lambda value: DenseArrayBase.from_list(i64, [int(v) for v in value]),
    "floats": lambda value: DenseArrayBase.from_list(f64, [float(v) for v in value]),
    "dims": lambda value: DimsAttr(value),
    "strs": _strings,
}
_CHECKS: dict[str, Any] = {
    "int": lambda attr: isinstance(attr, IntegerAttr) and attr.type == i64,
    "bool": lambda attr: isinstance(attr, IntegerAttr) and attr.type == i1,
    "float": lambda attr: isinstance(attr, FloatAttr) and attr.type == f64,
    "str": lambda attr: isinstance(attr, StringAttr),
    "ints": lambda attr: isinstance(attr, DenseArrayBase) and attr.elt_type == i64,
    "floats": lambda attr: isinstance(attr, DenseArrayBase) and attr.elt_type == f64,
    "dims": lambda attr: isinstance(attr, DimsAttr),
    "strs": lambda attr: (
        isinstance(attr, ArrayAttr) and all(isinstance(a, StringAttr) for a in attr)
    ),
}


def param(kind: str, default: Any = None, choices: Sequence[str] = ()) -> Attribute:
    """A required parameter of the op, or one with a default.

    `kind` is int, bool, float, str, ints, floats, strs, or dims (a list of numbers
    that may depend on symbols); `choices` lists the strings allowed.
    """
    constraint = Parameter[Attribute](kind, tuple(choices))
    if default is None:
        return prop_def(constraint)
    return prop_def(constraint, default_value=constraint.attribute(default))


def opt_param(kind: str, choices: Sequence[str] = ()) -> Attribute | None:
    """A parameter that may be absent."""
    return opt_prop_def(Parameter[Attribute](kind, tuple(choices)))
