"""What `compile_cuda` tells of its kernels."""

from __future__ import annotations

import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

from stepwell.codegen.cuda.objects import compile_ptx
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.target import Target
from stepwell.errors import CompileError

KERNEL = """
tile.func @"{name}"(%x: !tile.view<{size}xf32>) symbols [n] grid (%i = n, %j = 2)
    attributes {{tile.launch = #tile.launch<warps = 2>}} {{
  %a = tile.load %x[0] over [0]
      : !tile.tile<64xf32, #tile.layout<blocked([1], [32], [2])>>
  tile.store %a, %x[0] over [0]
  tile.return
}} loc("node {name}")
"""


def module_of(text: str) -> ModuleOp:
    context = Context()
    register_dialects(context)
    return Parser(context, text).parse_module()


def test_names_that_ptx_cannot_tell_apart_are_numbered() -> None:
    module = module_of("".join(KERNEL.format(name=n, size=64) for n in ("a.b", "a_b")))
    ptx, kernels = compile_ptx(module, Target.parse("sm_80"))
    assert [kernels[n].symbol for n in ("a.b", "a_b")] == ["a_b", "a_b_2"]
    assert ptx.count(".version") == 1 and ptx.count(".visible .entry") == 2
    assert "// node: node a.b\n.visible .entry a_b(" in ptx
    one = kernels["a.b"]
    assert (one.warps, one.cluster, one.shared_bytes) == (2, 1, 0)
    assert one.params == ("ptr", "i32") and str(one.grid) == "2 * n"


def test_a_tensor_that_needs_wider_indices_is_refused() -> None:
    module = module_of(KERNEL.format(name="big", size=1 << 31))
    with pytest.raises(CompileError, match="less than 2147483648 elements"):
        compile_ptx(module, Target.parse("sm_80"))


def test_a_kernel_of_the_upper_half_is_refused() -> None:
    module = module_of("""
    tile.func @k(%x: !tile.view<4xf32>) grid (%i = 1) { tile.return }""")
    with pytest.raises(CompileError, match="expected a kernel of the lower half"):
        compile_ptx(module, Target.parse("sm_80"))
