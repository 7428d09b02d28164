"""Counts of a launch, by PTX line: instructions, bank conflicts, coalescing.

Shared memory has 32 banks of 4 bytes. A warp's access takes as many *wavefronts* as the
most loaded bank has distinct words; accesses of 8 and 16 bytes go by half and quarter
warps. Global memory is fetched in *sectors* of 32 bytes. Both are counted beside the
least that the same bytes could take (CUDA C++ Best Practices Guide, "Memory
Optimizations").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .machine import Group, Mask, Step, Threads
from .memory import Memory
from .provenance import Provenance
from .wave import WARP

BANKS, WORD, SECTOR = 32, 4, 32
Offsets = NDArray[np.int64]


@dataclass
class Line:
    """Counts of one PTX line.

    `executed` counts warp instructions, `active` their threads; `requests` are memory
    accesses of warps, `taken` their wavefronts or sectors, `least` what they need.
    """

    name: str
    executed: int = 0
    active: int = 0
    space: str = ""
    requests: int = 0
    taken: int = 0
    least: int = 0

    @property
    def excess(self) -> int:
        """Wavefronts lost to bank conflicts, or sectors lost to scattered access."""
        return self.taken - self.least


@dataclass
class Statistics:
    """The counts of one launch or several: pass it to `Module.launch`."""

    lines: dict[int, Line] = field(default_factory=dict[int, Line])
    provenance: Provenance = field(default_factory=Provenance)

    def step(self, group: Group, mask: Mask, step: Step) -> None:
        """Before each instruction."""
        line = self._line(step.line, step.name)
        line.executed += group.warps
        line.active += group.size if mask is group.mask else int(np.count_nonzero(mask))

    def access(
        self,
        threads: Threads,
        memory: Memory,
        offsets: Offsets,
        width: int,
        lanes: Offsets,
    ) -> None:
        """Before each access of shared or global memory."""
        if memory.name not in ("shared", "global") or not offsets.size:
            return
        line = self._line(threads.wave.line, "")
        if line.name.startswith(("ld.param", "ld.const")):
            return
        line.space = memory.name
        warps = lanes // WARP
        line.requests += int(np.unique(warps).size)
        count = wavefronts if memory.name == "shared" else sectors
        taken, least = count(offsets, width, lanes)
        line.taken += taken
        line.least += least

    @property
    def mix(self) -> Mapping[str, int]:
        """Warp instructions by name, the most frequent first."""
        counts = Counter[str]()
        for line in self.lines.values():
            counts[line.name] += line.executed
        return dict(counts.most_common())

    @property
    def bank_conflicts(self) -> int:
        """Wavefronts of shared memory beyond the least."""
        return self._excess("shared")

    @property
    def wasted_sectors(self) -> int:
        """Sectors of global memory beyond the least."""
        return self._excess("global")

    def report(self) -> str:
        """The instruction mix, and each line that touches memory, as text."""
        total = max(1, sum(line.executed for line in self.lines.values()))
        active = sum(line.active for line in self.lines.values()) / (WARP * total)
        rows = [f"{total} warp instructions, {active:.0%} of their threads active"]
        rows += [f"{n:>10} {n / total:6.1%}  {name}" for name, n in self.mix.items()]
        rows.append("")
        rows.append("  requests    taken    least  memory")
        for number, line in sorted(self.lines.items()):
            if line.requests:
                unit = "wavefronts" if line.space == "shared" else "sectors"
                rows.append(
                    f"{line.requests:>10} {line.taken:>8} {line.least:>8}  "
                    f"{line.space} {unit}, {line.name}, {self.provenance.place(number)}"
                )
        return "\n".join(rows)

    def _line(self, number: int, name: str) -> Line:
        found = self.lines.get(number)
        if found is None:
            found = self.lines[number] = Line(name)
        return found

    def _excess(self, space: str) -> int:
        return sum(line.excess for line in self.lines.values() if line.space == space)


def wavefronts(offsets: Offsets, width: int, lanes: Offsets) -> tuple[int, int]:
    """Wavefronts of an access of shared memory, and the least for the same words."""
    phases = max(1, width // WORD)  # 4 bytes: a warp; 8: halves; 16: quarters
    phase = lanes // (WARP // phases)
    first = offsets // WORD
    words = (first[:, None] + np.arange(phases)).reshape(-1)
    distinct = np.unique((np.repeat(phase, phases) << 32) | words)
    phase, word = distinct >> 32, distinct & 0xFFFFFFFF
    _, number = np.unique(phase, return_inverse=True)
    loads = np.bincount(number * BANKS + word % BANKS, minlength=BANKS)
    per_bank = np.zeros((int(number.max()) + 1) * BANKS, np.int64)
    per_bank[: loads.size] = loads
    taken = per_bank.reshape(-1, BANKS)
    least = -(-taken.sum(axis=1) // BANKS)
    return int(taken.max(axis=1).sum()), int(least.sum())


def sectors(offsets: Offsets, width: int, lanes: Offsets) -> tuple[int, int]:
    """Sectors of an access of global memory, and the least for the same bytes."""
    warps = lanes // WARP << 44
    fetched = np.unique(warps | offsets // SECTOR)
    pieces = np.unique(warps | offsets)
    _, counts = np.unique(pieces >> 44, return_counts=True)
    return int(fetched.size), int((-(-counts * width // SECTOR)).sum())
