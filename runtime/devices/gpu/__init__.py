"""What GPUs have in common, real or emulated: memory of their own, grids of blocks."""
