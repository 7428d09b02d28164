"""Lists."""

RULES = ()
