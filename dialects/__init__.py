"""Every level's vocabulary: the dialects, their types, and what their ops mean."""
