"""Walks over a program, and its check against this runtime before it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from stepwell.errors import EngineFileError

from .manifest import Block, HostCall, If, Launch, Loop, Segment, Step


def steps_of(block: Block) -> Iterator[Step]:
    """Every step of a block and of the blocks inside it, in order."""
    for step in block.steps:
        yield step
        match step:
            case If():
                yield from steps_of(step.then_block)
                yield from steps_of(step.else_block)
            case Loop():
                yield from steps_of(step.body)
            case _:
                pass


def launches_of(block: Block) -> list[Launch]:
    """Every launch of a program, in order."""
    segments = (step for step in steps_of(block) if isinstance(step, Segment))
    return [launch for segment in segments for launch in segment.launches]


def verify_host_calls(program: Block, known: Collection[str]) -> None:
    """Check that the runtime has every host function that the program calls.

    Raises:
        EngineFileError: it lacks some; the message names them.
    """
    calls = {step.name for step in steps_of(program) if isinstance(step, HostCall)}
    if missing := sorted(calls - set(known)):
        raise EngineFileError(
            f"expected host functions of this runtime, got {', '.join(missing)}",
            fix="update Stepwell, or build the engine again",
        )
