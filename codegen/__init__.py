"""From `tile` to machine code, and the writer of engine files."""
