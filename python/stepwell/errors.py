"""Every exception Stepwell raises, in one place.

Each error reads in the same order: what went wrong, notes that explain it, the place
in the user's own model or file, and what to do about it. This module uses the standard
library only, so that every layer can import it.
"""

from __future__ import annotations

from collections.abc import Sequence


class StepwellError(Exception):
    """Base of all errors meant for the user.

    Args:
        summary: one sentence, "expected X, got Y" where that fits.
        notes: further facts, one line each.
        where: the place in the user's input: a node, a file, a source line.
        fix: what the user can do.
    """

    def __init__(
        self,
        summary: str,
        *,
        notes: Sequence[str] = (),
        where: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(summary)
        self.summary = summary
        self.notes = tuple(notes)
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.summary]
        lines += [f"  note: {note}" for note in self.notes]
        if self.where is not None:
            lines.append(f"  at: {self.where}")
        if self.fix is not None:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


class ModelError(StepwellError):
    """The model file is damaged, or breaks the rules of its own format."""


class UnsupportedError(StepwellError):
    """The model is sound, but uses something Stepwell has no lowering for yet."""


class ShapeError(StepwellError):
    """Shapes or element types of a model's operators do not fit together."""


class CompileError(StepwellError):
    """A pass met IR it cannot lower; always names the op and its place in the model."""


class AccuracyError(StepwellError):
    """No choice of ops for the lower precision keeps the bound that was asked for."""


class EngineFileError(StepwellError):
    """An engine file is damaged, of another schema, or for another target."""


class InputError(StepwellError):
    """An engine was called with inputs that do not fit its signature."""


class DeviceError(StepwellError):
    """The device is missing, of the wrong kind, or out of memory."""


class OptionError(StepwellError, ValueError):
    """An argument of the Python API or the command line is not valid."""


class MissingExtraError(StepwellError, ImportError):
    """An optional dependency is not installed; the fix names the extra."""
