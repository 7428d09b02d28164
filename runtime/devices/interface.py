"""What the runtime asks of a device, whatever it is.

An engine on a device is an `Executable`: code and constants, loaded once. Each context
has a `Workspace` of its own: memory, and the segments bound for recent shapes. Each run
has `Values`: where its tensors are, and how they get from the device to the host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from stepwell.runtime.plan import Plan
    from stepwell.runtime.program import Program

Array: TypeAlias = np.ndarray[Any, Any]

LaunchObserver: TypeAlias = Callable[[int, float, float], None]
"""Told of a launch: its number in the segment, when it began (on the clock of
`perf_counter`), and how long it took, in seconds."""


@dataclass
class BoundLaunch:
    """One launch at known sizes.

    Attributes:
        kernel: its number in the manifest.
        values: the value behind each view argument.
        addresses: of those values; 0 for one that has another address in every run.
        integers: the arguments that follow.
        symbols: what the kernel calls the integers.
        cells: of its grid.
    """

    kernel: int
    values: tuple[int, ...]
    addresses: list[int]
    integers: list[int]
    symbols: tuple[str, ...]
    cells: int

    @property
    def sizes(self) -> dict[str, int]:
        """The kernel's own symbols."""
        return dict(zip(self.symbols, self.integers, strict=True))


@dataclass(frozen=True)
class SegmentSpec:
    """A segment at known sizes.

    Attributes:
        dynamic: the values whose addresses are other ones in every run, with their
            places (launch, argument).
        work: operations or bytes of all launches, whichever is more.
    """

    launches: list[BoundLaunch]
    dynamic: Mapping[int, list[tuple[int, int]]]
    work: int


class Kept(Protocol):
    """Contents of a tensor: an array, or what `Values.take` returns."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its extents."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its element type."""
        ...


class Buffer(Protocol):
    """Memory of the device that grows when asked for more, losing its contents."""

    @property
    def nbytes(self) -> int:
        """Its size."""
        ...

    @property
    def address(self) -> int:
        """Where it starts; 0 before the first `reserve`."""
        ...

    def reserve(self, nbytes: int) -> int:
        """The address of at least `nbytes` bytes. Raises `DeviceError` if there are
        none left."""
        ...


class Slots(Protocol):
    """What a context knows that its runs need.

    `moves` counts how often a slot of late size got other memory.
    """

    program: Program
    moves: int

    def slot_address(self, plan: Plan, slot: int, bindings: Mapping[str, int]) -> int:
        """Where a slot of the arena starts."""
        ...

    def slot_buffer(self, slot: int) -> Buffer:
        """The memory that it lies in."""
        ...


class Values(Protocol):
    """The tensors of one run, by the numbers of the manifest."""

    def array(self, index: int) -> Array:
        """A value on the host; it may be a view that later steps overwrite."""
        ...

    def address(self, index: int) -> int:
        """Where a value is on the device; it is taken there if it was not."""
        ...

    def take(self, index: int) -> Any:
        """The contents of a value, which no later step changes, where they are."""
        ...

    def stack(self, taken: Sequence[Any]) -> Any:
        """What was taken, one or more of one shape, along a new first dim."""
        ...

    def keep(self, index: int, array: Any) -> None:
        """Make a host array, or what was taken, the value `index`; it is not copied
        where it need not be."""
        ...

    def copy(self, source: int, target: int) -> None:
        """Copy the contents of a value into the memory of another."""
        ...

    def outputs(self) -> list[Any]:
        """The engine's outputs, which nobody else refers to."""
        ...

    def close(self) -> None:
        """The run has ended, or failed."""
        ...


class BoundSegment(Protocol):
    """A segment as the device takes it."""

    def run(self, values: Any) -> None:
        """Run it on the values of a run; their addresses are asked for anew."""
        ...

    def run_observed(self, values: Any, observe: LaunchObserver) -> None:
        """Run launch by launch, and report each one's time."""
        ...


class Workspace(Protocol):
    """What one context has on the device."""

    @property
    def alignment(self) -> int:
        """Slots of the arena start at multiples of this many bytes."""
        ...

    def buffer(self) -> Buffer:
        """An empty buffer."""
        ...

    def bind(self, spec: SegmentSpec) -> BoundSegment:
        """Prepare a segment."""
        ...

    def values(
        self,
        context: Slots,
        plan: Plan,
        inputs: Sequence[Any],
        bindings: dict[str, int],
        stream: Any,
    ) -> Values:
        """The values of a run on these inputs; `bindings` goes on being filled."""
        ...


class Executable(Protocol):
    """An engine's code and constants on a device."""

    @property
    def takes_device_tensors(self) -> bool:
        """Whether inputs may lie in memory of a GPU."""
        ...

    def workspace(self) -> Workspace:
        """What a new context needs."""
        ...

    def close(self) -> None:
        """Give threads and memory back."""
        ...
