"""From `tile` to PTX."""
