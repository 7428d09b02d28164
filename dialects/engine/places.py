"""Where the result of an op of `engine` lies."""

from __future__ import annotations

from xdsl.dialects.builtin import I64, DenseArrayBase, TensorType
from xdsl.irdl import base
from xdsl.utils.exceptions import VerifyException

ANY_TENSOR = base(TensorType)

OUTPUT_SLOT = -1
"""The place of a result that is written directly into an engine's output buffer."""


def verify_slots(slots: DenseArrayBase[I64] | None, results: int) -> None:
    """Check that each of the results has a slot, if any has one."""
    if slots is None:
        return
    if len(slots) != results:
        raise VerifyException(
            f"expected one slot for each of {results} results, got {len(slots)}"
        )
    lowest = min((int(slot) for slot in slots.get_values()), default=0)
    if lowest < OUTPUT_SLOT:
        raise VerifyException(f"expected a slot of at least -1, got {lowest}")
