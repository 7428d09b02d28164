"""Rules of imports that no linter here checks."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("codegen", "dialects", "frontends", "lowering", "runtime", "tools")


def bare_imports(source: str) -> list[str]:
    """Modules imported by a folder's own name, which makes second copies of classes."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        found += [name for name in names if name.split(".")[0] in FOLDERS]
    return found


def test_the_folders_are_imported_through_stepwell_only() -> None:
    files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
    files += (ROOT / "test").rglob("*.py")
    assert {str(f): bad for f in files if (bad := bare_imports(f.read_text()))} == {}


def test_a_bare_import_is_noticed() -> None:
    assert bare_imports("import dialects.nn\nfrom tools import opt") != []
