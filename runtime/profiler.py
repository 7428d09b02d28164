"""Times of single kernels: the program, run launch by launch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .manifest import HostCall, Launch

if TYPE_CHECKING:
    from .engine import Engine


@dataclass(frozen=True)
class KernelTime:
    """One launch of the program.

    Attributes:
        calls: how often it ran in one inference (more than once in a loop).
        seconds: the median of its time in one inference, all calls together.
    """

    launch: Launch
    calls: int
    seconds: float


@dataclass(frozen=True)
class Event:
    """One launch or host call of a run: when it began, and how long it took."""

    step: Launch | HostCall
    start: float
    seconds: float


def observe_run(
    engine: Engine, inputs: Mapping[str, Any], runs: int = 1
) -> list[list[Event]]:
    """The launches and host calls of warm runs, in the order in which they ran.

    Each launch runs by itself: on a CPU with the caller's clock around it, on a GPU
    between two events of the stream.
    """
    arrays = engine.arrays_of(inputs)
    context = engine.context()
    context.run(arrays)
    found: list[list[Event]] = []
    for _ in range(runs):
        events: list[Event] = []
        context.run(arrays, lambda *event, events=events: events.append(Event(*event)))
        found.append(events)
    return found


def profile(
    engine: Engine, inputs: Mapping[str, Any], runs: int = 10
) -> list[KernelTime]:
    """The time of each launch, in the order of the program.

    The sum is larger than the time of an undisturbed run: see `observe_run`.
    """
    return _medians([_totals(events) for events in observe_run(engine, inputs, runs)])


def _totals(events: Sequence[Event]) -> dict[int, tuple[Launch, int, float]]:
    """Launches by identity, with their calls and seconds in one run."""
    found: dict[int, tuple[Launch, int, float]] = {}
    for one in events:
        if isinstance(one.step, Launch):
            _, calls, total = found.get(id(one.step), (one.step, 0, 0.0))
            found[id(one.step)] = (one.step, calls + 1, total + one.seconds)
    return found


def _medians(
    rounds: Sequence[Mapping[int, tuple[Launch, int, float]]],
) -> list[KernelTime]:
    last = rounds[-1] if rounds else {}
    times: list[KernelTime] = []
    for key, (launch, calls, _) in last.items():
        seconds = [found[key][2] for found in rounds if key in found]
        times.append(KernelTime(launch, calls, float(np.median(seconds))))
    return times


def chrome_trace(runs: Sequence[Sequence[Event]], device: str) -> dict[str, Any]:
    """The events in the Trace Event Format, which Perfetto and Chrome open.

    Kernels and host calls are two rows. Times are in microseconds from the first event.
    """
    events = [event for run in runs for event in run]
    begin = min((event.start for event in events), default=0.0)
    rows = [
        {"ph": "M", "pid": 0, "tid": tid, "name": "thread_name", "args": {"name": name}}
        for tid, name in enumerate((f"kernels on {device}", "host calls"))
    ]
    return {
        "displayTimeUnit": "ns",
        "traceEvents": rows + [_trace_event(event, begin) for event in events],
    }


def _trace_event(event: Event, begin: float) -> dict[str, Any]:
    step = event.step
    is_kernel = isinstance(step, Launch)
    known = (
        {"nodes": step.nodes, "ops": step.ops, "schedule": step.schedule}
        if is_kernel
        else {}
    )
    return {
        "ph": "X",
        "pid": 0,
        "tid": 0 if is_kernel else 1,
        "cat": "kernel" if is_kernel else "host",
        "name": step.name,
        "ts": 1e6 * (event.start - begin),
        "dur": 1e6 * event.seconds,
        "args": known,
    }
