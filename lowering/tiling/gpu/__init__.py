"""Cost models and layouts of GPU kernels."""

from __future__ import annotations

from .schedule import schedule_kernel

__all__ = ["schedule_kernel"]
