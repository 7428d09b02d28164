"""Moving transposes through the graph: what `propagate-channels-last` is made of."""
