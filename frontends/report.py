"""What of a model is not supported: everything at once, with the nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stepwell.errors import UnsupportedError


@dataclass(frozen=True)
class Issue:
    """One thing that one node asks for in vain.

    Args:
        node: the node's name.
        op: its op type, with the domain where that is not ONNX's own.
        what: what is missing.
        fix: what the user can do, if anything.
    """

    node: str
    op: str
    what: str
    fix: str | None = None

    def __str__(self) -> str:
        return f"{self.op} {self.node!r}: {self.what}"


@dataclass(frozen=True)
class Report:
    """The findings on one model: its ops with their counts, and the issues."""

    model: str
    ops: Mapping[str, int] = field(default_factory=Counter[str])
    issues: Sequence[Issue] = ()

    @property
    def is_supported(self) -> bool:
        """Whether the model can be imported."""
        return not self.issues

    def error(self) -> UnsupportedError:
        """The error that lists all issues, equal ones counted once per op."""
        grouped: dict[tuple[str, str], list[Issue]] = {}
        for issue in self.issues:
            grouped.setdefault((issue.op, issue.what), []).append(issue)
        notes = [
            f"{op}: {what} ({_nodes(issues)})" for (op, what), issues in grouped.items()
        ]
        return UnsupportedError(
            f"{self.model}: {len(grouped)} unsupported "
            f"{'feature' if len(grouped) == 1 else 'features'}",
            notes=notes,
            fix=next((issue.fix for issue in self.issues if issue.fix), None),
        )

    def __str__(self) -> str:
        if self.is_supported:
            kinds = len(self.ops)
            return f"{self.model}: all {kinds} op types are supported"
        return str(self.error())


def _nodes(issues: Sequence[Issue]) -> str:
    names = [repr(issue.node) for issue in issues[:3]]
    more = len(issues) - len(names)
    return f"at {', '.join(names)}" + (f" and {more} more" if more else "")
