"""Names of kernels: what they compute, and the model's own name for it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from xdsl.ir import Operation

from stepwell.dialects.provenance import location_names

MAX_LENGTH = 64

MOVEMENT = ("reshape", "transpose")
"""What is left out of a name that holds more."""


def kernel_name(ops: Sequence[Operation]) -> str:
    """`conv_add_relu__layer1_conv1`: the ops, then the first source node's name.

    Runs of one op are shortened (`add_add` to `add2`); long lists keep both ends.
    """
    kinds = [op.name.partition(".")[2] for op in ops]
    kinds = [kind for kind in kinds if kind not in MOVEMENT] or kinds
    text = "_".join(_shorten(kinds))
    source = next((name for op in ops for name in location_names(op)), "")
    node = re.sub(r"[^0-9A-Za-z]+", "_", source).strip("_")[-MAX_LENGTH:]
    return f"{text}__{node}" if node else text


def _shorten(kinds: list[str]) -> list[str]:
    runs: list[tuple[str, int]] = []
    for kind in kinds:
        if runs and runs[-1][0] == kind:
            runs[-1] = (kind, runs[-1][1] + 1)
        else:
            runs.append((kind, 1))
    texts = [kind if count == 1 else f"{kind}{count}" for kind, count in runs]
    return texts if len(texts) <= 6 else [*texts[:4], "etc", texts[-1]]
