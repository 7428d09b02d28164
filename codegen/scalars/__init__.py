"""Scalar bodies, element types and monoids, on vectors: shared by all devices."""
