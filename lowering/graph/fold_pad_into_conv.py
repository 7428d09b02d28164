"""Fold zero padding into the windows that read it."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from stepwell.dialects import nn
from stepwell.dialects.shapes import Dim, is_zero_or_more
from stepwell.lowering.rewriting import Outcome, Rewriter, apply_patterns, pattern

from .canonical.elementwise import is_never_negative
from .matching import producer, rank_of

Window = nn.ConvOp | nn.AvgPoolOp | nn.MaxPoolOp


@pattern(nn.ConvOp, nn.AvgPoolOp, nn.MaxPoolOp)
def fold_pad_into_conv(op: Window, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.conv (nn.pad %x, 0 {low = [0, 0, 1, 1], ..}), %w
    ->   nn.conv %x, %w {pads += [1, 1, ..]}
    ```
    Into an average pool only if padding counts; into a max pool only if the padding
    cannot win: it is -inf, or 0 below values that are never negative.
    """
    pad = producer(op.x, nn.PadOp)
    if pad is None:
        return None
    if pad.value("mode") != "constant":
        return "the padding is not constant"
    fill = 0.0 if pad.fill is None else rewriter.scalar(pad.fill)
    if (reason := why_not(op, pad, fill, rewriter)) is not None:
        return reason
    spatial = slice(1, -1) if op.value("channels_last") else slice(2, None)
    low, high = pad.value("low"), pad.value("high")
    outside = [*low[: spatial.start], *high[: spatial.start]]
    outside += [low[-1], high[-1]] if op.value("channels_last") else []
    if any(dim != 0 for dim in outside):
        return "batch or channels are padded too"
    more = [*low[spatial], *high[spatial]]
    if not all(is_zero_or_more(dim) for dim in more):
        return "the padding may be negative"
    pads: list[Dim] = [a + b for a, b in zip(op.value("pads"), more, strict=True)]
    rewriter.absorb(pad)
    rewriter.replace_with(rebuilt(op, pad, pads))
    return None


def why_not(
    op: Window, pad: nn.PadOp, fill: float | None, rewriter: Rewriter
) -> str | None:
    """Why this window cannot take this padding, if it cannot."""
    if fill is None:
        return "the padding is not one known number"
    if isinstance(op, nn.MaxPoolOp):
        zero_loses = fill == 0 and is_never_negative(pad.operand, rewriter)
        if fill != float("-inf") and not (zero_loses and windows_overlap(op, pad)):
            return "the padding could be the maximum"
        return None
    if fill != 0:
        return "the padding is not zero"
    if isinstance(op, nn.AvgPoolOp):
        own = any(dim != 0 for dim in op.value("pads"))
        if own and not op.value("count_include_pad"):
            return "only one of the two paddings counts"
        if op.value("ceil_mode"):
            return "a window that hangs over counts differently"
    return None


def windows_overlap(op: nn.MaxPoolOp, pad: nn.PadOp) -> bool:
    """Whether each window holds an element that is no padding."""
    spatial = slice(1, -1) if op.value("channels_last") else slice(2, None)
    count = rank_of(op.x) - 2
    if op.value("ceil_mode") or any(step != 1 for step in op.value("dilations")):
        return False
    for i, kernel in enumerate(op.value("kernel")):
        for side, pads in ((0, pad.value("low")), (count, pad.value("high"))):
            if not is_zero_or_more(
                kernel - 1 - pads[spatial][i] - op.value("pads")[i + side]
            ):
                return False
    return True


def rebuilt(op: Window, pad: nn.PadOp, pads: list[Dim]) -> Window:
    """`op` on the unpadded value."""
    same = {name: op.value(name) for name in op.properties}
    same["pads"] = pads
    if isinstance(op, nn.ConvOp):
        return nn.ConvOp(pad.operand, op.w, op.bias, **same)
    if isinstance(op, nn.AvgPoolOp):
        same["count_include_pad"] = True
    return type(op)(pad.operand, **same)


@dataclass(frozen=True)
class FoldPadIntoConvPass(ModulePass):
    """Zero padding before convolutions and pools, folded into their own padding."""

    name = "fold-pad-into-conv"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Fold every pad whose reader can take it; another reader keeps the pad."""
        apply_patterns(op, [fold_pad_into_conv], ctx)
