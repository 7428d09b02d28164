"""Vector polynomials of the elementary functions, in the `llvm` dialect."""

from __future__ import annotations

from .library import MATH_FUNCTIONS, MathLibrary

__all__ = ["MATH_FUNCTIONS", "MathLibrary"]
