"""`#tile.layout`: a layout in the IR, by name where it has one.

```mlir
#tile.layout<wgmma_accumulator(256)>
#tile.layout<slice(wgmma_accumulator(256), 0)>
#tile.layout<mma_c(64, 64, warps = [2, 2])>
#tile.layout<swizzled(128, 64, 16, 128)>
#tile.layout<blocked([1, 8], [4, 8], [4, 1], repeat = [2, 1])>
#tile.layout<{register = [[0, 1]], lane = [[1, 0]]}, [2, 2], repeat = [1, 3]>
```

A name is an abbreviation: the attribute holds the bases, so two ways to write one
layout are one attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import permutations
from typing import TypeAlias

from xdsl.ir import Data
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from . import hardware
from .tiled import LANE, REGISTER, WARP, TileLayout

_Build: TypeAlias = Callable[[], TileLayout | None]

_NAMED: dict[str, Callable[..., TileLayout]] = {
    "wgmma_accumulator": hardware.wgmma_accumulator,
    "wgmma_a": hardware.wgmma_a,
    "mma_a": hardware.mma_a,
    "mma_b": hardware.mma_b,
    "mma_c": hardware.mma_c,
    "swizzled": hardware.swizzled,
    "vector_pieces": hardware.vector_pieces,
}


@irdl_attr_definition
class LayoutAttr(Data[TileLayout]):
    """Where the elements of a tile are held; see `stepwell.dialects.layouts`."""

    name = "tile.layout"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> TileLayout:
        """Read a name with its arguments, or the bases."""
        with parser.in_angle_brackets():
            try:
                return _parse_layout(parser)
            except ValueError as error:
                parser.raise_error(str(error))

    def print_parameter(self, printer: Printer) -> None:
        """Write what `parse_parameter` reads."""
        printer.print_string(f"<{describe(self.data)}>")


def _parse_layout(parser: AttrParser) -> TileLayout:
    if parser.parse_optional_punctuation("{") is not None:
        return _parse_bases(parser)
    name = parser.parse_keyword_in([*_NAMED, "blocked", "slice", "transpose"])
    parser.parse_punctuation("(")
    if name == "blocked":
        layout = _parse_blocked(parser)
    elif name == "slice":
        inner = _parse_layout(parser)
        parser.parse_punctuation(",")
        layout = inner.slice(parser.parse_integer())
    elif name == "transpose":
        layout = _parse_layout(parser).permute([1, 0])
    else:
        layout = _parse_named(parser, name)
    parser.parse_punctuation(")")
    return layout


def _parse_named(parser: AttrParser, name: str) -> TileLayout:
    arguments = [parser.parse_integer()]
    while parser.parse_optional_punctuation(",") is not None:
        if name in hardware.FRAGMENTS and parser.parse_optional_keyword("warps"):
            parser.parse_punctuation("=")
            down, across = _parse_ints(parser)
            return hardware.mma_on_warps(name, arguments, down, across)
        arguments.append(parser.parse_integer())
    return _NAMED[name](*arguments)


def _parse_ints(parser: AttrParser) -> list[int]:
    return parser.parse_comma_separated_list(
        parser.Delimiter.SQUARE, parser.parse_integer
    )


def _parse_blocked(parser: AttrParser) -> TileLayout:
    lists = [_parse_ints(parser)]
    for _ in range(2):
        parser.parse_punctuation(",")
        lists.append(_parse_ints(parser))
    options = _parse_options(parser)
    return hardware.blocked(
        *lists, repeat=options.get("repeat"), order=options.get("order")
    )


def _parse_options(parser: AttrParser) -> dict[str, list[int]]:
    options: dict[str, list[int]] = {}
    while parser.parse_optional_punctuation(",") is not None:
        key = parser.parse_keyword_in(["repeat", "order"])
        parser.parse_punctuation("=")
        options[key] = _parse_ints(parser)
    return options


def _parse_bases(parser: AttrParser) -> TileLayout:
    inputs: dict[str, Sequence[Sequence[int]]] = {}
    while parser.parse_optional_punctuation("}") is None:
        name = parser.parse_identifier()
        parser.parse_punctuation("=")
        inputs[name] = parser.parse_comma_separated_list(
            parser.Delimiter.SQUARE, lambda: _parse_ints(parser)
        )
        parser.parse_optional_punctuation(",")
    parser.parse_punctuation(",")
    sizes = _parse_ints(parser)
    options = _parse_options(parser)
    return TileLayout.of(inputs, sizes, options.get("repeat"), options.get("order", ()))


@lru_cache(maxsize=1024)
def describe(layout: TileLayout) -> str:
    """The text of a layout: its name if it has one, else its bases."""
    for text, candidate in _candidates(layout):
        if candidate() == layout:
            return text
    inputs = ", ".join(
        f"{name} = {[list(b) for b in bases]}" for name, bases in layout.base.inputs
    )
    text = f"{{{inputs}}}, {list(layout.base_extents)}"
    if any(r > 1 for r in layout.repeat):
        text += f", repeat = {list(layout.repeat)}"
    if layout.order:
        text += f", order = {list(layout.order)}"
    return text


def _candidates(layout: TileLayout) -> Iterator[tuple[str, _Build]]:
    calls = _memory_calls(layout) if layout.in_memory else _fragment_calls(layout)
    for name, arguments in calls:
        text = f"{name}({', '.join(map(str, arguments))})"
        build = partial(_try_named, name, arguments)
        yield from _with_slices(layout, text, build)
    if not layout.in_memory:
        for text, build in _warp_candidates(layout):
            yield from _with_slices(layout, text, build)
        yield from _blocked_candidates(layout)


def _with_slices(
    layout: TileLayout, text: str, build: _Build
) -> Iterator[tuple[str, _Build]]:
    yield text, build
    if layout.in_memory:
        yield f"transpose({text})", _mapped(build, lambda x: x.permute([1, 0]))
    else:
        yield f"slice({text}, 0)", _mapped(build, lambda x: x.slice(0))
        yield f"slice({text}, 1)", _mapped(build, lambda x: x.slice(1))


def _warp_candidates(layout: TileLayout) -> Iterator[tuple[str, _Build]]:
    """Fragments of `mma.sync` over a grid of warps; the least whole of a slice."""
    if len(layout.extents) != 2 or layout.lanes != 32 or layout.warps == 1:
        return
    for name, unit in hardware.FRAGMENTS.items():
        for bits in (16, 32, 8) if name != "mma_c" else (32,):
            for log in range(layout.warps.bit_length()):
                down, across = 1 << log, layout.warps >> log
                rows, columns = unit(bits)
                least = (
                    rows * (down if name != "mma_b" else 1),
                    columns * (across if name != "mma_a" else 1),
                )
                pairs = zip(layout.extents, least, strict=True)
                arguments = [n if n > 1 else m for n, m in pairs]
                arguments += [bits] if name != "mma_c" else []
                text = ", ".join(map(str, arguments))
                yield (
                    f"{name}({text}, warps = [{down}, {across}])",
                    partial(_try_on_warps, name, arguments, down, across),
                )


def _try_on_warps(
    name: str, arguments: Sequence[int], down: int, across: int
) -> TileLayout | None:
    try:
        return hardware.mma_on_warps(name, arguments, down, across)
    except ValueError:
        return None


def _try_named(name: str, arguments: Sequence[int]) -> TileLayout | None:
    try:
        return _NAMED[name](*arguments)
    except ValueError:
        return None


def _mapped(build: _Build, change: Callable[[TileLayout], TileLayout]) -> _Build:
    def run() -> TileLayout | None:
        built = build()
        try:
            return None if built is None else change(built)
        except ValueError:
            return None

    return run


def _memory_calls(layout: TileLayout) -> Iterator[tuple[str, tuple[int, ...]]]:
    if len(layout.extents) != 2:
        return
    for rows, columns, width in (
        (*layout.extents, layout.base_extents[1]),
        (*reversed(layout.extents), layout.base_extents[0]),
    ):
        for bits in (16, 8, 32):
            span = width * bits // 8
            if span in (16, 32, 64, 128):
                yield "swizzled", (rows, columns, bits, span)


def _fragment_calls(layout: TileLayout) -> Iterator[tuple[str, tuple[int, ...]]]:
    if len(layout.extents) != 2:
        return
    rows, columns = layout.extents
    if layout.warps == 4:
        yield "wgmma_accumulator", (max(columns, 8),)
        for bits in (16, 8, 32):
            yield "wgmma_a", (columns, bits)
    elif layout.warps == 1 and layout.lanes == 32:
        yield "mma_c", (max(rows, 16), max(columns, 8))
        for bits in (16, 8, 32):
            yield "mma_a", (rows, columns, bits)
            yield "mma_b", (rows, columns, bits)
    if REGISTER not in layout.base.bases and WARP not in layout.base.bases:
        yield "vector_pieces", (rows, columns, layout.lanes)


def _blocked_candidates(layout: TileLayout) -> Iterator[tuple[str, _Build]]:
    rank = len(layout.extents)
    if rank > 3 or set(layout.base.bases) != {REGISTER, LANE, WARP}:
        return
    parts: list[list[int]] = []
    for name in (REGISTER, LANE, WARP):
        grown = [1] * rank
        for basis in layout.base.bases[name]:
            for dim, value in enumerate(basis):
                grown[dim] *= 2 if value else 1
        parts.append(grown)
    default = list(reversed(range(rank)))
    orders = [default, *(list(p) for p in permutations(range(rank)))]
    for order in orders:
        text = ", ".join(map(str, parts))
        if any(r > 1 for r in layout.repeat):
            text += f", repeat = {list(layout.repeat)}"
        if order != default:
            text += f", order = {order}"

        def build(order: Sequence[int] = order) -> TileLayout | None:
            return hardware.blocked(
                parts[0], parts[1], parts[2], repeat=layout.repeat, order=order
            )

        yield f"blocked({text})", build
