"""README and docs: their code blocks run, and their links lead somewhere.

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
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)|(?<![\w/-])(\d\d-[a-z-]+\.md)")
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md"])


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


def dangling(page: Path, text: str) -> list[str]:
    """Links to files, and names of guides, in a page's text that do not exist."""
    targets = [link or f"{ROOT}/docs/{guide}" for link, guide in LINK.findall(text)]
    return [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    assert not dangling(page, page.read_text())


def test_a_dangling_link_is_noticed() -> None:
    text = "[one](docs/99-none.md#part) `98-none.md` [two](README.md) [web](https://x)"
    missing = dangling(ROOT / "README.md", text)
    assert missing == ["docs/99-none.md", f"{ROOT}/docs/98-none.md"]


def test_guides_are_numbered_in_reading_order() -> None:
    numbers = [int(page.name[:2]) for page in sorted(ROOT.glob("docs/[0-9]*.md"))]
    assert numbers == list(range(len(numbers)))


def test_a_block_that_fails_is_noticed() -> None:
    script = script_of([("sh", "exit 3\n")])
    result = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert result.returncode != 0
