"""The device an engine is built for: one frozen record, the only judge of features.

A `Target` is what the cost models and the code generators ask; no other place compares
compute capabilities or CPU feature names. In the IR it is the module attribute
`stepwell.target`, a dictionary, so that a printed module says what it was built for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    IntegerAttr,
    ModuleOp,
    StringAttr,
    i64,
)
from xdsl.ir import Attribute

from stepwell.errors import OptionError

ATTRIBUTE = "stepwell.target"

# LLVM's names of the feature sets that code generation distinguishes on x86-64: the
# psABI levels v3 and v4 (https://gitlab.com/x86-psABIs/x86-64-ABI), and VNNI for INT8.
AVX2 = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
AVX512 = (*AVX2, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")
_CPU_PRESETS: Mapping[str, tuple[str, tuple[str, ...], int, int]] = {
    # name: LLVM cpu, features, vector bytes, vector registers
    "cpu-baseline": ("x86-64", (), 16, 16),
    "cpu-avx2": ("x86-64-v3", AVX2, 32, 16),
    "cpu-avx512": ("x86-64-v4", AVX512, 64, 32),
}
# PTX ISA version that first supports each compute capability (PTX ISA, release notes).
_PTX_OF_SM = {80: 70, 86: 71, 87: 74, 89: 78, 90: 80, 100: 86, 103: 88, 120: 87}
# Shared memory in KiB that one block may use, by compute capability (CUDA C++
# programming guide, "Technical specifications per compute capability").
_SHARED_KIB = {80: 163, 86: 99, 87: 163, 89: 99, 90: 227, 100: 227, 103: 227, 120: 99}
# The oldest PTX that is emitted: LLVM selects the relaxed barrier arrivals from here.
_PTX_OLDEST = 87
_SM_NAME = re.compile(r"sm_(\d+)([af]?)")


@dataclass(frozen=True)
class Target:
    """One device kind with the facts that schedules and code generation depend on.

    Attributes:
        kind: "cpu" or "cuda".
        name: what `parse` accepts, e.g. "cpu-avx512" or "sm_90a".
        cpu: LLVM's name of the processor (kind cpu).
        features: LLVM's names of the CPU features that may be used, sorted.
        vector_bytes: bytes of a native vector register.
        vector_registers: number of architectural vector registers.
        l1_bytes, l2_bytes: data cache of a core, in bytes.
        threads: cores that the schedules should feed.
        sm: compute capability times ten (kind cuda), e.g. 90.
        arch_specific: whether the name ends in "a": features of this sm only.
        ptx: PTX ISA version times ten that is emitted, e.g. 87.
    """

    kind: str
    name: str
    cpu: str = ""
    features: tuple[str, ...] = ()
    vector_bytes: int = 16
    vector_registers: int = 16
    l1_bytes: int = 32 << 10
    l2_bytes: int = 1 << 20
    threads: int = 1
    sm: int = 0
    arch_specific: bool = False
    ptx: int = 0

    @staticmethod
    def parse(text: str) -> Target:
        """The target named `text`.

        "cpu" is the machine this runs on; "cpu-avx512", "cpu-avx2" and "cpu-baseline"
        are fixed x86-64 levels; "sm_80" and newer are NVIDIA devices.

        Raises:
            OptionError: no such target.
        """
        if text in ("cpu", "host"):
            return Target.host()
        if text in _CPU_PRESETS:
            return _preset(text)
        match = _SM_NAME.fullmatch("sm_90a" if text == "cuda" else text)
        if match is None or int(match[1]) not in _PTX_OF_SM:
            known = ["cpu", *_CPU_PRESETS, *(f"sm_{sm}" for sm in _PTX_OF_SM)]
            raise OptionError(
                f"expected a target, got {text!r}", notes=[f"known: {', '.join(known)}"]
            )
        sm = int(match[1])
        return Target(
            "cuda",
            match[0],
            vector_registers=255,
            sm=sm,
            arch_specific=match[2] == "a",
            ptx=max(_PTX_OF_SM[sm], _PTX_OLDEST),
        )

    @staticmethod
    def host() -> Target:
        """The CPU this process runs on, with its caches and its number of cores."""
        from llvmlite import binding  # not needed to read IR for a named target

        features = binding.get_host_cpu_features()
        have = tuple(sorted(name for name, on in features.items() if on))
        level = next(
            name
            for name in ("cpu-avx512", "cpu-avx2", "cpu-baseline")
            if set(_CPU_PRESETS[name][1]) <= set(have)
        )
        return replace(
            _preset(level),
            name="cpu",
            cpu=str(binding.get_host_cpu_name()),
            features=have,
            l1_bytes=_cache_bytes(1, 32 << 10),
            l2_bytes=_cache_bytes(2, 1 << 20),
            threads=len(os.sched_getaffinity(0)),
        )

    @staticmethod
    def of(module: ModuleOp) -> Target:
        """The target that the module's `stepwell.target` names, or the host."""
        value = module.attributes.get(ATTRIBUTE)
        if value is None:
            return Target.host()
        if isinstance(value, StringAttr):
            return Target.parse(value.data)
        if not isinstance(value, DictionaryAttr):
            raise OptionError(f"expected a string or a dictionary as {ATTRIBUTE}")
        return Target.from_attribute(value)

    def attach(self, module: ModuleOp) -> None:
        """Sets the module's `stepwell.target`."""
        module.attributes[ATTRIBUTE] = self.to_attribute()

    def to_attribute(self) -> DictionaryAttr:
        """All fields that differ from their default, by name."""
        differing = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if getattr(self, f.name) != f.default
        }
        return DictionaryAttr({k: _to_attribute(v) for k, v in differing.items()})

    @staticmethod
    def from_attribute(attribute: DictionaryAttr) -> Target:
        """The inverse of `to_attribute`.

        Raises:
            OptionError: an unknown field, or kind and name are missing.
        """
        values = {k: _from_attribute(v) for k, v in attribute.data.items()}
        try:
            return Target(**values)
        except TypeError as error:
            raise OptionError(f"expected the fields of a target, got {error}") from None

    @property
    def is_cpu(self) -> bool:
        """Whether kernels run on the processor itself."""
        return self.kind == "cpu"

    @property
    def shared_bytes(self) -> int:
        """Bytes of shared memory that one block may use; 0 on a CPU."""
        return _SHARED_KIB.get(self.sm, 0) << 10

    @property
    def has_wgmma(self) -> bool:
        """Whether it has TMA and the products of warpgroups (sm_90a)."""
        return self.sm == 90 and self.arch_specific

    def has(self, feature: str) -> bool:
        """Whether a CPU feature of LLVM's name `feature` may be used."""
        return feature in self.features

    def lanes(self, bits: int) -> int:
        """Elements of `bits` bits in one vector register."""
        return max(1, self.vector_bytes * 8 // max(8, bits))


def _preset(name: str) -> Target:
    cpu, features, vector_bytes, registers = _CPU_PRESETS[name]
    return Target("cpu", name, cpu, features, vector_bytes, registers)


def _cache_bytes(level: int, default: int) -> int:
    """Size of the first core's data cache of `level`, as Linux tells it."""
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            kind = (index / "type").read_text().strip()
            if kind != "Instruction" and int((index / "level").read_text()) == level:
                return int((index / "size").read_text().strip().removesuffix("K")) << 10
        except (OSError, ValueError):
            continue
    return default


def _to_attribute(value: Any) -> Attribute:
    if isinstance(value, tuple):
        return ArrayAttr([StringAttr(str(item)) for item in value])
    if isinstance(value, bool):
        return IntegerAttr.from_bool(value)
    return IntegerAttr(value, i64) if isinstance(value, int) else StringAttr(value)


def _from_attribute(attribute: Attribute) -> Any:
    if isinstance(attribute, ArrayAttr):
        return tuple(_from_attribute(item) for item in attribute.data)
    if isinstance(attribute, IntegerAttr):
        value = attribute.value.data
        return value if attribute.type == i64 else bool(value)
    if isinstance(attribute, StringAttr):
        return attribute.data
    raise OptionError(f"expected a string, integer or list, got {attribute}")
