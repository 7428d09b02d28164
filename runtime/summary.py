"""What an engine is, in numbers: what `Engine.inspect` returns and the tools print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .expressions import parse
from .manifest import Expr, HostCall, Manifest
from .walk import launches_of, steps_of


@dataclass(frozen=True)
class LaunchInfo:
    """One launch of a kernel.

    Attributes:
        name: the fused kernel's name.
        nodes: the nodes of the user's model that it computes.
        ops: the ops fused into it.
        grid: extents of its grid, dim expressions.
        threads, shared: of a block of a GPU, and its bytes of shared memory; else 0.
        flops, nbytes: work and memory traffic at the summary's sizes; None if they
            depend on what a run finds out.
        reasons: why no more was fused.
    """

    name: str
    nodes: tuple[str, ...]
    ops: tuple[str, ...]
    grid: tuple[Expr, ...]
    threads: int
    shared: int
    flops: int | None
    nbytes: int | None
    schedule: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """An engine at one size of its inputs.

    Attributes:
        sizes: the symbols' values that amounts are given for.
        functions: how many compiled functions the launches share.
        arena_bytes: memory for intermediate tensors; `slots` are its parts.
        host_calls: what runs outside kernels, with counts.
    """

    name: str
    target: str
    precision: str
    sizes: Mapping[str, int]
    launches: tuple[LaunchInfo, ...]
    functions: int
    slots: tuple[int | None, ...]
    weight_bytes: int
    host_calls: Mapping[str, int]

    @property
    def arena_bytes(self) -> int | None:
        """Bytes of all slots."""
        return total(self.slots)

    @property
    def flops(self) -> int | None:
        """Work of one run."""
        return total(one.flops for one in self.launches)

    @property
    def nbytes(self) -> int | None:
        """Memory traffic of one run."""
        return total(one.nbytes for one in self.launches)

    def __str__(self) -> str:
        calls = ", ".join(f"{name} x{n}" for name, n in self.host_calls.items())
        lines = [
            f"{self.name or 'engine'} for {self.target}, {self.precision}",
            f"{len(self.launches)} launches of {self.functions} functions, "
            f"{self.flops} FLOP, {self.nbytes} B moved",
            f"{self.weight_bytes} B of weights, {self.arena_bytes} B of arena in "
            f"{len(self.slots)} slots, host calls: {calls or 'none'}",
        ]
        lines += [f"  {one.name}: {', '.join(one.ops)}" for one in self.launches]
        return "\n".join(lines)


def summarise(manifest: Manifest, sizes: Mapping[str, int] | None = None) -> Summary:
    """The summary of an engine at these sizes; by default the typical ones."""
    sizes = {**typical_sizes(manifest), **(sizes or {})}
    launches = [
        LaunchInfo(
            launch.name or manifest.kernels[launch.kernel].symbol,
            launch.nodes,
            launch.ops,
            manifest.kernels[launch.kernel].grid,
            manifest.kernels[launch.kernel].threads,
            manifest.kernels[launch.kernel].shared,
            amount(launch.flops, sizes),
            amount(launch.nbytes, sizes),
            launch.schedule,
            launch.reasons,
        )
        for launch in launches_of(manifest.program)
    ]
    steps = steps_of(manifest.program)
    calls = Counter(step.name for step in steps if isinstance(step, HostCall))
    return Summary(
        manifest.name,
        manifest.target.name,
        manifest.precision,
        sizes,
        tuple(launches),
        len(manifest.kernels),
        tuple(amount(size, sizes) for size in manifest.slots),
        sum({weight.offset: weight.nbytes for weight in manifest.weights}.values()),
        dict(sorted(calls.items())),
    )


def typical_sizes(manifest: Manifest) -> dict[str, int]:
    """Each symbol at the size the engine is tuned for, or else its smallest."""
    return {
        name: known.opt if known.opt is not None else max(known.min, 1)
        for name, known in manifest.symbols.items()
    }


def amount(text: Expr, sizes: Mapping[str, int]) -> int | None:
    """An amount at these sizes; None if it depends on others."""
    expression = parse(text)
    return expression(sizes) if expression.symbols <= sizes.keys() else None


def total(amounts: Iterable[int | None]) -> int | None:
    """The sum; None if an amount is not known."""
    found = list(amounts)
    return None if None in found else sum(one for one in found if one is not None)
