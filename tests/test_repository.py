"""What is committed beside the code follows from it: the schema, the tables, the README."""

import json
import re
import signal
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from mmkd import cli_tools
from mmkd.config import plugins
from mmkd.config.methods import methods_page
from mmkd.config.schema import json_schema, section_schema
from mmkd.config.section import Section
from mmkd.config.section_file import load_section
from mmkd.config.study_file import Study
from mmkd.config.sweep_file import Sweep
from mmkd.disk import DiskError
from mmkd.errors import MmkdError
from mmkd.interrupt import Interrupted
from mmkd.lease import Busy
from mmkd.report.figures.kinds import KINDS, load_figure
from mmkd.report.figures.write import check_figures
from mmkd.report.table_file import TableFile
from mmkd.report.tables import check_tables

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_the_schema_that_editors_read_is_current() -> None:
    stored = json.loads((ROOT / "experiments" / "experiment.schema.json").read_text("utf-8"))
    assert stored == json_schema(), "write it again: mmkd schema --out experiments/experiment.schema.json"


@pytest.mark.parametrize(
    ("kind", "section", "folder"),
    [
        ("sweep", Sweep, "experiments/sweeps"),
        ("study", Study, "experiments/studies"),
        ("table", TableFile, "results/tables"),
    ],
)
def test_the_schemas_of_other_files_are_current_and_hold_for_them(
    kind: str, section: type[Section], folder: str
) -> None:
    path = ROOT / "experiments" / f"{kind}.schema.json"
    stored = json.loads(path.read_text("utf-8"))
    assert stored == section_schema(section), f"write it again: mmkd schema {kind} --out {path.relative_to(ROOT)}"
    validator = Draft202012Validator(stored)
    files = sorted((ROOT / folder).glob("*.yaml"))
    assert files
    for file in files:
        text = file.read_text("utf-8")
        assert f"{kind}.schema.json\n" in text.partition("\n")[0] + "\n", f"{file}: its first line names no schema"
        content = YAML(typ="safe", pure=True).load(text)
        assert [error.message for error in validator.iter_errors(content)] == []
        assert [*validator.iter_errors(content | {"tilte": 1})]


def test_the_page_of_methods_is_current() -> None:
    stored = (ROOT / "docs" / "methods.md").read_text("utf-8")
    assert stored == methods_page(), "write it again: mmkd methods --out docs/methods.md"


def test_every_table_follows_from_the_ledger() -> None:
    assert check_tables(ROOT / "results" / "tables", ROOT / "results" / "records", ROOT) == []


def test_every_figure_follows_from_the_ledger() -> None:
    assert check_figures(ROOT / "results" / "figures", ROOT / "results" / "records") == []


def test_the_tree_in_the_readme_names_every_source_file() -> None:
    tree = README.partition("## The tree")[2].partition("\n## ")[0]
    for path in sorted((ROOT / "mmkd").rglob("*.py")):
        kind = path.parent.name in ("losses", "weighting") and not path.stem.startswith("_")
        if path.name != "__init__.py" and not kind:  # kinds are named above the tree
            assert re.search(rf"\b{path.stem}\b", tree), f"{path.relative_to(ROOT)} is not in the README's tree"


def test_the_numbers_in_the_readme_are_those_of_the_table() -> None:
    shown = README.partition("<!-- quickstart table -->\n")[2].partition("<!-- end -->")[0].strip()
    table = (ROOT / "results" / "tables" / "quickstart.md").read_text("utf-8")
    assert shown and shown in table


def test_the_tuned_students_in_the_readme_have_the_means_of_the_table() -> None:
    table = (ROOT / "results" / "tables" / "market_notes.md").read_text("utf-8").splitlines()
    spread = r"[0-9]+\.[0-9] ± [0-9]+\.[0-9]"
    alone, taught = (
        next(row for row in table if row.startswith(f"| {name}, tuned ")) for name in ("alone", "both teach")
    )
    means = [re.findall(spread, row)[3] for row in (alone, taught)]  # after sentiment, NER and risk
    said = README.partition("**The gain does not outlive tuning**")[2]
    assert re.findall(spread, said)[:2] == means


def test_the_ratios_in_the_page_of_the_benchmarks_are_those_that_were_measured() -> None:
    def measured(name: str) -> dict[str, list[str]]:
        page = (ROOT / "results" / "benchmarks" / f"{name}.md").read_text("utf-8")
        return {cells[0]: cells[1:] for cells in _rows(page) if len(cells) == 5}

    page = (ROOT / "benchmarks" / "README.md").read_text("utf-8").partition("## What was found")[2]
    amd, intel = measured("whole_amd"), measured("whole")
    found = [[name, bound, ratio, *intel.get(name, ["not run"])[:1]] for name, (ratio, _, bound, _) in amd.items()]
    assert [row for row in _rows(page) if row[0] != "promise"] == found[1:]


def _rows(page: str) -> list[list[str]]:
    """The cells of each row of a page's tables, without the lines under headings."""
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("|")]
    return [cells for cells in rows if not cells[0].startswith("---")]


def test_the_table_file_in_the_readme_is_one(tmp_path: Path) -> None:
    text = README.partition("### A table file\n\n```yaml\n")[2].partition("```")[0]
    (tmp_path / "shown.yaml").write_text(text, "utf-8")
    assert load_section(tmp_path / "shown.yaml", TableFile).groups == {
        "Temperature": ("T",),
        "Ablations": ("no hints",),
    }


def test_the_figure_file_in_the_readme_is_one(tmp_path: Path) -> None:
    section = README.partition("### A figure file\n\n")[2].partition("\n## ")[0]
    (tmp_path / "shown.yaml").write_text(section.partition("```yaml\n")[2].partition("```")[0], "utf-8")
    assert load_figure(tmp_path / "shown.yaml").kind == "gain"
    assert {kind for kind in KINDS if kind not in section} == set()


def test_each_exit_code_has_its_row() -> None:
    page = (ROOT / "docs" / "exit_codes.md").read_text("utf-8")
    codes = {value for name, value in vars(cli_tools).items() if name.isupper() and isinstance(value, int)}
    codes |= {error.exit_code for error in (MmkdError, Busy, DiskError, Interrupted)} | {128 + signal.SIGINT}
    assert {int(code) for code in re.findall(r"^\| +(\d+) \|", page, re.MULTILINE)} == {0, *codes}
    source = "".join(path.read_text("utf-8") for path in (ROOT / "mmkd").rglob("*.py"))
    stated = {int(code) for code in re.findall(r"exit_code: ClassVar\[int\] = (\d+)", source)}
    assert stated <= codes and len(stated) == 5


@pytest.mark.parametrize("folder", ["data", "losses", "tasks", "teachers", "weighting"])
def test_the_readme_names_every_kind(folder: str) -> None:
    for kind in plugins.kinds(folder):
        assert f"`{kind}`" in README, f"{folder}: `{kind}` is not in the README"
