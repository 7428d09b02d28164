"""From a framework's model to the `nn` dialect."""
