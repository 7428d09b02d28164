"""The hand-written Hopper kernels, from `tile` to PTX, assembled if there is ptxas."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from gpu_programs import Program
from hypothesis import given
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

from stepwell.codegen.cuda.bits import linear_of, steps_of
from stepwell.codegen.cuda.convert_nvvm_to_llvm import ConvertNvvmToLlvmPass
from stepwell.codegen.cuda.convert_tile_to_nvvm import (
    SHARED_BYTES,
    ConvertTileToNvvmPass,
)
from stepwell.codegen.cuda.ptx import emit_ptx
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.target import Target
from stepwell.errors import CompileError

PROGRAMS = Path(__file__).parents[3] / "filecheck/tile/programs"


@lru_cache
def compiled(name: str) -> tuple[str, int]:
    """PTX and shared bytes of the Hopper half of a program."""
    context = Context()
    register_dialects(context)
    whole = Parser(context, (PROGRAMS / f"{name}.mlir").read_text()).parse_module()
    nested = [m for m in whole.ops if isinstance(m, ModuleOp)]
    module = nested[0] if nested else whole
    if nested:
        module.detach()
    ConvertTileToNvvmPass().apply(context, module)
    module.verify()
    sizes = [op.attributes.get(SHARED_BYTES) for op in module.ops]
    ConvertNvvmToLlvmPass().apply(context, module)
    module.verify()
    size = next(s for s in sizes if s is not None)
    return emit_ptx(module, Target.parse("sm_90a")), size.value.data  # type: ignore


@pytest.mark.parametrize(
    ("name", "products", "size"),
    [
        ("gemm", "m64n256k16.f32.f16.f16", 4 * 49152 + 2 * 2 * 8192 + 64),
        ("conv", "m64n128k16.f32.f16.f16", 5 * 32768 + 2 * 2 * 8192 + 80),
        ("pipeline", "m64n128k16.f32.f16.f16", 3 * 24576 + 48),
    ],
)
def test_kernel_has_the_form_of_a_pipelined_product(
    name: str, products: str, size: int
) -> None:
    ptx, shared = compiled(name)
    assert shared == size
    assert ptx.count(f"wgmma.mma_async.sync.aligned.{products}") == 4
    assert ptx.count("mbarrier.try_wait.parity") == 2
    assert ptx.count("cp.async.bulk.tensor.") >= 2
    assert ptx.count("setmaxnreg.") == 2
    assert "stmatrix" in ptx or name == "pipeline"


def test_convolution_walks_its_window_by_im2col() -> None:
    ptx, _ = compiled("conv")
    assert "4d.shared::cluster.global.im2col.mbarrier" in ptx


def test_narrowing_is_one_conversion_for_two() -> None:
    ptx, _ = compiled("gemm")
    assert ptx.count("cvt.rn.f16x2.f32") == 64
    assert ptx.count("stmatrix.sync.aligned.m8n8.x4") == 16
    assert "cvt.rn.f16.f32" not in ptx


@pytest.mark.skipif(shutil.which("ptxas") is None, reason="needs ptxas")
@pytest.mark.parametrize("name", ["gemm", "conv", "pipeline", "attention"])
def test_kernel_assembles_without_spills(name: str, tmp_path: Path) -> None:
    source = tmp_path / "kernel.ptx"
    source.write_text(compiled(name)[0])
    done = subprocess.run(
        ["ptxas", "-arch=sm_90a", "-v", str(source), "-o", str(tmp_path / "cubin")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "0 bytes spill stores, 0 bytes spill loads" in done.stderr
    assert "C75" not in done.stderr, "products would be serialised"
    registers = re.search(r"Used (\d+) registers", done.stderr)
    assert registers and int(registers[1]) <= 255


def test_what_has_no_translation_says_so() -> None:
    text = """
    tile.func @k(%x: !tile.view<1xf32>) grid (%i = 1)
        attributes {tile.launch = #tile.launch<warps = 1>} {
      %a = tile.full 0.0 : !tile.tile<8x8xf32>
      %b = tile.dot %a, %a, %a : !tile.tile<8x8xf32>
      tile.return
    }"""
    with pytest.raises(CompileError, match="expected a tile with a layout"):
        Program(text)


@given(st.integers(0, 255), st.lists(st.integers(0, 255), min_size=1, max_size=5))
def test_linear_functions_are_found_from_their_tables(
    start: int, bases: list[int]
) -> None:
    index = np.arange(1 << len(bases))
    table = np.full(index.shape, start)
    for bit, basis in enumerate(bases):
        table = table ^ ((index >> bit & 1) * basis)
    found = linear_of(table)
    assert (found.start, found.bases) == (start, tuple(bases))
    steps = steps_of(np.stack([table, table ^ 256, table + 512]))
    assert steps.xors[1] == 256 and steps.adds[2] == 512


def test_a_table_that_is_not_linear_is_refused() -> None:
    with pytest.raises(ValueError, match="linear in the thread's index"):
        linear_of(np.array([0, 1, 2, 4]))
