"""The op table: rules by family. A new op is a row of its family's `RULES`."""

from __future__ import annotations

from stepwell.frontends.onnx.ops import (
    attention,
    contraction,
    control,
    deform,
    elementwise,
    indexing,
    microsoft,
    normalisation,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    sequence,
    shape,
    signal,
)
from stepwell.frontends.onnx.registry import OpTable

FAMILIES = {
    "elementwise": elementwise.RULES,
    "contraction": contraction.RULES,
    "reduction": reduction.RULES,
    "pooling": pooling.RULES,
    "normalisation": normalisation.RULES,
    "attention": attention.RULES,
    "shape": shape.RULES,
    "indexing": indexing.RULES,
    "resize": resize.RULES,
    "deform": deform.RULES,
    "recurrent": recurrent.RULES,
    "quantization": quantization.RULES,
    "control": control.RULES,
    "sequence": sequence.RULES,
    "signal": signal.RULES,
    "microsoft": microsoft.RULES,
}

TABLE = OpTable(rule for rules in FAMILIES.values() for rule in rules)
