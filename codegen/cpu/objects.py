"""LLVM IR text to relocatable objects, for the host or a named CPU level.

LLVM never sees what it might choke on: intrinsics are checked against a table before
(`codegen/intrinsics.py`), and what the finished object still wants from outside is
checked against `ALLOWED_SYMBOLS` after, because an unknown symbol ends the process that
loads it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from llvmlite import binding
from xdsl.dialects.builtin import ModuleOp

from stepwell.codegen.llvm_ir import emit_llvm_ir
from stepwell.dialects import tile
from stepwell.dialects.target import Target
from stepwell.errors import CompileError

from .convert_tile_to_llvm import convert_module

ALLOWED_SYMBOLS = frozenset(
    ["memcpy", "memmove", "memset", "sched_yield", "erf", "sin", "cos", "tan"]
)
"""What an object may import: functions of every C library."""


@dataclass(frozen=True)
class CompiledObject:
    """A relocatable object and the IR it came from.

    Attributes:
        data: ELF bytes for `llvmlite.binding.ObjectFileRef.from_data`.
        ir_text: the LLVM IR before optimisation: the portable form.
        symbols: names of the functions it defines for others.
    """

    data: bytes
    ir_text: str
    symbols: tuple[str, ...]


def compile_object(
    kernels: ModuleOp | Sequence[tile.FuncOp], target: Target, *, extra_ir: str = ""
) -> CompiledObject:
    """Compiles kernels into one object.

    Args:
        kernels: a module of `tile.func`s, converted in place, or functions, copied.
        target: a CPU.
        extra_ir: LLVM IR text to compile along, e.g. the driver.

    Raises:
        CompileError: an op cannot be lowered, or the object would import a symbol
            that no libc has.
    """
    if isinstance(kernels, ModuleOp):
        module = kernels
    else:
        module = ModuleOp([func.clone() for func in kernels])
    convert_module(module, target)
    text = emit_llvm_ir(module, triple=binding.get_process_triple()) + extra_ir
    return compile_ir(text, target)


def compile_ir(text: str, target: Target) -> CompiledObject:
    """Compiles LLVM IR text.

    Raises:
        CompileError: LLVM refuses the text, or the object imports unknown symbols.
    """
    machine = target_machine(target)
    if not target.has("fma"):
        # Without the instruction `llvm.fma` is a call into the C library, one a lane.
        text = text.replace("@llvm.fma.", "@llvm.fmuladd.")
    module = parse_ir(text)
    optimise(module, machine)
    data = machine.emit_object(module)
    defined, imported = elf_symbols(data)
    unknown = sorted(set(imported) - ALLOWED_SYMBOLS)
    if unknown:
        raise CompileError(
            f"expected an object without imports, got one that calls {unknown[0]}",
            notes=[f"imports: {', '.join(unknown)}"],
            fix="lower the op behind it without a library call",
        )
    return CompiledObject(data, text, tuple(defined))


def parse_ir(text: str) -> binding.ModuleRef:
    """LLVM's module of a text.

    Raises:
        CompileError: LLVM's parser or verifier refuses it.
    """
    _initialise()
    try:
        module = binding.parse_assembly(text)
        module.verify()
    except RuntimeError as error:
        raise CompileError(
            "expected LLVM IR that LLVM accepts", notes=str(error).splitlines()
        ) from None
    return module


def optimise(module: binding.ModuleRef, machine: binding.TargetMachine) -> None:
    """The passes that pay for generated kernels.

    Loops are vectors already and addresses are shared, so LLVM's -O2 pipeline makes
    nothing faster and takes ten times as long (measured on convolutions, softmax and
    GELU). The -O0 pipeline inlines the math functions; the rest folds what is left.
    """
    options = binding.create_pipeline_tuning_options(speed_level=0)
    builder = binding.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    passes = binding.create_new_module_pass_manager()
    passes.add_new_gvn_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)


@lru_cache(maxsize=1)
def _initialise() -> None:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()


def target_machine(target: Target) -> binding.TargetMachine:
    """A new LLVM machine of a CPU target; an execution engine takes it over."""
    _initialise()
    features = [f"+{name}" for name in target.features]
    if target.vector_bytes == 64:
        # Kernels are written in 512-bit vectors: some CPUs' tuning would halve them.
        features.append("-prefer-256-bit")
    return binding.Target.from_default_triple().create_target_machine(
        cpu=target.cpu,
        features=",".join(features),
        opt=2,
        reloc="static",
        # The loader places code and constants anywhere: in a process full of other
        # mappings (PyTorch's, TensorFlow's) they can be more than 2 GiB apart.
        codemodel="large",
    )


_SYMBOL = struct.Struct("<IBBHQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMTAB, _GLOBAL, _WEAK = 2, 1, 2


def elf_symbols(data: bytes) -> tuple[list[str], list[str]]:
    """Names that a relocatable ELF64 object defines for others, and that it imports.

    Source: System V ABI, "Symbol Table".
    """
    if data[:6] != b"\x7fELF\x02\x01":
        raise CompileError("expected a little-endian ELF64 object")
    (offset,) = struct.unpack_from("<Q", data, 40)
    (count,) = struct.unpack_from("<H", data, 60)
    sections = [
        _SECTION.unpack_from(data, offset + i * _SECTION.size) for i in range(count)
    ]
    defined: list[str] = []
    imported: list[str] = []
    for section in sections:
        if section[1] != _SYMTAB:
            continue
        names = sections[section[6]][4]
        for at in range(section[4], section[4] + section[5], _SYMBOL.size):
            name_at, info, _, index, _, _ = _SYMBOL.unpack_from(data, at)
            if info >> 4 not in (_GLOBAL, _WEAK):
                continue
            end = data.index(b"\0", names + name_at)
            name = data[names + name_at : end].decode()
            (defined if index else imported).append(name)
    return defined, imported
