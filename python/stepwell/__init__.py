"""Stepwell: trained models down a staircase of dialects to a fast engine."""

__version__ = "0.1.0"
