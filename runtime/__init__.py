"""Loads and runs engines. Imports nothing of ours but `stepwell.errors`."""

from .engine import Engine, load, load_bytes
from .inputs import TensorSpec

__all__ = ["Engine", "TensorSpec", "load", "load_bytes"]
