"""The table of all ops: one file per family, one `Rule` per op."""

from __future__ import annotations

from stepwell.frontends.tensorflow.ops import (
    blocks,
    contraction,
    control,
    elementwise,
    indexing,
    lists,
    matrices,
    movement,
    normalisation,
    pooling,
    quantization,
    reduction,
    resampling,
    selection,
    shape,
    spectral,
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
    blocks,
    resampling,
    indexing,
    matrices,
    selection,
    spectral,
    quantization,
    control,
    lists,
)

TABLE = OpTable(rule for family in FAMILIES for rule in family.RULES)
