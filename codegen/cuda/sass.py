"""The instructions of a cubin, and what should not be among them.

Needs `nvdisasm`, of a CUDA toolkit or of the package `nvidia-cuda-nvdisasm`. Each sin
is a rule on the instructions of one kernel, or on what the assembler said of it; none
makes a result wrong, each costs time that the PTX does not show.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stepwell.errors import CompileError

from .cubin import nvidia_tool


@dataclass(frozen=True)
class Instruction:
    """One instruction: `@!P1 BRA (.L_x_1)` has the opcode `BRA`."""

    opcode: str
    text: str

    def starts(self, *names: str) -> bool:
        """Whether the opcode is one of `names`, with any suffixes."""
        return self.opcode.split(".")[0] in names


@dataclass(frozen=True)
class Sass:
    """The machine code of one kernel.

    Attributes:
        instructions: in order, with the subroutines behind the kernel.
        labels: the number of the instruction that each label stands before.
        remarks: lines of the assembler's log that name the kernel.
    """

    name: str
    instructions: Sequence[Instruction]
    labels: Mapping[str, int]
    remarks: Sequence[str] = ()

    @cached_property
    def loops(self) -> Sequence[Sequence[Instruction]]:
        """What lies between each branch upwards and its aim."""
        found: list[Sequence[Instruction]] = []
        for number, one in enumerate(self.instructions):
            aim = _AIM.search(one.text) if one.starts("BRA") else None
            start = self.labels.get(aim[1], number) if aim else number
            if start < number:
                found.append(self.instructions[start : number + 1])
        return found

    @property
    def on_tensor_cores(self) -> bool:
        """Whether it multiplies matrices there."""
        return any(one.starts(*_PRODUCTS) for one in self.instructions)


_AIM = re.compile(r"`\(([^)]+)\)")
_PRODUCTS = ("HMMA", "HGMMA", "IMMA", "IGMMA", "BMMA", "DMMA", "QMMA", "QGMMA")


def disassemble(cubin: bytes, log: str = "") -> Mapping[str, Sass]:
    """The kernels of a cubin by their symbols, with what the assembler's log says.

    Raises:
        CompileError: there is no `nvdisasm`, or it is too old for this cubin.
    """
    tool = nvidia_tool("nvdisasm")
    if tool is None:
        raise CompileError(
            "expected nvdisasm to look into machine code",
            fix="pip install nvidia-cuda-nvdisasm",
        )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(cubin)
        command = [tool, "-c", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompileError(
            "expected a cubin that nvdisasm can read", notes=done.stderr.splitlines()
        )
    return {code.name: code for code in _parse(done.stdout, log)}


_SECTION = re.compile(r"^\t\.section\t\.text\.(\w+),.*$", re.MULTILINE)
_LINE = re.compile(r"(\.\w+):|\s+/\*\w+\*/\s+((?:@!?U?P\w+ )?\s*([A-Z][\w.]*).*?)\s*;")


def _parse(text: str, log: str) -> Iterable[Sass]:
    _, *parts = _SECTION.split(text)
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        instructions: list[Instruction] = []
        labels: dict[str, int] = {}
        for line in body.splitlines():
            match = _LINE.match(line)
            if match and match[1]:
                labels[match[1]] = len(instructions)
            elif match:
                instructions.append(Instruction(match[3], match[2]))
        remarks = [line for line in log.splitlines() if f"'{name}'" in line]
        yield Sass(name, instructions, labels, remarks)


@dataclass(frozen=True)
class Sin:
    """What a kernel's machine code should not have.

    Attributes:
        find: the instructions or remarks that have it.
    """

    name: str
    why: str
    find: Callable[[Sass], Sequence[str]]


def _opcodes(*names: str) -> Callable[[Sass], Sequence[str]]:
    return lambda code: [one.text for one in code.instructions if one.starts(*names)]


def _fences_of_loops(code: Sass) -> Sequence[str]:
    """Fences of more than a block in loops around products."""
    return [
        one.text
        for loop in code.loops
        if any(one.starts(*_PRODUCTS) for one in loop)
        for one in loop
        if one.starts("MEMBAR") and not one.opcode.endswith(".CTA")
    ]


def _serialized(code: Sass) -> Sequence[str]:
    """Waits that the assembler puts between products (its messages C7510 to C7517)."""
    return [
        line
        for line in code.remarks
        if "are serialized" in line or "warpgroup.wait is injected" in line
    ]


def _subroutines(code: Sass) -> Sequence[str]:
    """Calls of the assembler's functions; calls of labels are jumps in its code.

    Quotients of f32 with correct rounding are only where somebody asked for them (all
    others are `div.full`), and call for numbers at the ends of the range alone.
    """
    calls = [one.text for one in code.instructions if one.starts("CALL")]
    return [text for text in calls if "$" in text and "_div_rn_noftz_f32" not in text]


SINS: tuple[Sin, ...] = (
    Sin(
        "local memory",
        "registers ran out, an array is indexed at run time, or a parameter is copied",
        _opcodes("LDL", "STL"),
    ),
    Sin(
        "fence among products",
        "each round of the loop waits for the memory of the whole GPU",
        _fences_of_loops,
    ),
    Sin(
        "serialized wgmma",
        "something reads or moves the sums between two products",
        _serialized,
    ),
    Sin(
        "subroutine",
        "a division of 64 bits, or a root with correct rounding",
        _subroutines,
    ),
    Sin(
        "generic access",
        "the state space of a pointer got lost: the hardware finds it out each time",
        _opcodes("LD", "ST", "ATOM"),
    ),
)
"""All rules, in the words of reports."""


def sins_of(code: Sass) -> Mapping[str, int]:
    """How often each sin occurs in a kernel, of those that do."""
    counts = {sin.name: len(sin.find(code)) for sin in SINS}
    return {name: count for name, count in counts.items() if count}
