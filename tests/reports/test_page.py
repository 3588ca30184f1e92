"""The page of a run: everything a reader needs is on it, nothing is loaded from elsewhere, nothing breaks out."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from medsam_core.cases import CaseRecord
from medsam_core.errors import RunError
from medsam_core.gates.bounds import BOUNDS, Bound
from medsam_core.gates.gate import Gate, GateResult
from medsam_core.gates.gates_file import load_gates
from medsam_core.gates.verdict import CaseVerdict, Verdict, judge
from medsam_core.outcome import Outcome
from medsam_core.reports.page import page, write_page
from medsam_core.runs import Run
from tests.headers import made_header

Make = Callable[..., CaseRecord]
GATES = """
version = 1
[[gate]]
metric = "dice"
region = "WT"
case_minimum = 0.7
mean_minimum = 0.5
"""


@pytest.fixture
def run(make_record: Make, tmp_path: Path) -> Run:
    records = (
        make_record("S1", dice=0.9, grade="HGG"),
        make_record("S2", dice=0.4, diagnosis="leak: 340 voxels", overlay="overlays/S2 #1.png"),
        make_record("S3", dice=0.8, overlay="overlays/gone.png"),
        make_record("S1", region="ET", dice=0.2),
        make_record("S2", region="ET", dice=1.0, absent=True),
    )
    (tmp_path / "run" / "overlays").mkdir(parents=True)
    (tmp_path / "run" / "overlays" / "S2 #1.png").touch()
    header = made_header(
        [*(record.id for record in records), "S9/t1ce/WT/box"],
        settings={"profile": "brats2019", "regions": ["WT", "ET"]},
        checkpoint={"name": "embedded", "sha256": "abc123"},
        environment={"torch": "2.13"},
    )
    return Run(tmp_path / "run", header, records)


@pytest.fixture
def verdict(run: Run, tmp_path: Path) -> Verdict:
    path = tmp_path / "gates.toml"
    path.write_text(GATES)
    return judge(run.plan, run.records, load_gates(path))


class Elements(HTMLParser):
    """Every element's name and attributes, the text, and the elements left open or closed out of order."""

    VOID = ("meta", "img", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data + "\n"


def row(text: str, case: str) -> str:
    (found,) = [line for line in text.splitlines() if f'data-key="{case}"' in line]
    return found


def test_the_page_says_what_there_is_to_say(run: Run, verdict: Verdict) -> None:
    elements = Elements(page(run, verdict, links_from=run.directory))
    assert elements.open == []
    for text in (
        "FAIL",
        "5 of 6 cases scored, 1 of 2 bounds broken",
        "1 case planned but not scored: S9/t1ce/WT/box",
        "Dice 0.400 < 0.700 (WT, box, key slice 7)",
        "leak: 340 voxels",
        "mean Dice",
        "embedded",
        "abc123",
        "brats2019",
        "2.13",
        "S1/t1ce/ET/box",
    ):
        assert text in elements.text


def test_failed_cases_come_first_then_the_worst(run: Run, verdict: Verdict) -> None:
    ids = re.findall(r'data-key="(\S+/box)"', page(run, verdict, links_from=run.directory))
    assert ids == [
        "S2/t1ce/WT/box",  # the only FAIL
        "S3/t1ce/WT/box",
        "S1/t1ce/WT/box",
        "S1/t1ce/ET/box",  # under no gate
        "S2/t1ce/ET/box",
    ]


def test_a_case_under_no_gate_is_no_pass(run: Run, verdict: Verdict) -> None:
    text = page(run, verdict, links_from=run.directory)
    assert "FAIL" in row(text, "S2/t1ce/WT/box")
    assert "PASS" in row(text, "S1/t1ce/WT/box")
    assert "PASS" not in row(text, "S1/t1ce/ET/box")
    assert "absent" in row(text, "S2/t1ce/ET/box")


def test_overlays_are_linked_from_where_the_page_is_and_only_if_they_exist(run: Run, verdict: Verdict) -> None:
    for folder in (run.directory, run.directory.parent):
        images = [more for tag, more in Elements(page(run, verdict, links_from=folder)).found if tag == "img"]
        assert len(images) == 1
        assert (folder / unquote(str(images[0]["src"]))).is_file()
        assert images[0]["alt"]


def test_nothing_is_loaded_from_elsewhere(run: Run, verdict: Verdict) -> None:
    text = page(run, verdict, links_from=run.directory)
    assert "//" not in "".join(str(more.get(key, "")) for _, more in Elements(text).found for key in ("src", "href"))
    assert "url(" not in text
    assert "@import" not in text
    assert {tag for tag, _ in Elements(text).found}.isdisjoint({"link", "iframe", "object"})


def test_what_comes_from_files_is_escaped(make_record: Make, tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>'
    record = make_record(f"S{evil}", grade=evil, diagnosis=evil, notes=(evil,), overlay="javascript:alert(1).png")
    header = made_header([record.id, evil], device=evil, checkpoint={"name": evil, "sha256": evil})
    bound = Bound(*BOUNDS["case_minimum"], 0.5)
    text = page(
        Run(tmp_path / "run", header, (record,)),
        Verdict(
            Outcome.INCONCLUSIVE,
            reasons=(evil,),
            notes=(evil,),
            results=(GateResult(Gate(1, "dice", "volume", {}, (bound,)), bound, 0.4, 1, Outcome.FAIL, evil),),
            cases=(CaseVerdict(record.id, Outcome.FAIL, (evil,)),),
        ),
        links_from=tmp_path,
    )
    assert evil not in text
    assert [tag for tag, _ in Elements(text).found].count("script") == 1
    assert "INCONCLUSIVE" in Elements(text).text


def test_a_run_without_records_or_gates_has_a_page(tmp_path: Path) -> None:
    empty = Run(tmp_path, made_header(), ())
    text = Elements(page(empty, judge((), (), None), links_from=tmp_path)).text
    assert "INCONCLUSIVE" in text
    assert "No case was scored." in text
    assert "No gate was applied." in text


def test_scores_that_the_run_lacks_or_that_are_undefined(make_record: Make, tmp_path: Path) -> None:
    records = (make_record("S1", dice=float("nan")), make_record("S2", dice=0.5))
    header = made_header(settings={"profile": "monai"})
    assert "no score" in page(Run(tmp_path, header, records), Verdict(Outcome.PASS), links_from=tmp_path)
    header = made_header(settings={"profile": "brats2019"})
    assert 'data-key="-1e+300">–<' in page(Run(tmp_path, header, records), Verdict(Outcome.PASS), links_from=tmp_path)


def test_the_file_is_written_whole_or_not_at_all(run: Run, verdict: Verdict, tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    write_page(run, verdict, folder / "page.html")
    assert (folder / "page.html").read_text(encoding="utf-8").endswith("</html>\n")
    assert [one.name for one in folder.iterdir()] == ["page.html"]
    (tmp_path / "file").touch()
    with pytest.raises(
        RunError, match=r"file/page\.html: cannot be written \(.*\); choose another --medsam-run-dir\.$"
    ):
        write_page(run, verdict, tmp_path / "file" / "page.html")
