"""Assembling without a GPU: the cache, the assemblers, the errors."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stepwell.codegen.cuda import cubin
from stepwell.dialects.target import Target
from stepwell.errors import CompileError

PTX = """
.version 8.7
.target sm_80
.address_size 64
.visible .entry nothing()
{
    ret;
}
"""
SM_80 = Target.parse("sm_80")


@pytest.fixture
def no_ptxas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cubin, "ptxas", lambda: None)


def test_a_cubin_is_kept_by_its_content(tmp_path: Path, no_ptxas: None) -> None:
    first = cubin.assemble(PTX, SM_80, tmp_path)
    assert first.startswith(b"\x7fELF")
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(b"kept")
    assert cubin.assemble(PTX, SM_80, tmp_path) == b"kept"
    assert cubin.assemble(PTX, Target.parse("sm_90a"), tmp_path) != b"kept"


def test_a_cache_that_cannot_be_written_is_no_error(no_ptxas: None) -> None:
    assert cubin.assemble(PTX, SM_80, Path("/proc/nowhere")).startswith(b"\x7fELF")


def test_bad_ptx_is_an_error_with_the_assembler_s_words(
    tmp_path: Path, no_ptxas: None
) -> None:
    with pytest.raises(CompileError, match="expected PTX that assembles for sm_80"):
        cubin.assemble(PTX.replace("ret;", "nonsense;"), SM_80, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_says_what_to_install(
    tmp_path: Path, no_ptxas: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvjitlink", None)
    with pytest.raises(CompileError, match="pip install"):
        cubin.assemble(PTX, SM_80, tmp_path)


def test_an_assembler_that_is_too_old_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cubin, "ptxas", lambda: Path("/bin/false"))
    assert cubin.assemble(PTX, SM_80, tmp_path).startswith(b"\x7fELF")


BUSY = """
.version 8.7
.target sm_80
.address_size 64
.visible .entry busy(.param .u64 p)
.maxntid 256
.minnctapersm 4
{
.reg .b64 %rd<3>; .reg .f32 %f<100>;
ld.param.u64 %rd1, [p];
cvta.to.global.u64 %rd2, %rd1;
LOADS
bar.sync 0;
STORES
ret;
}
"""


def busy(live: int) -> str:
    """A kernel in which `live` values wait at a barrier."""
    loads = [f"ld.global.f32 %f{n}, [%rd2 + {1024 * n}];" for n in range(live)]
    stores = [f"st.global.f32 [%rd2 + {1024 * n + 4}], %f{n};" for n in range(live)]
    return BUSY.replace("LOADS", "\n".join(loads)).replace("STORES", "\n".join(stores))


def test_a_kernel_that_would_spill_runs_in_fewer_blocks(no_ptxas: None) -> None:
    _, log = cubin.assemble_with_log(busy(80), SM_80)
    taken = cubin.resources(log)["busy"]
    assert taken.spills == 0 and 65536 // (3 * 256) < taken.registers <= 65536 // 512


def test_only_kernels_that_spill_give_up_blocks() -> None:
    ptx = busy(1) + busy(1).replace(" busy(", " other(")
    relaxed = cubin.with_fewer_blocks(ptx, {"other"})
    assert [n.split()[0] for n in relaxed.split(".minnctapersm")[1:]] == ["4", "3"]
    least = relaxed.replace(".minnctapersm 3", ".minnctapersm 1")
    assert cubin.with_fewer_blocks(least, {"other"}) == least
    moving = busy(1).replace("ret;", "setmaxnreg.dec.sync.aligned.u32 24; ret;")
    assert cubin.with_fewer_blocks(moving, {"busy"}) == moving


def expect_resources() -> None:
    code, log = cubin.assemble_with_log(PTX, SM_80)
    assert code.startswith(b"\x7fELF")
    taken = cubin.resources(log)["nothing"]
    assert taken.registers > 0 and taken.spills == taken.stack == 0


def test_resources_of_a_kernel_by_nvjitlink(no_ptxas: None) -> None:
    expect_resources()


@pytest.mark.skipif(cubin.ptxas() is None, reason="needs ptxas")
def test_resources_of_a_kernel_by_ptxas() -> None:
    expect_resources()
