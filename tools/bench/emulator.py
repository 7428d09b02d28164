"""Speed of the PTX emulator, and what its checker costs, in seconds of one core.

Usage: python tools/bench/emulator.py [--write]

Each kernel runs once to be translated, then three times; the shortest time counts, in
CPU time of the process with one thread for NumPy's products. A product of matrices is
checked against NumPy. `--write` keeps docs/benchmarks/emulator.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np

from stepwell.runtime.devices.emulated import EmulatedDevice
from stepwell.tools.bench.emulated_gemm import EmulatedGemm
from stepwell.tools.bench.gemm_program import GemmConfig

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "emulator.md"
HEAD = ".version 8.7\n.target sm_90a\n.address_size 64\n"
INDEX = """
    .reg .pred %p<4>;
    .reg .b32 %r<16>;
    .reg .f32 %f<16>;
    .reg .b64 %rd<16>;
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %ntid.x;
    mov.u32 %r3, %tid.x;
    mad.lo.s32 %r4, %r1, %r2, %r3;
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
    mul.wide.u32 %rd3, %r4, 4;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    ld.global.f32 %f1, [%rd4];
"""
SIGNATURE = ".visible .entry k(.param .u64 x, .param .u64 y)\n{"
STREAM = f"""{HEAD}{SIGNATURE}{INDEX}
    ld.global.f32 %f2, [%rd5];
    fma.rn.f32 %f3, %f1, 0f40000000, %f2;
    st.global.f32 [%rd5], %f3;
    ret;
}}"""
LOOP = f"""{HEAD}{SIGNATURE}{INDEX}
    mov.u32 %r5, 0;
    mov.f32 %f3, 0f00000000;
again:
    fma.rn.f32 %f3, %f3, %f1, 0f3F800000;
    add.f32 %f4, %f3, %f1;
    max.f32 %f3, %f4, 0f00000000;
    min.f32 %f3, %f3, 0f40000000;
    add.s32 %r5, %r5, 1;
    setp.lt.s32 %p1, %r5, 100;
    @%p1 bra again;
    st.global.f32 [%rd5], %f3;
    ret;
}}"""
TREE = f"""{HEAD}{SIGNATURE}
    .shared .align 4 .f32 s[256];
{INDEX}
    mov.u32 %r6, s;
    shl.b32 %r7, %r3, 2;
    add.u32 %r8, %r6, %r7;
    st.shared.f32 [%r8], %f1;
    mov.u32 %r9, 128;
again:
    bar.sync 0;
    setp.ge.u32 %p1, %r3, %r9;
    @%p1 bra skip;
    shl.b32 %r10, %r9, 2;
    add.u32 %r11, %r8, %r10;
    ld.shared.f32 %f2, [%r8];
    ld.shared.f32 %f3, [%r11];
    add.f32 %f2, %f2, %f3;
    st.shared.f32 [%r8], %f2;
skip:
    shr.u32 %r9, %r9, 1;
    setp.ne.u32 %p2, %r9, 0;
    @%p2 bra again;
    bar.sync 0;
    ld.shared.f32 %f4, [s];
    st.global.f32 [%rd5], %f4;
    ret;
}}"""


@dataclass(frozen=True)
class Case:
    """A kernel: `start` loads it and gives what launches it."""

    name: str
    start: Callable[[EmulatedDevice], Callable[[], int]]


def plain(
    ptx: str, blocks: int, threads: int = 256
) -> Callable[[EmulatedDevice], Callable[[], int]]:
    """A kernel over two arrays of floats."""

    def start(device: EmulatedDevice) -> Callable[[], int]:
        count = blocks * threads
        values = np.linspace(0, 1, count, dtype=np.float32)
        arguments = [device.upload(values), device.upload(values)]
        module = device.load(ptx)
        return lambda: module.launch("k", grid=blocks, block=threads, args=arguments)

    return start


def gemm(config: GemmConfig) -> Callable[[EmulatedDevice], Callable[[], int]]:
    """A Hopper GEMM: TMA, mbarriers, wgmma, warp specialisation."""
    return partial(EmulatedGemm(config).load, atol=4e-3)


def cases() -> list[Case]:
    """The kernels of the table."""
    one_block = GemmConfig(128, 256, 512, groups=2, columns=256, stages=3)
    grid = GemmConfig(512, 256, 256, groups=2, columns=128, stages=3)
    small = GemmConfig(128, 64, 128, groups=2, columns=64, stages=2)
    return [
        Case("stream: y = 2x + y, 512 blocks", plain(STREAM, 512)),
        Case("loop of 100 x 4 float operations, 64 blocks", plain(LOOP, 64)),
        Case("tree in shared memory, 128 blocks", plain(TREE, 128)),
        Case("wgmma GEMM 128x256x512, one block", gemm(one_block)),
        Case("wgmma GEMM 512x256x256, 8 blocks", gemm(grid)),
        Case("wgmma GEMM 128x64x128, one block", gemm(small)),
    ]


def measure(case: Case, check: bool) -> tuple[int, float]:
    """Warp instructions, and the shortest of three times in seconds."""
    launch = case.start(EmulatedDevice(check=check))
    launch()
    best, count = float("inf"), 0
    for _ in range(3):
        started = time.process_time()
        count = launch()
        best = min(best, time.process_time() - started)
    return count, best


def table(chosen: Sequence[Case]) -> str:
    """Markdown; prints each row when it is known."""
    lines = [
        "| kernel | warp instructions | s | a second | s, checked | a second | cost |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    for case in chosen:
        count, alone = measure(case, False)
        _, checked = measure(case, True)
        lines.append(
            f"| {case.name} | {count:,} | {alone:.3f} | {count / alone:,.0f} "
            f"| {checked:.3f} | {count / checked:,.0f} | {checked / alone:.1f}x |"
        )
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; keep it with `--write`."""
    given = sys.argv[1:] if arguments is None else arguments
    text = table(cases())
    if "--write" in given:
        head = "# Speed of the PTX emulator"
        command = (
            f"Command: `python tools/bench/emulator.py`, {date.today()}; one core."
        )
        PAGE.write_text("\n\n".join([head, command, text]) + "\n")


if __name__ == "__main__":
    main()
