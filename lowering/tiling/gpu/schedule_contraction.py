"""The cost model of matrix products on a GPU's tensor cores."""

from __future__ import annotations

from stepwell.dialects.schedules import Schedule
from stepwell.dialects.shapes import Ranges
from stepwell.dialects.target import Target
from stepwell.lowering.tiling.product import Product


def is_mma(product: Product, ranges: Ranges) -> bool:
    return False


def schedule_contraction(product: Product, target: Target, ranges: Ranges) -> Schedule:
    raise NotImplementedError
