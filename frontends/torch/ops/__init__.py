"""The op table: rules by family. A new op is a row of its family's `RULES`."""

from __future__ import annotations

from stepwell.frontends.torch.registry import merge

from . import (
    activations,
    contraction,
    control,
    creation,
    dynamic,
    elementwise,
    indexing,
    normalisation,
    order,
    pooling,
    random,
    recurrent,
    reduction,
    resize,
    shape,
)

FAMILIES = {
    "elementwise": elementwise.RULES,
    "activations": activations.RULES,
    "contraction": contraction.RULES,
    "reduction": reduction.RULES,
    "order": order.RULES,
    "pooling": pooling.RULES,
    "normalisation": normalisation.RULES,
    "shape": shape.RULES,
    "indexing": indexing.RULES,
    "creation": creation.RULES,
    "resize": resize.RULES,
    "recurrent": recurrent.RULES,
    "dynamic": dynamic.RULES,
    "random": random.RULES,
    "control": control.RULES,
}

TABLE = merge(*FAMILIES.values())
