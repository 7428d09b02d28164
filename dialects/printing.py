"""Modules as text, with the locations that are known."""

from __future__ import annotations

import re
from io import StringIO

from xdsl.dialects.builtin import ModuleOp, UnknownLoc
from xdsl.ir import Attribute, BlockArgument
from xdsl.printer import Printer

_TRAILING_SPACE = re.compile(r"[ \t]+$", re.MULTILINE)


class SourcePrinter(Printer):
    """Prints `loc(...)` where a location is known, and nothing where it is not."""

    def print_attribute(self, attribute: Attribute) -> None:
        """Print any attribute but an unknown location, which reads back the same."""
        if not isinstance(attribute, UnknownLoc) or self.printing_location:
            super().print_attribute(attribute)

    def print_block_argument(self, arg: BlockArgument, print_type: bool = True) -> None:
        """Print `%name : type`, with its location if it is known."""
        shown, known = self.print_debuginfo, not isinstance(arg.location, UnknownLoc)
        self.print_debuginfo = shown and known
        super().print_block_argument(arg, print_type)
        self.print_debuginfo = shown


def module_text(
    module: ModuleOp, *, locations: bool = True, generic: bool = False
) -> str:
    """`module` as text that parses back to the same IR.

    Args:
        locations: print `loc(...)` behind each op that has one.
        generic: print every op in MLIR's generic form.
    """
    stream = StringIO()
    printer = SourcePrinter(
        stream, print_debuginfo=locations, print_generic_format=generic
    )
    printer.print_op(module)
    return _TRAILING_SPACE.sub("", stream.getvalue()) + "\n"
