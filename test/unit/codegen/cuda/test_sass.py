"""Planted kernels: each has one sin, and a twin without it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from stepwell.codegen.cuda.cubin import assemble_with_log, nvidia_tool, ptxas
from stepwell.codegen.cuda.sass import SINS, Sass, disassemble, sins_of
from stepwell.dialects.target import Target
from stepwell.errors import CompileError

needs_disassembler = pytest.mark.skipif(
    nvidia_tool("nvdisasm") is None or ptxas() is None,
    reason="needs nvdisasm and ptxas: pip install nvidia-cuda-nvdisasm",
)

KERNEL = """
.version 8.7
.target sm_90a
.address_size 64
.visible .entry planted(.param .u64 p, .param .u32 n) .maxntid 128 {
.local .align 4 .b8 array[64];
.reg .b64 %rd<8>; .reg .b32 %r<20>; .reg .f32 %f<8>; .reg .pred %p<3>;
ld.param.u64 %rd1, [p];
ld.param.u32 %r9, [n];
cvta.to.global.u64 %rd2, %rd1;
BODY
ret;
}
"""

LOCAL = """
mul.wide.u32 %rd3, %r9, 4;
mov.u64 %rd4, array;
add.u64 %rd4, %rd4, %rd3;
ld.global.u32 %r2, [%rd2];
st.local.u32 [INDEX], %r2;
ld.local.u32 %r3, [array + 8];
st.global.u32 [%rd2], %r3;
"""

PRODUCTS = """
mov.f32 %f0, 0f00000000; mov.f32 %f1, %f0; mov.f32 %f2, %f0; mov.f32 %f3, %f0;
LOOP:
ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%rd2];
ld.global.v2.b32 {%r5, %r6}, [%rd2 + 16];
mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32
  {%f0, %f1, %f2, %f3}, {%r1, %r2, %r3, %r4}, {%r5, %r6}, {%f0, %f1, %f2, %f3};
FENCE
add.u64 %rd2, %rd2, 32;
sub.u32 %r9, %r9, 1;
setp.ne.u32 %p1, %r9, 0;
@%p1 bra LOOP;
st.global.v4.f32 [%rd2], {%f0, %f1, %f2, %f3};
"""

WGMMA = """
mov.f32 %f0, 0f00000000; mov.f32 %f1, %f0; mov.f32 %f2, %f0; mov.f32 %f3, %f0;
mov.u64 %rd3, 0x4000004000010000;
mov.u64 %rd4, 0x4000004000010080;
wgmma.fence.sync.aligned;
wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16
  {%f0, %f1, %f2, %f3}, %rd3, %rd4, 1, 1, 1, 0, 0;
BETWEEN
wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16
  {%f0, %f1, %f2, %f3}, %rd3, %rd4, 1, 1, 1, 0, 0;
wgmma.commit_group.sync.aligned;
wgmma.wait_group.sync.aligned 0;
st.global.v4.f32 [%rd2], {%f0, %f1, %f2, %f3};
"""

ROOT = """
ld.global.f32 %f1, [%rd2];
sqrt.ROUND.f32 %f3, %f1;
st.global.f32 [%rd2], %f3;
"""

READ = "ld.SPACEu32 %r2, [ADDRESS]; add.u32 %r2, %r2, 1; st.SPACEu32 [ADDRESS], %r2;"

PLANTED: Mapping[str, tuple[str, str]] = {
    "local memory": (
        LOCAL.replace("INDEX", "%rd4"),
        LOCAL.replace("INDEX", "array + 8"),
    ),
    "fence among products": (
        PRODUCTS.replace("FENCE", "fence.acq_rel.gpu;"),
        PRODUCTS.replace("FENCE", "fence.acq_rel.cta;"),
    ),
    "serialized wgmma": (
        WGMMA.replace("BETWEEN", "add.f32 %f1, %f1, 0f3F800000;"),
        WGMMA.replace("BETWEEN", ""),
    ),
    "subroutine": (
        ROOT.replace("ROUND", "rn"),
        ROOT.replace("ROUND", "approx"),
    ),
    "generic access": (
        READ.replace("SPACE", "").replace("ADDRESS", "%rd1"),
        READ.replace("SPACE", "global.").replace("ADDRESS", "%rd2"),
    ),
}
"""For each sin a body that has it and one that does not."""

INNOCENT: Mapping[str, tuple[str, str]] = {
    "a fence behind the loop": (
        "MEMBAR",
        PRODUCTS.replace("FENCE", "") + "fence.acq_rel.gpu;\nst.global.u32 [%rd2], 1;",
    ),
    "an exact quotient": (
        "CALL",
        ROOT.replace("sqrt.ROUND.f32 %f3", "div.rn.f32 %f3, %f1"),
    ),
}
"""An instruction that some sin has, and a body where it is none."""


def machine_code(body: str) -> Sass:
    ptx = KERNEL.replace("BODY", body)
    return disassemble(*assemble_with_log(ptx, Target.parse("sm_90a")))["planted"]


def test_every_sin_is_planted() -> None:
    assert [sin.name for sin in SINS] == list(PLANTED)


@needs_disassembler
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_sin_is_found_and_its_twin_is_clean(name: str) -> None:
    guilty, clean = PLANTED[name]
    assert set(sins_of(machine_code(guilty))) == {name}
    assert not sins_of(machine_code(clean))


@needs_disassembler
@pytest.mark.parametrize(("suspect", "body"), INNOCENT.values(), ids=INNOCENT)
def test_what_only_looks_like_a_sin_is_none(suspect: str, body: str) -> None:
    code = machine_code(body)
    assert any(one.starts(suspect) for one in code.instructions)
    assert not sins_of(code)


@needs_disassembler
def test_machine_code_says_what_it_multiplies_on() -> None:
    assert machine_code(PLANTED["serialized wgmma"][1]).on_tensor_cores
    assert machine_code(PLANTED["fence among products"][1]).on_tensor_cores
    assert not machine_code(PLANTED["subroutine"][1]).on_tensor_cores


@needs_disassembler
def test_what_is_no_cubin_is_an_error() -> None:
    with pytest.raises(CompileError, match="expected a cubin that nvdisasm can read"):
        disassemble(b"nothing")


def test_a_missing_disassembler_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stepwell.codegen.cuda.sass.nvidia_tool", lambda _: None)
    with pytest.raises(CompileError, match="nvidia-cuda-nvdisasm"):
        disassemble(b"")
