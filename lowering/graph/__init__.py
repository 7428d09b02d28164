"""Passes within the `nn` level: simplify, recognise, choose layouts."""
