"""`tile.func`: one kernel, as the program of one cell of its grid."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    IndexType,
    IntegerAttr,
    StringAttr,
    SymbolNameConstraint,
)
from xdsl.ir import Attribute, Block, BlockArgument, Operation, Region
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    prop_def,
    region_def,
    result_def,
    traits_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import (
    HasParent,
    IsolatedFromAbove,
    IsTerminator,
    Pure,
    SymbolOpInterface,
)
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.shapes import (
    Dim,
    DimsAttr,
    parse_dim,
    parse_dim_with,
    symbols_of,
)

from .attrs import LaunchAttr
from .types import ViewType

LAUNCH_ATTRIBUTE = "tile.launch"
"""The attribute of a `tile.func` in the lower half: a `#tile.launch`."""

OPTIONS_ATTRIBUTE = "tile.options"
"""The options of the schedule that a `tile.func` was made by: `{warps = 4 : i64}`."""


@irdl_op_definition
class FuncOp(IRDLOperation):
    """One kernel: what a program does, run once for each cell of a grid.

    The block's arguments are the views, inputs first, then one program id per grid
    dim, each from 0 to its size. No two cells may write the same element differently,
    for their order is not defined. `symbols` names the model's symbols whose values the
    kernel is given.

    ```mlir
    tile.func @relu(%x: !tile.view<[n] f32>, %y: !tile.view<[n] f32>)
        symbols [n] grid (%i = ceildiv(n, 64)) {
      ...
      tile.return
    }
    ```
    """

    name = "tile.func"

    sym_name = prop_def(SymbolNameConstraint())
    symbols = prop_def(ArrayAttr[StringAttr])
    grid = prop_def(DimsAttr)
    body = region_def("single_block")

    traits = traits_def(IsolatedFromAbove(), SymbolOpInterface())

    def __init__(
        self,
        name: str,
        arguments: Sequence[Attribute] | Region,
        grid: Sequence[Dim],
        symbols: Sequence[str] = (),
    ) -> None:
        if not isinstance(arguments, Region):
            ids = [IndexType()] * len(grid)
            arguments = Region(Block(arg_types=[*arguments, *ids]))
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "symbols": ArrayAttr([StringAttr(s) for s in symbols]),
                "grid": DimsAttr(grid),
            },
            regions=[arguments],
        )

    @property
    def args(self) -> tuple[BlockArgument, ...]:
        """The kernel's arguments: views, and in the lower half tensor maps."""
        block_args = self.body.block.args
        return block_args[: len(block_args) - len(self.grid.data)]

    @property
    def program_ids(self) -> tuple[BlockArgument, ...]:
        """One index per grid dim."""
        block_args = self.body.block.args
        return block_args[len(block_args) - len(self.grid.data) :]

    @property
    def symbol_names(self) -> tuple[str, ...]:
        """The symbols that the kernel is given, in order."""
        return tuple(s.data for s in self.symbols)

    def option(self, name: str, default: int) -> int:
        """The number that the schedule's options give `name`."""
        options = self.attributes.get(OPTIONS_ATTRIBUTE)
        found = options.data.get(name) if isinstance(options, DictionaryAttr) else None
        return found.value.data if isinstance(found, IntegerAttr) else default

    def verify_(self) -> None:
        if len(self.body.block.args) < len(self.grid.data):
            raise VerifyException(
                f"expected {len(self.grid.data)} program ids after the arguments, got "
                f"{len(self.body.block.args)} block arguments"
            )
        for argument in self.program_ids:
            if not isinstance(argument.type, IndexType):
                raise VerifyException(
                    f"expected program ids of type index, got {argument.type}"
                )
        if not isinstance(self.body.block.last_op, ReturnOp):
            raise VerifyException("expected the body to end in tile.return")
        self._verify_symbols()
        self._verify_launch()

    def _verify_launch(self) -> None:
        from .kernel_rules import verify_kernel  # it knows the ops of the lower half

        launch = self.attributes.get(LAUNCH_ATTRIBUTE)
        if isinstance(launch, LaunchAttr):
            verify_kernel(self, launch.data)

    def _verify_symbols(self) -> None:
        known = set(self.symbol_names)
        if len(known) != len(self.symbol_names):
            raise VerifyException("expected each symbol once")
        dims = list(self.grid.data)
        for argument in self.args:
            if isinstance(argument.type, ViewType):
                dims += argument.type.dims
        _expect_known(dims, known)

    @classmethod
    def parse(cls, parser: Parser) -> FuncOp:
        name = parser.parse_symbol_name().data
        arguments = parser.parse_comma_separated_list(
            parser.Delimiter.PAREN, parser.parse_argument
        )
        symbols: Sequence[str] = ()
        if parser.parse_optional_keyword("symbols"):
            symbols = parser.parse_comma_separated_list(
                parser.Delimiter.SQUARE, parser.parse_identifier
            )

        def cell() -> tuple[Parser.Argument, Dim]:
            argument = parser.parse_argument(expect_type=False)
            parser.parse_punctuation("=")
            return argument.resolve(IndexType()), parse_dim_with(parser)

        parser.parse_keyword("grid")
        cells = parser.parse_comma_separated_list(parser.Delimiter.PAREN, cell)
        attributes = parser.parse_optional_attr_dict_with_keyword()
        body = parser.parse_region([*arguments, *(argument for argument, _ in cells)])
        op = cls(name, body, [size for _, size in cells], symbols)
        if attributes is not None:
            op.attributes |= attributes.data
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_symbol_name(self.sym_name.data)
        with printer.in_parens():
            printer.print_list(self.args, printer.print_block_argument)
        if self.symbols.data:
            printer.print_string(f" symbols [{', '.join(self.symbol_names)}]")

        def print_cell(cell: tuple[BlockArgument, Dim]) -> None:
            printer.print_block_argument(cell[0], print_type=False)
            printer.print_string(f" = {cell[1]}")

        printer.print_string(" grid ")
        with printer.in_parens():
            cells = zip(self.program_ids, self.grid.data, strict=True)
            printer.print_list(cells, print_cell)
        printer.print_op_attributes(self.attributes, print_keyword=True)
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False)


