"""Writes the generated pages of `docs/`; with `--check`, says which are out of date."""

from __future__ import annotations

import sys
from pathlib import Path

from stepwell.frontends.onnx.reference import ops_page
from stepwell.frontends.torch.reference import ops_page as torch_ops_page
from stepwell.tools.docs.reference import reference_pages
from stepwell.tools.docs.staircase import staircase_page

DOCS = Path(__file__).resolve().parents[2] / "docs"


def pages() -> dict[str, str]:
    """Every generated page by its path under `docs/`."""
    return {
        **reference_pages(),
        "reference/onnx-ops.md": ops_page(),
        "reference/torch-ops.md": torch_ops_page(),
        "02-down-the-staircase.md": staircase_page(),
    }


def main(arguments: list[str]) -> int:
    """Returns 1 if `--check` found a page that differs from what is committed."""
    stale: list[str] = []
    generated = pages()
    for name, text in generated.items():
        path = DOCS / name
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    verb = "out of date" if "--check" in arguments else "written"
    print(f"docs: {len(stale)} of {len(generated)} pages {verb}", *stale, sep="\n  ")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
