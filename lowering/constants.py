"""Constants as Python numbers."""

from __future__ import annotations

from typing import Any

from xdsl.ir import SSAValue

from stepwell.dialects.nn import constant_value
from stepwell.dialects.weights import WeightStore

SCALAR_SEARCH_LIMIT = 1 << 16
"""Elements up to which a constant is searched for being one repeated number."""


def constant_scalar(value: SSAValue, weights: WeightStore) -> Any:
    """The Python number that all elements of a constant equal, else `None`.

    NaN equals nothing, so a constant of NaN has no scalar.
    """
    array = constant_value(value, weights)
    if array is None or not 0 < array.size <= SCALAR_SEARCH_LIMIT:
        return None
    first = array.flat[0]
    return first.item() if bool((array == first).all()) else None
