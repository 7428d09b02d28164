"""`stepwell`: build, run, measure and look into engines from the command line.

    stepwell build model.onnx -o model.stepwell --shape x=1..32x3x224x224:8x3x224x224
    stepwell bench model.stepwell --profile

Exit codes: 0 success, 1 an error of the input (or a comparison beyond its tolerance),
2 wrong usage, 130 interrupted.
"""

from .main import main

__all__ = ["main"]
