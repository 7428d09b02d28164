"""Passes that turn `quant` and quantized `nn` ops into what a target computes."""
