"""lit: `lit test/filecheck` runs every RUN line, uninstalled, from the tree."""

import os
import sys
from pathlib import Path

import lit.formats

ROOT = Path(__file__).resolve().parents[2]

config.name = "stepwell"  # noqa: F821 - lit defines `config`
config.test_format = lit.formats.ShTest(execute_external=False)  # noqa: F821
config.suffixes = [".mlir"]  # noqa: F821
config.test_source_root = str(Path(__file__).parent)  # noqa: F821
config.test_exec_root = str(ROOT / "build" / "lit")  # noqa: F821
config.environment["PYTHONPATH"] = str(ROOT / "python")  # noqa: F821
config.environment["PATH"] = os.environ["PATH"]  # noqa: F821
config.substitutions += [  # noqa: F821
    ("stepwell-opt", f"{sys.executable} -m stepwell.tools.opt"),
    ("filecheck", f"{sys.executable} -m filecheck"),
]
