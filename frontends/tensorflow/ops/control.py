"""Control flow."""

RULES = ()
