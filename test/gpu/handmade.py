"""An engine of one kernel written by hand in PTX: `y = 2 (2 x + w) + w`, w = 3.

Two launches through slot 0 of the arena. The tests run it on the emulated device,
runtime_checks.py on a GPU.
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


def twice(x):
    """What the engine computes."""
    return 2 * (2 * x + 3) + 3
