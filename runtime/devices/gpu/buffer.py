"""Memory of a GPU, given back when its owner is gone."""

from __future__ import annotations

import weakref
from contextlib import suppress

from .interface import Gpu

SLACK = 16
"""Bytes behind the end that kernels may read: a masked-out vector reads where the
tensor begins, also that of an empty one."""


class GpuBuffer:
    """Memory that grows when asked for more, losing its contents.

    Args:
        what: it is for, in the message when there is none left.
    """

    def __init__(self, gpu: Gpu, what: str) -> None:
        self._gpu, self._what = gpu, what
        self.nbytes = 0
        self._held: list[int] = []
        weakref.finalize(self, _release_last, gpu, self._held)

    @property
    def address(self) -> int:
        """Where it starts; 0 before the first `reserve`."""
        return self._held[0] if self._held else 0

    def reserve(self, nbytes: int) -> int:
        """The address of at least `nbytes` bytes. Raises `DeviceError` if there are
        none left."""
        if nbytes > self.nbytes or not self._held:
            self.release()
            with self._gpu.activate():
                self._held.append(self._gpu.allocate(nbytes + SLACK, self._what))
            self.nbytes = nbytes
        return self._held[0]

    def release(self) -> None:
        """Give the memory back."""
        _release(self._gpu, self._held)
        self.nbytes = 0


def _release(gpu: Gpu, held: list[int]) -> None:
    while held:
        with gpu.activate():
            gpu.free(held.pop())


def _release_last(gpu: Gpu, held: list[int]) -> None:
    with suppress(Exception):  # after a fault nothing can be given back
        _release(gpu, held)