@irdl_op_definition
class ReturnOp(IRDLOperation):
    """Ends a `tile.func`."""

    name = "tile.return"

    traits = traits_def(IsTerminator(), HasParent(FuncOp))
    assembly_format = "attr-dict"


@irdl_op_definition
class DimOp(IRDLOperation):
    """The value of a dim expression over the kernel's symbols.

    ```mlir
    %n = tile.dim "ceildiv(seq, 64)"
    ```
    """

    name = "tile.dim"

    expression = prop_def(DimsAttr)
    result = result_def(IndexType())

    traits = traits_def(Pure())

    def __init__(self, expression: Dim | str) -> None:
        dim = parse_dim(expression) if isinstance(expression, str) else expression
        super().__init__(
            properties={"expression": DimsAttr([dim])}, result_types=[IndexType()]
        )

    @property
    def dim(self) -> Dim:
        """The expression."""
        return self.expression.data[0]

    def verify_(self) -> None:
        if len(self.expression.data) != 1:
            raise VerifyException("expected one dim expression")
        expect_known_symbols(self, [self.dim])

    @classmethod
    def parse(cls, parser: Parser) -> DimOp:
        op = cls(parser.parse_str_literal())
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_string_literal(str(self.dim))
        printer.print_op_attributes(self.attributes)


def expect_known_symbols(op: Operation, dims: Sequence[Dim]) -> None:
    """The dims use only symbols that the kernel around `op` is given."""
    parent = op.parent_op()
    while parent is not None and not isinstance(parent, FuncOp):
        parent = parent.parent_op()
    if parent is not None:
        _expect_known(dims, set(parent.symbol_names))


def _expect_known(dims: Sequence[Dim], known: set[str]) -> None:
    for dim in dims:
        missing = sorted(symbols_of(dim) - known)
        if missing:
            raise VerifyException(
                f"'{dim}' uses the symbol {missing[0]}, which is not in symbols "
                f"[{', '.join(sorted(known))}]"
            )
