"""The code blocks of README and docs run, page by page, in the order they stand.

Blocks marked `python` run in one process per page; blocks marked `sh` run as a shell
script, with the package's commands on the PATH. A block that must not run is marked
otherwise (`text`, `console`).
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md"])


def code_blocks(page: Path) -> list[tuple[str, str]]:
    """(language, code) of the runnable blocks of a page."""
    return BLOCK.findall(page.read_text())


def script_of(blocks: list[tuple[str, str]]) -> str:
    """One Python program that runs the blocks in order."""
    lines = ["import subprocess as _subprocess"]
    for language, code in blocks:
        if language == "python":
            lines.append(code)
        else:
            lines.append(f"_subprocess.run(['sh', '-e', '-c', {code!r}], check=True)")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if code_blocks(page)], ids=lambda page: page.name
)
def test_code_blocks_of_the_page_run(page: Path, tmp_path: Path) -> None:
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    result = subprocess.run(
        [sys.executable, "-c", script_of(code_blocks(page))],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_block_that_fails_is_noticed() -> None:
    script = script_of([("sh", "exit 3\n")])
    result = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert result.returncode != 0
