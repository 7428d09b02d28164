"""Layouts and schedules of GPU kernels, by their own algebra."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.parser import Parser

from stepwell.dialects import tile
from stepwell.dialects.context import StepwellContext
from stepwell.dialects.fusion import KernelOp
from stepwell.dialects.layouts import (
    bank_conflicts,
    matrix_access,
    mma_on_warps,
)
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.schedules import ScheduleAttr
from stepwell.dialects.target import Target
from stepwell.errors import CompileError
from stepwell.lowering.pipelines import parse_passes, run_passes
from stepwell.lowering.tiling.assign_layouts import Assignment
from stepwell.lowering.tiling.gpu.block import balanced, power_of_two
from stepwell.lowering.tiling.gpu.blocked import blocked_tile
from stepwell.lowering.tiling.gpu.schedule_contraction import block_tiles
from stepwell.lowering.tiling.gpu.staging import staging_layout

QUICK = settings(max_examples=25, deadline=None)


@QUICK
@given(
    extents=st.lists(st.integers(1, 48), min_size=1, max_size=3),
    run=st.sampled_from([1, 2, 4, 8]),
    warps=st.sampled_from([1, 2, 4, 8]),
    data=st.data(),
)
def test_a_blocked_tile_holds_every_element(extents, run, warps, data) -> None:
    order = data.draw(st.permutations(range(len(extents))))
    layout = blocked_tile(tuple(extents), tuple(order), run, warps)
    assert layout.extents == tuple(extents)
    assert (layout.lanes, layout.warps) == (32, warps)
    flat = np.zeros((), np.int64)
    for coordinate, extent in zip(layout.coordinates, extents, strict=True):
        flat = flat * extent + coordinate
    assert set(flat.reshape(-1)) == set(range(int(np.prod(extents))))


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("name", ["mma_a", "mma_b"])
@pytest.mark.parametrize("extents", [(64, 32), (32, 64), (32, 128), (16, 16)])
def test_fragments_are_read_without_conflicts(name, extents, bits, dim) -> None:
    held = mma_on_warps(name, [*extents, bits], 1, 2)
    memory = staging_layout(extents, dim, bits, held, 1)
    assert memory.extents == extents
    # A matrix instruction reads rows of 16 bytes, which the swizzle spreads.
    is_matrix = matrix_access(held, memory, bits) is not None
    assert is_matrix or bank_conflicts(held, memory, bits) == 0
    assert is_matrix or bits == 32


@pytest.mark.parametrize("stages", [2, 3, 4])
def test_stages_stand_behind_one_another(stages: int) -> None:
    held = mma_on_warps("mma_b", [32, 64, 32], 2, 2)
    one = staging_layout((32, 64), 1, 32, held, 1)
    all_of_them = staging_layout((32, 64), 1, 32, held, stages)
    rows, columns = np.arange(32)[:, None], np.arange(64)[None, :]
    first = one.offset_of((rows, columns))
    assert sorted(first.reshape(-1)) == list(range(32 * 64))
    for stage in range(stages):
        here = all_of_them.offset_of((rows + 32 * stage, columns))
        assert np.array_equal(here, first + stage * 32 * 64)


@QUICK
@given(size=st.integers(1, 5000), most=st.sampled_from([1, 8, 64, 512]))
def test_extents_are_powers_of_two(size: int, most: int) -> None:
    extent = balanced(size, most)
    assert extent == power_of_two(extent)
    assert extent <= max(most, 1) or extent == power_of_two(size)
    assert size > most or extent >= size


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_every_tile_of_sums_is_made_of_fragments(bits: int) -> None:
    for one in block_tiles(bits):
        layout = mma_on_warps(
            "mma_c", [one.rows, one.columns], one.warp_rows, one.warp_columns
        )
        assert layout.warps == one.warps
        assert layout.registers * one.warps * 32 == one.rows * one.columns


PRODUCT = """
func.func @main(%x: tensor<64x96xf32>, %w: tensor<96x48xf32>) -> tensor<64x48xf32> {
  %0 = nn.matmul %x, %w : (tensor<64x96xf32>, tensor<96x48xf32>) -> tensor<64x48xf32>
  func.return %0 : tensor<64x48xf32>
}"""


def test_an_edited_schedule_is_followed() -> None:
    context = StepwellContext()
    register_dialects(context)
    module = Parser(context, PRODUCT).parse_module()
    Target.parse("sm_90a").attach(module)
    to_schedules = "form-kernels,decompose-kernels,fuse-generics,collapse-dims"
    run_passes(module, context, parse_passes(f"{to_schedules},assign-schedules"))
    (kernel,) = [op for op in module.walk() if isinstance(op, KernelOp)]
    assert isinstance(kernel.schedule, ScheduleAttr)
    edited = kernel.schedule.data.with_options(warps=2, warp_rows=1, blocks=3)
    kernel.schedule = ScheduleAttr(edited)
    run_passes(module, context, parse_passes("convert-fusion-to-tile,assign-layouts"))
    module.verify()
    (func,) = [op for op in module.ops if isinstance(op, tile.FuncOp)]
    launch = func.attributes[tile.LAUNCH_ATTRIBUTE]
    assert isinstance(launch, tile.LaunchAttr)
    assert (launch.data.warps, launch.data.blocks_per_sm) == (2, 3)


def test_a_tile_without_whole_fragments_is_refused() -> None:
    context = StepwellContext()
    register_dialects(context)
    module = Parser(
        context,
        """tile.func @f(%x: !tile.view<12x16xf16>, %w: !tile.view<16x8xf16>,
            %y: !tile.view<12x8xf32>) grid (%i = 1) {
          %a = tile.load %x[0, 0] over [0, 1] : !tile.tile<12x16xf16>
          %b = tile.load %w[0, 0] over [0, 1] : !tile.tile<16x8xf16>
          %z = tile.full 0.0 : !tile.tile<12x8xf32>
          %d = tile.dot %a, %b, %z : !tile.tile<12x8xf32>
          tile.store %d, %y[0, 0] over [0, 1]
          tile.return
        }""",
    ).parse_module()
    (func,) = module.ops
    assert isinstance(func, tile.FuncOp)
    with pytest.raises(CompileError, match="no tensor core multiplies tiles for 12x8"):
        Assignment(func).run()
