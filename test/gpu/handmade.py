"""Engines of one kernel written by hand in PTX, for tests of the runtime alone.

`y = 2 (2 x + w) + w`, w = 3, in two launches through slot 0 of the arena; and a copy by
TMA. The tests run them on the emulated device, runtime_checks.py on a GPU.
"""

import numpy as np

from stepwell.runtime.engine_file import EngineFile, aligned
from stepwell.runtime.manifest import (
    Block,
    CodeInfo,
    Kernel,
    Launch,
    Manifest,
    Segment,
    SymbolRange,
    TargetInfo,
    TensorInfo,
    TensorMap,
    Value,
    Weight,
)

PTX = """
.version 8.0
.target {target}
.address_size 64
.visible .entry scale(.param .u64 x, .param .u64 w, .param .u64 y, .param .u32 n)
{
    .reg .pred %p;
    .reg .b32 %r<5>;
    .reg .f32 %f<4>;
    .reg .b64 %rd<6>;
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r3, %tid.x;
    mad.lo.s32 %r1, %r1, 64, %r3;
    ld.param.u32 %r4, [n];
    setp.ge.s32 %p, %r1, %r4;
    @%p ret;
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [w];
    ld.param.u64 %rd3, [y];
    mul.wide.s32 %rd4, %r1, 4;
    add.s64 %rd1, %rd1, %rd4;
    add.s64 %rd3, %rd3, %rd4;
    ld.global.f32 %f1, [%rd1];
    ld.global.f32 %f2, [%rd2];
    fma.rn.f32 %f3, %f1, 0f40000000, %f2;
    st.global.f32 [%rd3], %f3;
    ret;
}
"""

LAUNCHES = (Launch(0, (0, 1, 2), ("n",), "first"), Launch(0, (2, 1, 3), ("n",), "last"))


def make_gpu_engine(target="sm_90a", cubin=b"", largest=1 << 28, **changes):
    """The engine; `changes` are fields of its manifest."""
    fields = {
        "target": TargetInfo("cuda", target, "nvptx64-nvidia-cuda"),
        "inputs": (TensorInfo("x", 0),),
        "outputs": (TensorInfo("y", 3),),
        "symbols": {"n": SymbolRange(1, largest, 64)},
        "values": (
            Value("float32", ("n",), "input", 0),
            Value("float32", (1,), "weight", 0),
            Value("float32", ("n",), "slot", 0),
            Value("float32", ("n",), "output", 0),
        ),
        "slots": ("4 * n",),
        "weights": (Weight(0, 4, "w"),),
        "kernels": (Kernel("scale", 3, 1, ("ceildiv(m, 64)",), ("m",), threads=64),),
        "program": Block((Segment(LAUNCHES),)),
        "code": CodeInfo(f"kernels/{target}.cubin", f"kernels/{target}.ptx"),
        "name": "handmade",
    }
    files = {
        f"kernels/{target}.cubin": cubin,
        f"kernels/{target}.ptx": PTX.replace("{target}", target).encode(),
    }
    weights = aligned(np.array([3.0], np.float32).view(np.uint8))
    return EngineFile(Manifest(**{**fields, **changes}), weights, files)


# Each block copies 8 rows of 16 floats into shared memory by TMA, and stores them.
COPY = """
.version 8.0
.target sm_90a
.address_size 64
.visible .entry copy({parameters}, .param .u32 n)
{
    .reg .pred %p;
    .reg .b32 %r<8>;
    .reg .f32 %f<2>;
    .reg .b64 %rd<6>;
    .shared .align 128 .b8 box[512];
    .shared .align 8 .b8 bar[8];
    mov.u32 %r0, %ctaid.x;
    mov.u32 %r1, %tid.x;
    mul.lo.s32 %r2, %r0, 8;
    setp.ne.u32 %p, %r1, 0;
    mov.u64 %rd1, map;
    cvta.param.u64 %rd1, %rd1;
    @%p bra WAIT;
    mbarrier.init.shared.b64 [bar], 1;
    fence.mbarrier_init.release.cluster;
    mbarrier.arrive.expect_tx.shared.b64 _, [bar], 512;
    cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes
        [box], [%rd1, {0, %r2}], [bar];
WAIT:
    bar.sync 0;
LOOP:
    mbarrier.try_wait.parity.shared.b64 %p, [bar], 0;
    @!%p bra LOOP;
    shl.b32 %r3, %r1, 2;
    mov.u32 %r4, box;
    add.u32 %r4, %r4, %r3;
    ld.shared.f32 %f1, [%r4];
    mad.lo.s32 %r5, %r0, 128, %r1;
    ld.param.u64 %rd2, [y];
    mad.wide.s32 %rd3, %r5, 4, %rd2;
    st.global.f32 [%rd3], %f1;
    ret;
}
"""


COPY_PARAMETERS = (".param .align 64 .b8 map[128]", ".param .u64 y")


def make_copy_engine(target="sm_90a", map_at=0):
    """An engine that copies its input of rows of 16 floats through a tensor map, and
    pads the rows to a multiple of 8 with zeros.

    `map_at` is the number of the map among the kernel's parameters, 0 or 1: behind a
    pointer it lies elsewhere than in a C struct.
    """
    order = (0, 1) if map_at == 0 else (1, 0)
    one = TensorMap(map_at, "float32", (16, "rows"), (64,), (16, 8))
    kernel = Kernel("copy", 2, 1, ("ceildiv(rows, 8)",), ("rows",), 128, maps=(one,))
    made = make_gpu_engine(
        target,
        values=(
            Value("float32", ("n", 16), "input", 0),
            Value("float32", ("8 * ceildiv(n, 8)", 16), "output", 0),
        ),
        outputs=(TensorInfo("y", 1),),
        kernels=(kernel,),
        slots=(),
        weights=(),
        program=Block((Segment((Launch(0, order, ("n",)),)),)),
    )
    parameters = ", ".join(COPY_PARAMETERS[i] for i in order)
    ptx = COPY.replace("sm_90a", target).replace("{parameters}", parameters).encode()
    code = {**made.code, f"kernels/{target}.ptx": ptx}
    return EngineFile(made.manifest, np.zeros(0, np.uint8), code)


def twice(x):
    """What the engine computes."""
    return 2 * (2 * x + 3) + 3
