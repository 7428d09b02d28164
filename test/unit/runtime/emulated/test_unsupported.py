"""What the emulator has not is an error that names the instruction and its line."""

from __future__ import annotations

import pytest

from stepwell.errors import UnsupportedError
from stepwell.runtime.devices.emulated import EmulatedDevice

KERNEL = """.version 8.7
.target sm_100a
.address_size 64
.visible .entry k()
{
  .reg .pred %p;
  .reg .b16 %h<4>;
  .reg .b32 %r<20>;
  .reg .f32 %f<9>;
  .reg .b64 %d<9>;
  INSTRUCTION;
  ret;
}
"""
TEN = "{%r0, %r1, %r2, %r3}, {%r4, %r5, %r6, %r7}, {%r8, %r9}, {%r0, %r1, %r2, %r3}"


@pytest.mark.parametrize(
    "text",
    [
        "add.rs.f32 %f1, %f2, %f3",
        "cvt.rs.f16x2.f32 %r1, %f1, %f2, %r3",
        "tex.1d.v4.f32.s32 {%f0, %f1, %f2, %f3}, [%d1, {%r1}]",
        "multimem.red.add.f32 [%d1], %f1",
        "mma.sync.aligned.m16n8k64.row.col.kind::mxf4nvf4.block_scale.scale_vec::2X"
        f".f32.e2m1.e2m1.f32.ue4m3 {TEN}, %r4, {{0, 0}}, %r5, {{0, 0}}",
        "tcgen05.fence::before_thread_sync",
        "cp.async.bulk.tensor.2d.tile::gather4.shared::cta.global"
        ".mbarrier::complete_tx::bytes [%r1], [%d1, {%r1, %r2, %r3, %r4, %r5}], [%r6]",
        "lop3.or.b32 %r1, %r2, %r3, %r4, 3",
        "mul24.mid.u32 %r1, %r2, %r3",
    ],
)
def test_error_names_the_instruction_and_its_line(text):
    module = EmulatedDevice().load(KERNEL.replace("INSTRUCTION", text))
    with pytest.raises(UnsupportedError) as error:
        module.launch("k", grid=1, block=32)
    assert text.split(" ")[0] in error.value.summary
    assert error.value.where == "PTX line 11"


def test_a_kernel_without_them_runs():
    text = KERNEL.replace("INSTRUCTION", "add.f32 %f1, %f2, %f3")
    assert EmulatedDevice().load(text).launch("k", grid=1, block=32) == 2
