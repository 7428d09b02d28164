"""Kernels of a few lines on one block of 128 threads, to plant bugs in."""

from __future__ import annotations

import numpy as np

from stepwell.runtime.devices.emulated import EmulatedDevice, Statistics

HEAD = """
.version 8.0
.target sm_90a
.address_size 64
.global .align 4 .u32 ticket;
.visible .entry k(.param .u64 out)
{
  .reg .pred %p<4>;
  .reg .b32 %r<16>;
  .reg .b64 %rd<8>;
  .shared .align 16 .b32 s[128];
  .shared .align 8 .b64 bar;
  ld.param.u64 %rd1, [out];
  mov.u32 %r1, %tid.x;
  shl.b32 %r2, %r1, 2;
  mov.u32 %r3, s;
  add.u32 %r4, %r3, %r2;
  cvt.u64.u32 %rd2, %r2;
  add.u64 %rd3, %rd1, %rd2;
"""


def run(
    body: str,
    check: bool = True,
    blocks: int = 1,
    statistics: Statistics | None = None,
) -> np.ndarray:
    """The 128 integers of `out` for each block; %rd3 is a thread's place in the first.

    %r1 is the thread, %r2 four times it, %r4 its place in the shared array s.
    """
    device = EmulatedDevice(check=check)
    out = device.upload(np.zeros((blocks, 128), "i4"))
    device.load(HEAD + body + "\n ret;\n}").launch(
        "k", grid=blocks, block=128, args=[out], statistics=statistics
    )
    return device.download(out, (128,) if blocks == 1 else (blocks, 128), "i4")
