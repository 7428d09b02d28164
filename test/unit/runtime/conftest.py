"""An engine written by hand: `y = 2 x + w`, in tiles of 64, with its LLVM IR."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from llvmlite import binding

from stepwell.runtime.engine_file import EngineFile, aligned
from stepwell.runtime.manifest import (
    Block,
    CodeInfo,
    Copy,
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

HANDMADE = Path(__file__).parents[2] / "gpu" / "handmade.py"

KERNEL = """
define void @scale(ptr %args, i64 %begin, i64 %end) {
entry:
  %x = load ptr, ptr %args
  %wp = getelementptr i64, ptr %args, i64 1
  %w = load ptr, ptr %wp
  %yp = getelementptr i64, ptr %args, i64 2
  %y = load ptr, ptr %yp
  %np = getelementptr i64, ptr %args, i64 3
  %n = load i64, ptr %np
  %bias = load float, ptr %w
  %first = mul i64 %begin, 64
  %last = mul i64 %end, 64
  %stop = call i64 @llvm.smin.i64(i64 %last, i64 %n)
  br label %head
head:
  %i = phi i64 [ %first, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %stop
  br i1 %more, label %body, label %done
body:
  %xi = getelementptr float, ptr %x, i64 %i
  %v = load float, ptr %xi
  %d = fmul float %v, 2.0
  %r = fadd float %d, %bias
  %yi = getelementptr float, ptr %y, i64 %i
  store float %r, ptr %yi
  %next = add i64 %i, 1
  br label %head
done:
  ret void
}
declare i64 @llvm.smin.i64(i64, i64)

; Every thread runs its share of each launch's cells; a counting barrier follows.
define void @stepwell_segment(ptr %l, i64 %count, ptr %barrier, i64 %t, i64 %threads) {
entry:
  %alone = icmp eq i64 %threads, 1
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %after ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %done
body:
  %at = mul i64 %i, 3
  %lp = getelementptr i64, ptr %l, i64 %at
  %kernel = load ptr, ptr %lp
  %ap = getelementptr i64, ptr %lp, i64 1
  %args = load ptr, ptr %ap
  %cp = getelementptr i64, ptr %lp, i64 2
  %cells = load i64, ptr %cp
  %b0 = mul i64 %cells, %t
  %begin = sdiv i64 %b0, %threads
  %t1 = add i64 %t, 1
  %e0 = mul i64 %cells, %t1
  %end = sdiv i64 %e0, %threads
  call void %kernel(ptr %args, i64 %begin, i64 %end)
  br i1 %alone, label %after, label %meet
meet:
  %gp = getelementptr i64, ptr %barrier, i64 16
  %generation = load atomic i64, ptr %gp acquire, align 8
  %arrived = atomicrmw add ptr %barrier, i64 1 acq_rel
  %wanted = sub i64 %threads, 1
  %is_last = icmp eq i64 %arrived, %wanted
  br i1 %is_last, label %open, label %spin
open:
  store atomic i64 0, ptr %barrier release, align 8
  %g1 = add i64 %generation, 1
  store atomic i64 %g1, ptr %gp release, align 8
  br label %after
spin:
  %now = load atomic i64, ptr %gp acquire, align 8
  %same = icmp eq i64 %now, %generation
  br i1 %same, label %spin, label %after
after:
  %next = add i64 %i, 1
  br label %head
done:
  ret void
}
"""


def object_of(text):
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_triple(binding.get_process_triple())
    machine = target.create_target_machine(opt=2, reloc="pic")
    return machine.emit_object(binding.parse_assembly(text))


def make_engine(**changes):
    """Two launches through slot 0: `y = 2 (2 x + w) + w`; `x` has n elements."""
    value = Value("float32", ("n",), "input", 0)
    manifest = Manifest(
        target=TargetInfo("cpu", "cpu", binding.get_process_triple()),
        inputs=(TensorInfo("x", 0),),
        outputs=(TensorInfo("y", 3),),
        symbols={"n": SymbolRange(1, 100_000, 64)},
        values=(
            value,
            Value("float32", (1,), "weight", 0),
            Value("float32", ("n",), "slot", 0),
            Value("float32", ("n",), "output", 0),
        ),
        slots=("4 * n",),
        weights=(Weight(0, 4, "w"),),
        kernels=(Kernel("scale", 3, 1, ("ceildiv(m, 64)",), ("m",)),),
        program=Block(
            (Segment((Launch(0, (0, 1, 2), ("n",)), Launch(0, (2, 1, 3), ("n",)))),)
        ),
        code=CodeInfo("kernels/cpu.o", "kernels/cpu.ll"),
        name="handmade",
    )
    for name, item in changes.items():
        manifest = type(manifest)(**{**manifest.__dict__, name: item})
    weights = aligned(np.array([3.0], np.float32).view(np.uint8))
    code = {
        "kernels/cpu.o": object_of(KERNEL),
        "kernels/cpu.ll": KERNEL.encode(),
    }
    return EngineFile(manifest, weights, code, {"ir/nn.mlir": "builtin.module {}\n"})


@pytest.fixture(scope="session")
def contents():
    return make_engine()


@pytest.fixture(scope="session")
def build_gpu():
    """The engine of test/gpu/handmade.py, with changes."""
    return runpy.run_path(str(HANDMADE))["make_gpu_engine"]


@pytest.fixture(scope="session")
def build_copy():
    """The engine of test/gpu/handmade.py that copies by TMA."""
    return runpy.run_path(str(HANDMADE))["make_copy_engine"]


@pytest.fixture(scope="session")
def build():
    return make_engine


__all__ = ["Copy", "build", "contents"]
