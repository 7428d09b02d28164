"""Build the wheel, compare it with the tree, and build and run a model from it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP = (sys.executable, "-m", "pip")
FOLDERS = ("codegen", "dialects", "frontends", "lowering", "runtime", "tools")

SMOKE = """
import sys
import numpy as np, onnx, stepwell
assert stepwell.__file__.startswith(sys.argv[1]), stepwell.__file__
model = onnx.parser.parse_model('''
<ir_version: 8, opset_import: ["": 18]>
smoke (float[2, 8] x, float[8, 4] w) => (float[2, 4] y) {
    h = MatMul(x, w)
    y = Relu(h)
}''')
rng = np.random.default_rng(0)
x, w = (rng.standard_normal(shape, np.float32) for shape in ((2, 8), (8, 4)))
engine = stepwell.build(model)
engine.save("smoke.stepwell")
y = stepwell.load("smoke.stepwell").run({"x": x, "w": w})["y"]
assert np.allclose(y, np.maximum(x @ w, 0), atol=1e-5), y
print("built, saved, loaded and ran from", stepwell.__file__)
"""


def tree_files() -> set[str]:
    """Paths, inside the wheel, of every file of the package that git knows."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    own = {path.removeprefix("python/") for path in listed if _is_front_door(path)}
    return own | {f"stepwell/{p}" for p in listed if p.split("/")[0] in FOLDERS}


def _is_front_door(path: str) -> bool:
    inside = path.startswith("python/stepwell/")
    return inside and not (ROOT / path).is_symlink()


def wheel_files(wheel: Path) -> set[str]:
    """Paths of the package's files in a wheel."""
    names = zipfile.ZipFile(wheel).namelist()
    return {name for name in names if name.startswith("stepwell/")}


def main() -> int:
    """Returns 0 when the wheel holds the whole tree and works installed."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [*PIP, "wheel", "-q", "--no-deps", "-w", folder, "."],
            cwd=ROOT,
            check=True,
        )
        (wheel,) = Path(folder).glob("stepwell-*.whl")
        difference = tree_files() ^ wheel_files(wheel)
        if difference:
            print("wheel and tree differ in:", *sorted(difference), sep="\n  ")
            return 1
        site = str(Path(folder) / "site")
        subprocess.run(
            [*PIP, "install", "-q", "--no-deps", "--target", site, str(wheel)],
            check=True,
        )
        program = f"import sys; sys.path.insert(0, {site!r})\n{SMOKE}"
        command = [sys.executable, "-c", program, site]
        return subprocess.run(command, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main())
