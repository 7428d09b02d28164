"""Which LLVM intrinsics the NVPTX back end selects: the guard before LLVM sees them.

An unknown `llvm.nvvm` name would become a call of an external function, and a maths
intrinsic without an instruction ends the process. All names here were emitted and
assembled with LLVM 22.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_F32 = r"\.(v\d+)?f32"
_FLOATS = r"\.(v\d+)?(f16|bf16|f32|f64)"
_INTEGERS = r"\.(v\d+)?i(8|16|32|64)"

_MATHS: Mapping[str, str] = {
    "llvm.exp2": _F32,
    **dict.fromkeys(("llvm.fma", "llvm.fabs", "llvm.copysign", "llvm.sqrt"), _FLOATS),
    **dict.fromkeys(("llvm.minnum", "llvm.maxnum"), _FLOATS),
    **dict.fromkeys(("llvm.minimum", "llvm.maximum"), _FLOATS),
    **dict.fromkeys(
        ("llvm.floor", "llvm.ceil", "llvm.trunc", "llvm.roundeven"), _FLOATS
    ),
    **dict.fromkeys(("llvm.smin", "llvm.smax", "llvm.umin", "llvm.umax"), _INTEGERS),
    **dict.fromkeys(("llvm.abs", "llvm.ctpop", "llvm.ctlz", "llvm.cttz"), _INTEGERS),
    **dict.fromkeys(
        ("llvm.fptosi.sat", "llvm.fptoui.sat"), r"\.(v\d+)?i(32|64)" + _FLOATS
    ),
}


def _threads() -> Iterator[str]:
    for name in ("tid.x", "ntid.x", "ctaid.x", "ctaid.y", "ctaid.z", "nctaid.x"):
        yield f"read.ptx.sreg.{name}"
    for name in ("laneid", "clusterid.x", "cluster.ctarank", "cluster.nctarank"):
        yield f"read.ptx.sreg.{name}"
    for kind in ("bfly", "up", "down", "idx"):
        yield from (f"shfl.sync.{kind}.i32", f"shfl.sync.{kind}.f32")
    for kind in ("add", "min", "max", "umin", "umax", "and", "or", "xor"):
        yield f"redux.sync.{kind}"
    yield from ("elect.sync", "bar.warp.sync")


def _barriers() -> Iterator[str]:
    yield "barrier.cta.sync.aligned.all"
    yield "barrier.cta.sync.aligned.count"
    yield "barrier.cta.arrive.aligned.count"
    for aligned in ("", ".aligned"):
        yield from (
            f"barrier.cluster.arrive{aligned}",
            f"barrier.cluster.arrive.relaxed{aligned}",
            f"barrier.cluster.wait{aligned}",
        )
    yield "mbarrier.init.shared"
    yield "mbarrier.arrive.expect.tx.relaxed.scope.cta.space.cta"
    yield from ("fence.mbarrier_init.release.cluster", "fence.proxy.async.shared_cta")
    yield from ("griddepcontrol.wait", "griddepcontrol.launch.dependents")
    yield from ("setmaxnreg.inc.sync.aligned.u32", "setmaxnreg.dec.sync.aligned.u32")
    yield "mapa.shared.cluster"


def _copies() -> Iterator[str]:
    for cache, size in (("ca", 4), ("ca", 8), ("ca", 16), ("cg", 16)):
        yield f"cp.async.{cache}.shared.global.{size}"
        yield f"cp.async.{cache}.shared.global.{size}.s"
    yield from ("cp.async.commit.group", "cp.async.wait.group")
    for rank in range(1, 6):
        yield f"cp.async.bulk.tensor.g2s.tile.{rank}d"
        yield f"cp.async.bulk.tensor.s2g.tile.{rank}d"
        if rank >= 3:
            yield f"cp.async.bulk.tensor.g2s.im2col.{rank}d"
    yield "cp.async.bulk.commit.group"
    yield from ("cp.async.bulk.wait.group", "cp.async.bulk.wait.group.read")


def _matrices() -> Iterator[str]:
    for kind in ("ldmatrix", "stmatrix"):
        for count in (1, 2, 4):
            yield f"{kind}.sync.aligned.m8n8.x{count}.b16.p3"
            yield f"{kind}.sync.aligned.m8n8.x{count}.trans.b16.p3"
    for shape, kind in (
        ("m16n8k16", "f32.f32"),
        ("m16n8k16", "f16.f16"),
        ("m16n8k16", "bf16"),
        ("m16n8k8", "tf32"),
        ("m16n8k32", "s8"),
        ("m16n8k32", "u8"),
        ("m16n8k32", "s8.u8"),
        ("m16n8k32", "u8.s8"),
    ):
        yield f"mma.{shape}.row.col.{kind}"
    yield from ("wgmma.fence.sync.aligned", "wgmma.commit_group.sync.aligned")
    yield "wgmma.wait_group.sync.aligned"


def _scalars() -> Iterator[str]:
    yield from ("ex2.approx.ftz.f32", "lg2.approx.ftz.f32", "tanh.approx.f32")
    yield from ("rcp.approx.ftz.f", "rsqrt.approx.ftz.f", "rsqrt.approx.f", "div.rn.f")
    yield from ("ff2f16x2.rn", "ff2bf16x2.rn")


CUDA_INTRINSICS: Mapping[str, str] = {
    **_MATHS,
    **{
        f"llvm.nvvm.{name}": ""
        for family in (_threads, _barriers, _copies, _matrices, _scalars)
        for name in family()
    },
}
"""Names, each with a pattern of its type suffixes (see `codegen.intrinsics`)."""
