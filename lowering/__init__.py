"""The passes between levels, and the pipelines made of them."""
