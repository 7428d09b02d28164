"""Objects: what is refused before it can end the process, and the driver."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest
from cpu_programs import parse_func, unary_program
from llvmlite import binding

from stepwell.codegen.cpu.driver import BARRIER_BYTES, DRIVER_IR, SEGMENT
from stepwell.codegen.cpu.objects import (
    compile_ir,
    compile_object,
    elf_symbols,
    parse_ir,
    target_machine,
)
from stepwell.dialects.target import Target
from stepwell.errors import CompileError

HOST = Target.host()
RELU = unary_program(
    "%z = arith.constant 0.0 : f32\n    %s = arith.maximumf %u, %z : f32",
    "f32",
    "f32",
    1000,
    32,
)


def test_an_object_that_calls_an_unknown_function_is_refused() -> None:
    text = "declare float @expf(float)\ndefine float @f(float %x) {\n"
    text += "  %y = call float @expf(float %x)\n  ret float %y\n}\n"
    with pytest.raises(CompileError, match="one that calls expf"):
        compile_ir(text, HOST)


def test_an_object_may_call_the_c_library() -> None:
    text = "declare double @erf(double)\ndefine double @f(double %x) {\n"
    text += "  %y = call double @erf(double %x)\n  ret double %y\n}\n"
    data = compile_ir(text, HOST).data
    assert elf_symbols(data) == (["f"], ["erf"])


def test_wrong_ir_is_an_error_with_llvms_words() -> None:
    with pytest.raises(CompileError, match="LLVM IR that LLVM accepts") as caught:
        parse_ir("define void @f() {\n  ret i32 0\n}\n")
    assert caught.value.notes


@pytest.mark.parametrize("name", ["cpu-avx512", "cpu-avx2", "cpu-baseline"])
def test_every_level_compiles(name: str) -> None:
    compiled = compile_object([parse_func(RELU)], Target.parse(name))
    assert compiled.symbols == ("f",)


def test_the_same_kernel_gives_the_same_bytes() -> None:
    first, second = (compile_object([parse_func(RELU)], HOST) for _ in range(2))
    assert first.data == second.data and first.ir_text == second.ir_text


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_segment_runs_dependent_launches_in_order(threads: int) -> None:
    """Each launch adds one to what the one before it wrote."""
    text = "%z = arith.constant 1.0 : f32\n    %s = arith.addf %u, %z : f32"
    func = parse_func(unary_program(text, "f32", "f32", 1000, 32))
    data = compile_object([func], HOST, extra_ir=DRIVER_IR).data
    engine = binding.create_mcjit_compiler(parse_ir(""), target_machine(HOST))
    engine.add_object_file(binding.ObjectFileRef.from_data(data))
    engine.finalize_object()
    word = ctypes.c_int64
    segment = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, word, ctypes.c_void_p, word, word
    )(engine.get_function_address(SEGMENT))
    kernel = engine.get_function_address("f")
    steps = 50
    buffers = np.zeros((steps + 1, 1000), np.float32)
    args = np.array(
        [[buffers[i].ctypes.data, buffers[i + 1].ctypes.data] for i in range(steps)],
        np.uint64,
    )
    launches = np.array(
        [[kernel, args[i].ctypes.data, 32] for i in range(steps)], np.uint64
    )
    barrier = np.zeros(BARRIER_BYTES + 128, np.uint8)
    place = barrier.ctypes.data + -barrier.ctypes.data % 128

    def work(thread: int) -> None:
        for _ in range(20):
            segment(launches.ctypes.data, steps, place, thread, threads)

    workers = [threading.Thread(target=work, args=(t,)) for t in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    np.testing.assert_array_equal(buffers[-1], steps)
