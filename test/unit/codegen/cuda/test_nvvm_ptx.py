"""Each nvvm op, as the PTX that LLVM makes of it; assembled where there is a ptxas."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from xdsl.context import Context
from xdsl.parser import Parser

from stepwell.codegen.cuda.convert_nvvm_to_llvm import RULES, ConvertNvvmToLlvmPass
from stepwell.codegen.cuda.ptx import emit_ptx
from stepwell.dialects.nvvm import NVVM
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.target import Target
from stepwell.errors import CompileError

ARGUMENTS = (
    "%s: !llvm.ptr<3>, %g: !llvm.ptr<1>, %c: !llvm.ptr<7>, %m: !llvm.ptr, %n: i32, "
    "%x: f32, %o: i16, %d: i64, %p: i1, %a: vector<2xf16>, "
    "%acc: !llvm.struct<(f32, f32, f32, f32)>"
)
D4 = "!llvm.struct<(f32, f32, f32, f32)>"
WGMMA = (
    "{layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, "
    "shape = #nvvm.shape<m = 64, n = 8, k = 16>, typeA = #nvvm.mma_type<f16>, "
    "typeB = #nvvm.mma_type<f16>, typeD = #nvvm.mma_type<f32>"
)
MMA = "{layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, "


def stored(line: str, kind: str) -> str:
    """An op whose result is stored, so that it is not dead."""
    return f"%r = {line}\nllvm.store %r, %g : {kind}, !llvm.ptr<1>"


CASES: dict[str, str] = {
    "mov.u32 \t%r1, %tid.x": stored("nvvm.read.ptx.sreg.tid.x : i32", "i32"),
    "%cluster_ctarank": stored("nvvm.read.ptx.sreg.cluster.ctarank : i32", "i32"),
    "%laneid": stored("nvvm.read.ptx.sreg.laneid : i32", "i32"),
    "shfl.sync.bfly.b32": stored(
        "nvvm.shfl.sync bfly %n, %x, %n, %n : f32 -> f32", "f32"
    ),
    "redux.sync.max.s32": stored("nvvm.redux.sync max %n, %n : i32 -> i32", "i32"),
    "elect.sync": stored("nvvm.elect.sync -> i1", "i1"),
    "bar.warp.sync": "nvvm.bar.warp.sync %n : i32",
    "bar.sync \t0;": "nvvm.barrier",
    "bar.sync \t%r1, %r1;": "nvvm.barrier id = %n number_of_threads = %n",
    "bar.arrive": "nvvm.barrier.arrive id = %n number_of_threads = %n",
    "barrier.cluster.arrive.relaxed.aligned": "nvvm.cluster.arrive.relaxed {aligned}",
    "barrier.cluster.wait;": "nvvm.cluster.wait",
    "mbarrier.init.shared.b64": "nvvm.mbarrier.init %s, %n : !llvm.ptr<3>, i32",
    "@%p1 mbarrier.arrive.shared::cta.b64 _,": (
        "nvvm.mbarrier.arrive %s, predicate = %p : !llvm.ptr<3>, i1"
    ),
    "mbarrier.arrive.shared::cluster.b64 _,": "nvvm.mbarrier.arrive %c : !llvm.ptr<7>",
    "mbarrier.arrive.expect_tx.relaxed.cta.shared.b64": (
        "nvvm.mbarrier.arrive.expect_tx %s, %n : !llvm.ptr<3>, i32"
    ),
    "mbarrier.try_wait.parity.shared::cta.b64": (
        "nvvm.mbarrier.try_wait.parity %s, %n, %n : !llvm.ptr<3>, i32, i32"
    ),
    "fence.mbarrier_init.release.cluster": "nvvm.fence.mbarrier.init",
    "fence.proxy.async.shared::cta": (
        'nvvm.fence.proxy {kind = "async.shared", space = "cta"}'
    ),
    "griddepcontrol.wait": "nvvm.griddepcontrol.wait",
    "griddepcontrol.launch_dependents": "nvvm.griddepcontrol.launch.dependents",
    "setmaxnreg.dec.sync.aligned.u32 \t24": "nvvm.setmaxregister decrease 24",
    "mapa.shared::cluster": (
        "%r = nvvm.mapa %s, %n : !llvm.ptr<3> -> !llvm.ptr<7>\n"
        "nvvm.mbarrier.arrive %r : !llvm.ptr<7>"
    ),
    "cp.async.cg.shared.global [%rd1], [%rd2], 16;": (
        "nvvm.cp.async.shared.global %s, %g, 16, cache = cg "
        ": !llvm.ptr<3>, !llvm.ptr<1>"
    ),
    "cp.async.wait_group \t1": "nvvm.cp.async.wait.group 1",
    "cp.async.commit_group": "nvvm.cp.async.commit.group",
    "prefetch.tensormap": "nvvm.prefetch.tensormap %m : !llvm.ptr",
    "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx": (
        "nvvm.cp.async.bulk.tensor.shared.cluster.global %c, %m, %s, box[%n, %n] "
        ": !llvm.ptr<7>, !llvm.ptr, !llvm.ptr<3>"
    ),
    "im2col.mbarrier::complete_tx::bytes.multicast::cluster ": (
        "nvvm.cp.async.bulk.tensor.shared.cluster.global %c, %m, %s, "
        "box[%n, %n, %n, %n] im2col[%o, %o] multicast_mask = %o "
        ": !llvm.ptr<7>, !llvm.ptr, !llvm.ptr<3>"
    ),
    "cp.async.bulk.tensor.3d.global.shared::cta": (
        "nvvm.cp.async.bulk.tensor.global.shared.cta %m, %s, box[%n, %n, %n] "
        ": !llvm.ptr, !llvm.ptr<3>"
    ),
    "cp.async.bulk.commit_group": "nvvm.cp.async.bulk.commit.group",
    "cp.async.bulk.wait_group.read \t1": "nvvm.cp.async.bulk.wait_group 1 {read}",
    "ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16": stored(
        "nvvm.ldmatrix %s {num = 1 : i32, layout = #nvvm.mma_layout<col>} "
        ": (!llvm.ptr<3>) -> i32",
        "i32",
    ),
    "stmatrix.sync.aligned.m8n8.x4.shared.b16": (
        "nvvm.stmatrix %s, %n, %n, %n, %n {layout = #nvvm.mma_layout<row>} "
        ": !llvm.ptr<3>, i32, i32, i32, i32"
    ),
    "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32": stored(
        "nvvm.mma.sync A[%a, %a, %a, %a] B[%a, %a] C[%x, %x, %x, %x] "
        f"{MMA}shape = #nvvm.shape<m = 16, n = 8, k = 16>}} "
        f": (vector<2xf16>, vector<2xf16>, f32) -> {D4}",
        D4,
    ),
    "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32": stored(
        "nvvm.mma.sync A[%n, %n, %n, %n] B[%n, %n] C[%x, %x, %x, %x] "
        f"{MMA}multiplicandAPtxType = #nvvm.mma_type<tf32>, "
        "multiplicandBPtxType = #nvvm.mma_type<tf32>, "
        f"shape = #nvvm.shape<m = 16, n = 8, k = 8>}} : (i32, i32, f32) -> {D4}",
        D4,
    ),
    "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%r1, %r2, %r3, %r4}, ": stored(
        f"nvvm.wgmma.mma_async A[%d] B[%d] D[%acc] scale_d = %p {WGMMA}}} "
        f": (i64, i64, {D4}) -> {D4}",
        D4,
    ),
    "0, 1, 1, 0, 0;": stored(
        f"nvvm.wgmma.mma_async A[%d] B[%d] D[%acc] {WGMMA}, zero}} "
        f": (i64, i64, {D4}) -> {D4}",
        D4,
    ),
    "wgmma.wait_group.sync.aligned \t1": "nvvm.wgmma.wait.group.sync.aligned 1",
}


def ptx_of(body: str, sm: str = "sm_90a") -> str:
    context = Context()
    register_dialects(context)
    text = f"llvm.func @f({ARGUMENTS}) {{\n{body}\nllvm.return\n}}"
    module = Parser(context, text).parse_module()
    module.verify()
    ConvertNvvmToLlvmPass().apply(context, module)
    module.verify()
    return emit_ptx(module, Target.parse(sm))


@pytest.mark.parametrize("instruction", CASES)
def test_each_op_becomes_its_instruction(instruction: str) -> None:
    assert instruction in ptx_of(CASES[instruction])


def test_every_op_has_a_rule() -> None:
    blocks = {"nvvm.wgmma.mma_async"}
    assert {op.name for op in NVVM.operations} == {op.name for op in RULES} | blocks


def product(acc: str) -> str:
    """A product onto the accumulator `%acc`."""
    operands = f"A[%d] B[%d] D[%{acc}]"
    return f"nvvm.wgmma.mma_async {operands} {WGMMA}}} : (i64, i64, {D4}) -> {D4}"


def test_a_run_of_products_is_one_block() -> None:
    ptx = ptx_of(
        "nvvm.wgmma.fence.aligned\n"
        f"%1 = {product('acc')}\n"
        f"%2 = {product('1')}\n"
        f"%3 = {product('2')}\n"
        "nvvm.wgmma.commit.group.sync.aligned\n"
        "nvvm.wgmma.wait.group.sync.aligned 0\n"
        f"llvm.store %3, %g : {D4}, !llvm.ptr<1>"
    )
    assert ptx.count("// begin inline asm") == 1
    assert ptx.count("wgmma.mma_async") == 3


def test_an_accumulator_in_flight_cannot_be_read() -> None:
    body = (
        f"%1 = {product('acc')}\n"
        f"%2 = {product('1')}\n"
        f"llvm.store %1, %g : {D4}, !llvm.ptr<1>"
    )
    with pytest.raises(CompileError, match="read while it is in flight"):
        ptx_of(body)


def test_an_unknown_intrinsic_never_reaches_llvm() -> None:
    body = '%r = llvm.call_intrinsic "llvm.nvvm.tanh.approx.f"(%x) : (f32) -> f32'
    with pytest.raises(CompileError, match="expected an intrinsic this target can"):
        ptx_of(body)


@pytest.mark.skipif(shutil.which("ptxas") is None, reason="needs ptxas")
def test_all_of_it_assembles(tmp_path: Path) -> None:
    bodies = [body for key, body in CASES.items() if "setmaxnreg" not in key]
    for number, body in enumerate(bodies):
        source = tmp_path / f"{number}.ptx"
        source.write_text(ptx_of(body))
        done = subprocess.run(
            ["ptxas", "-arch=sm_90a", "-c", str(source), "-o", str(tmp_path / "o")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, body + done.stderr
