"""Enumerations of `tile`, and the launch of a kernel on a GPU."""

from __future__ import annotations

from dataclasses import dataclass, fields

from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Data, SpacedOpaqueSyntaxAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum


class CombineKind(StrEnum):
    """The monoids of reductions, scans and accumulating stores.

    `max` and `min` of floats propagate NaN; `and` and `or` are bitwise.
    """

    ADD = "add"
    MUL = "mul"
    MAX = "max"
    MIN = "min"
    AND = "and"
    OR = "or"


@irdl_attr_definition
class CombineKindAttr(EnumAttribute[CombineKind], SpacedOpaqueSyntaxAttribute):
    """`add | mul | max | min | and | or`."""

    name = "tile.combine"


class BarrierKind(StrEnum):
    """Who meets at a barrier."""

    BLOCK = "block"
    GROUP = "group"


@irdl_attr_definition
class BarrierKindAttr(EnumAttribute[BarrierKind], SpacedOpaqueSyntaxAttribute):
    """`block | group`."""

    name = "tile.barrier_kind"


@dataclass(frozen=True)
class Launch:
    """How a kernel is launched on a GPU.

    Args:
        warps: of a block.
        cluster: blocks of a cluster.
        blocks_per_sm: blocks that are to run on one multiprocessor at the same time.
    """

    warps: int
    cluster: int = 1
    blocks_per_sm: int = 1


@irdl_attr_definition
class LaunchAttr(Data[Launch]):
    """`#tile.launch<warps = 12, cluster = 2, blocks_per_sm = 1>`."""

    name = "tile.launch"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Launch:
        """Read the fields; all but the warps may be missing."""
        values: dict[str, int] = {}

        def entry() -> None:
            key = parser.parse_keyword_in([f.name for f in fields(Launch)])
            parser.parse_punctuation("=")
            values[key] = parser.parse_integer()

        parser.parse_comma_separated_list(parser.Delimiter.ANGLE, entry)
        if "warps" not in values:
            parser.raise_error("expected the number of warps")
        return Launch(**values)

    def print_parameter(self, printer: Printer) -> None:
        """Write the fields that differ from their default."""
        texts = [
            f"{f.name} = {getattr(self.data, f.name)}"
            for f in fields(Launch)
            if getattr(self.data, f.name) != f.default
        ]
        printer.print_string(f"<{', '.join(texts)}>")

    def verify(self) -> None:
        """The limits of a block: 1 to 32 warps, clusters of up to 16 blocks."""
        launch = self.data
        if not 1 <= launch.warps <= 32:
            raise VerifyException(f"a block has 1 to 32 warps, got {launch.warps}")
        if not 1 <= launch.cluster <= 16:
            raise VerifyException(f"a cluster has 1 to 16 blocks, got {launch.cluster}")
        if launch.blocks_per_sm < 1:
            raise VerifyException("expected at least one block per multiprocessor")
