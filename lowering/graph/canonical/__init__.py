"""The patterns of `canonicalize`, one file per family of ops."""
