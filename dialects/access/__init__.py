"""Access maps: which element of a tensor each point of an iteration space touches.

A map sends iteration dims to one quasi-affine expression per dim of the tensor
(`stepwell.dialects.quasi_affine`). It may have

* *guards* `0 <= expr < size`: where one fails, a read gives `fill` and a write is
  skipped (padding, pieces of a concatenation);
* *indirect* terms: symbols `at$0`, `at$1`, ... whose value is read from an integer
  operand at a map of its own (gather, embedding, scatter). They may be negative.

Without guards every point must be in bounds. Text form:

```
#fusion.access<(n, p, q) -> [n, p * 2 - 1, q] where [p * 2 - 1 < 56] else 0.0>
#fusion.access<(b, c) -> [at$0 mod 100, c] with [at$0 = 1[b]]>
```

Transposes, slices, broadcasts, pads, reshapes and gathers are maps, and vanish when
maps are composed.
"""

from .attribute import AccessAttr, parse_body
from .maps import AccessMap, Fill, Guard, Indirect, Stride, row_major

__all__ = [
    "AccessAttr",
    "AccessMap",
    "Fill",
    "Guard",
    "Indirect",
    "Stride",
    "parse_body",
    "row_major",
]
