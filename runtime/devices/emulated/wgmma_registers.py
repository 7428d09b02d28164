"""What threads may not do to the registers of a product that is in flight.

Until `wgmma.wait_group`, nobody but further products may touch the accumulators, or
write a left operand in registers. And before a product, `wgmma.fence` must come after
the last write of its registers by anything else, and before the first product of all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .asynchronous import Issued
from .machine import Mask, Step, Threads
from .ordering import Ordering


@dataclass(frozen=True)
class Finding:
    """A rule that was broken; the product's line if there is one (or 0)."""

    summary: str
    line: int
    fix: str


@dataclass
class RegistersInFlight:
    """Per register that products use (by its row): when each warp last wrote it."""

    _written: dict[int, NDArray[np.int64]] = field(
        default_factory=dict[int, NDArray[np.int64]]
    )
    _fenced: NDArray[np.int64] | None = None

    def step(
        self, threads: Threads, mask: Mask, step: Step, now: int
    ) -> Finding | None:
        """Before an instruction: the rule that it breaks, if any."""
        if step.name.startswith("wgmma."):
            return self._product(threads, mask, step, now)
        wave = threads.wave
        groups = wave.async_groups.get("wgmma")
        if groups is not None and groups.issued:
            used = step.registers()
            for one in groups.issued:
                product = one.tag
                if product is None:
                    continue
                touched = used.all & product.accumulators
                touched |= used.written & product.left
                if touched and _overlap(one, threads, mask):
                    return Finding(
                        f"{step.name} uses a register of a wgmma that is in flight",
                        product.line,
                        "wgmma.wait_group before the registers are used",
                    )
        if wave.launch.product_rows:
            rows = step.registers().written & wave.launch.product_rows
            if rows:
                warps = Ordering.warps_of(threads, mask)
                for row in rows:
                    times = self._written.get(row)
                    if times is None:
                        times = np.full(wave.count // 32, -1, np.int64)
                        self._written[row] = times
                    times[warps] = now
        return None

    def _product(
        self, threads: Threads, mask: Mask, step: Step, now: int
    ) -> Finding | None:
        if self._fenced is None:
            self._fenced = np.full(threads.wave.count // 32, -1, np.int64)
        warps = Ordering.warps_of(threads, mask)
        if step.name.startswith("wgmma.fence"):
            self._fenced[warps] = now
            return None
        if not step.name.startswith("wgmma.mma_async"):
            return None
        fenced = self._fenced[warps]
        missing = fenced.min() < 0 or any(
            (self._written[row][warps] > fenced).any()
            for row in step.registers().product & self._written.keys()
        )
        if missing:
            return Finding(
                f"{step.name} without wgmma.fence since its registers were written",
                0,
                "wgmma.fence between the writes and the product",
            )
        return None


def _overlap(one: Issued, threads: Threads, mask: Mask) -> bool:
    """Whether an operation in flight is one of threads of the mask."""
    start = max(one.threads.start, threads.start)
    stop = min(one.threads.stop, threads.stop)
    if start >= stop:
        return False
    theirs = one.mask[start - one.threads.start : stop - one.threads.start]
    return bool((theirs & mask[start - threads.start : stop - threads.start]).any())
