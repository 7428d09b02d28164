"""Upsampling, and reads at computed positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.frontends.described import described
from stepwell.frontends.emit import rank_of
from stepwell.frontends.torch.call import Call
from stepwell.frontends.torch.registry import Build, Rules


def upsample(mode: str, *, count: int, antialias: bool = False) -> Build:
    """Interpolation to the result's size over the last `count` dims."""
    has_corners = mode in ("linear", "cubic")

    def build(call: Call, x: SSAValue, _: Any, *rest: Any) -> Operation:
        is_aligned = bool(rest[0]) if has_corners else False
        scales = _scales(rest[1:] if has_corners else rest, count)
        if scales is not None and not is_aligned:
            scales = [1.0] * (rank_of(x) - count) + scales
        return nn.ResizeOp(
            x,
            call.dims(),
            scales=None if is_aligned else scales,
            antialias=antialias,
            **_MODES[mode],
            coordinates="align_corners" if is_aligned else _COORDINATES[mode],
            **_ANTIALIASED.get(mode, {}) if antialias else {},
        )

    return described(build, f"One `nn.resize` ({mode}).")


_MODES: dict[str, dict[str, Any]] = {
    "nearest": {"mode": "nearest", "rounding": "floor"},
    "nearest_exact": {"mode": "nearest", "rounding": "round_prefer_ceil"},
    "linear": {"mode": "linear"},
    "cubic": {"mode": "cubic"},
}
_COORDINATES = {
    "nearest": "asymmetric",
    "nearest_exact": "half_pixel",
    "linear": "half_pixel",
    "cubic": "half_pixel",
}
_ANTIALIASED: dict[str, dict[str, Any]] = {
    "linear": {"exclude_outside": True},
    "cubic": {"exclude_outside": True, "cubic_coefficient": -0.5},
}


def _scales(given: Sequence[Any], count: int) -> list[float] | None:
    """The scale factors of the call: a list of them, or one argument each."""
    numbers = given[0] if len(given) == 1 and isinstance(given[0], list) else given
    if len(numbers) != count or any(each is None for each in numbers):
        return None
    return [float(each) for each in numbers]


def grid_sampler(
    call: Call, x: SSAValue, grid: SSAValue, mode: int, padding: int, align: bool
) -> Operation:
    """Reads at normalised positions."""
    return nn.GridSampleOp(
        x,
        grid,
        mode=("linear", "nearest", "cubic")[mode],
        padding=("zeros", "border", "reflection")[padding],
        align_corners=align,
    )


_KINDS = {
    "upsample_nearest1d": upsample("nearest", count=1),
    "upsample_nearest2d": upsample("nearest", count=2),
    "upsample_nearest3d": upsample("nearest", count=3),
    "_upsample_nearest_exact1d": upsample("nearest_exact", count=1),
    "_upsample_nearest_exact2d": upsample("nearest_exact", count=2),
    "_upsample_nearest_exact3d": upsample("nearest_exact", count=3),
    "upsample_linear1d": upsample("linear", count=1),
    "upsample_bilinear2d": upsample("linear", count=2),
    "upsample_trilinear3d": upsample("linear", count=3),
    "upsample_bicubic2d": upsample("cubic", count=2),
    "_upsample_bilinear2d_aa": upsample("linear", count=2, antialias=True),
    "_upsample_bicubic2d_aa": upsample("cubic", count=2, antialias=True),
}
RULES: Rules = {
    **{f"aten.{name}.default": build for name, build in _KINDS.items()},
    **{f"aten.{name}.vec": build for name, build in _KINDS.items()},
    "aten.grid_sampler.default": grid_sampler,
    "aten.grid_sampler_2d.default": grid_sampler,
    "aten.grid_sampler_3d.default": grid_sampler,
}
