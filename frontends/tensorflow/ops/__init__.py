"""The table of all ops: one file per family, one `Rule` per op."""

from __future__ import annotations

from stepwell.frontends.tensorflow.ops import (
    contraction,
    control,
    elementwise,
    indexing,
    lists,
    movement,
    normalisation,
    pooling,
    reduction,
    resampling,
    shape,
    structure,
)
from stepwell.frontends.tensorflow.registry import OpTable

FAMILIES = (
    structure,
    elementwise,
    contraction,
    pooling,
    normalisation,
    reduction,
    shape,
    movement,
    resampling,
    indexing,
    control,
    lists,
)

TABLE = OpTable(rule for family in FAMILIES for rule in family.RULES)
