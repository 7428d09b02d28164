"""Tables of models: a process for each row, rows that are kept, sections of pages."""

import json
from dataclasses import dataclass

import pytest

from stepwell.tools.bench.model_table import (
    Bench,
    Row,
    chosen,
    column,
    markdown,
    parser_of,
    setting,
    tell,
    told,
    write_section,
)

SCRIPT = """
import json, sys
_, model, mode, log = sys.argv[1:]
print(model, file=open(log, "a"))
if model == "broken":
    sys.exit("it broke")
print("noise")
print(json.dumps({"model": model, "mode": mode, "error": 0.25, "is_right": True}))
"""


@dataclass(frozen=True, kw_only=True)
class TwoModes(Row):
    mode: str = column("shapes", default="", is_key=True)
    error: float = column("relative error", ".1e")


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def bench(tmp_path, log):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    return Bench(str(script), TwoModes, (str(log),))


def test_each_key_is_measured_in_a_process_and_failures_are_rows(bench, capfd):
    good, bad = bench.measure_all([("good", "static"), ("broken", "static")])
    assert good == TwoModes(model="good", mode="static", error=0.25, is_right=True)
    assert bad == TwoModes(model="broken", mode="static", failure="it broke")
    assert "it broke" in capfd.readouterr().err
    assert markdown([good, bad]) == (
        "| model | shapes | relative error |\n"
        "|---|---|---|\n"
        "| good | static | 2.5e-01 |\n"
        "| broken | static | it broke |"
    )


def test_kept_rows_are_not_measured_again_unless_they_failed(
    bench, log, tmp_path, capfd
):
    kept = tmp_path / "rows"
    keys = [("good", "static"), ("broken", "static"), ("good", "dynamic")]
    first = bench.measure_all(keys[:2], kept=kept)
    again = bench.measure_all(keys, kept=kept)
    assert again[:2] == first
    assert log.read_text().split() == ["good", "broken", "broken", "good"]
    assert [row.key for row in bench.read(kept)] == [*keys[:2], *keys[1:]]


def test_a_section_replaces_the_one_of_its_heading(tmp_path):
    page = tmp_path / "page.md"
    for section in ("# Table\n\nold\n", "## More\n\ntext\n", "# Table\n\nnew\n"):
        write_section(page, section)
    assert page.read_text() == "# Table\n\nnew\n\n## More\n\ntext\n"


def test_a_run_writes_its_section_if_asked_and_says_if_a_row_is_not_right(
    bench, tmp_path, capfd
):
    page = tmp_path / "page.md"
    good, bad = [("good", "static")], [("broken", "static")]
    options = parser_of(None).parse_args([])
    assert bench.run(good, options, page, markdown) == 0
    assert not page.exists()
    options = parser_of(None).parse_args(["--write"])
    assert bench.run([*good, *bad], options, page, lambda rows: f"# {len(rows)}") == 1
    assert page.read_text() == "# 2\n"
    assert "it broke" in capfd.readouterr().err


def test_a_process_tells_its_row(capsys):
    row = TwoModes(model="m", mode="static", error=0.5)
    assert tell(row) == 0
    assert TwoModes(**json.loads(capsys.readouterr().out)) == row


def test_a_page_says_what_its_numbers_were_made_with():
    text = setting("x.py", ["--only", "a"], torch="2.0")
    assert text.startswith("Command: `python tools/bench/x.py --only a`, 20")
    assert "torch 2.0, stepwell " in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 88


def test_pages_tell_what_was_measured_and_not_how():
    arguments = ["--only", "a", "--write", "--resume", "rows", "--jobs", "2"]
    assert told(arguments) == ["--only", "a"]


def test_a_name_that_no_model_has_ends_the_script():
    assert chosen(["a", "b"], None) == ["a", "b"]
    assert chosen(["a", "b"], ["b"]) == ["b"]
    with pytest.raises(SystemExit, match="no model c; there are a, b"):
        chosen(["a", "b"], ["b", "c"])
