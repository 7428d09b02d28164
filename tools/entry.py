"""What the command lines share: exit codes, messages, and files written whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from stepwell.errors import OptionError, StepwellError
from stepwell.runtime.replacing import replacing

FAILED = 1
INTERRUPTED = 130


def run_command(
    command: Callable[[], int], reported: tuple[type[Exception], ...] = ()
) -> int:
    """Run a command; what the user can mend is a message on standard error.

    Args:
        command: returns the exit code.
        reported: errors, beside Stepwell's own, whose text is meant for the user.
    """
    try:
        return command()
    except (StepwellError, *reported) as error:
        print(f"error: {str(error).strip()}", file=sys.stderr)
    except MemoryError as error:
        print(f"error: not enough memory: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone: nothing more to say, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


@contextmanager
def output_file(path: Path, what: str) -> Generator[IO[bytes]]:
    """A file to write `what` into; the old one stays if that fails.

    Raises:
        OptionError: it cannot be written.
    """
    try:
        with replacing(path) as file:
            yield file
    except OSError as error:
        raise OptionError(
            f"cannot write {what}: {error.strerror or error}", where=str(path)
        ) from None
