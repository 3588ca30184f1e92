"""The page of a run: everything a reader needs is on it, nothing is loaded from elsewhere, nothing breaks out."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from medsam_core.errors import RunError
from medsam_core.gates.bounds import BOUNDS, Bound
from medsam_core.gates.gate import Gate, GateResult
from medsam_core.gates.verdict import CaseVerdict, Verdict, judge
from medsam_core.outcome import Outcome
from medsam_core.page.page import gate_groups, page, summary, write_page
from medsam_core.runs import Run
from tests.headers import made_header


class Elements(HTMLParser):
    """Every element's name and attributes, the text, and the elements left open or closed out of order."""

    VOID = ("meta", "img", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = self.data = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data + "\n"
        elif self.found and self.found[-1] == ("script", {"id": "data", "type": "application/json"}):
            self.data += data

    @property
    def cases(self):
        """The page's data."""
        return json.loads(self.data)


def read(made, **changes):
    text = page(made.run, made.verdict, links_from=made.run.directory, baseline=made.baseline, **changes)
    return Elements(text)


def test_the_page_says_what_there_is_to_say(made):
    elements = read(made)
    assert elements.open == []
    for text in (
        "FAIL",
        "1 of 2 bounds is broken and 1 could not be decided; 5 of 6 planned cases were scored.",
        "1 case planned but not scored: S9/t1ce/WT/box",
        "worst Dice 0.400 < 0.700",
        "Of 3 cases in both, Dice fell in 1, rose in 1 and stayed in 1.",
        "WT box",
        "leak",
        "mean Dice",
        "embedded",
        "abc123",
        "brats2019",
        "2.13",
    ):
        assert text in elements.text
    assert "leak: 340 voxels" in elements.cases["words"]


def test_without_scripts_verdict_reasons_gates_and_scores_can_be_read(made):
    elements = read(made)
    assert "The table of the 5 cases needs JavaScript." in " ".join(elements.text.split())
    assert "mean_minimum" in elements.text
    (form,) = [more for tag, more in elements.found if tag == "form"]
    assert "hidden" in form, "without scripts nothing filters"


def test_failed_cases_come_first_then_the_worst(made):
    assert read(made).cases["id"] == [
        "S2/t1ce/WT/box",  # the only FAIL
        "S3/t1ce/WT/box",
        "S1/t1ce/WT/box",
        "S1/t1ce/ET/box",  # under no gate
        "S2/t1ce/ET/box",
    ]


def test_a_case_under_no_gate_is_no_pass(made):
    cases = read(made).cases
    assert [cases["words"][one] for one in cases["outcome"]] == ["FAIL", "PASS", "PASS", "–", "–"]
    assert cases["prompted"] == [1, 1, 1, 1, 0]


def test_the_worst_and_the_fallen_cases_are_tiles_and_their_pictures_are_in_the_page(made):
    elements = read(made)
    tiles = [str(more["href"]) for tag, more in elements.found if tag == "a" and more.get("class") == "tile"]
    # three worst, the region of the fifth case is absent; then the only one that fell
    assert tiles == [f"#case={id}" for id in ("S1/t1ce/ET/box", "S2/t1ce/WT/box", "S3/t1ce/WT/box", "S2/t1ce/WT/box")]
    pictures = [str(more["src"]) for tag, more in elements.found if tag == "img"]
    assert len(pictures) == 2
    assert all(one.startswith("data:image/webp;base64,") for one in pictures)
    assert "Dice 0.400 (−0.350)" in elements.text


def test_overlays_are_linked_from_where_the_page_is_and_only_if_they_exist(made):
    for folder in (made.run.directory, made.run.directory.parent):
        data = Elements(page(made.run, made.verdict, links_from=folder)).cases
        assert list(data["pictures"]) == ["0"]
        assert (folder / unquote(data["pictures"]["0"])).is_file()


def test_the_viewer_s_files_are_named_where_they_exist(made):
    viewer = made.run.directory / "viewer"
    viewer.mkdir()
    (viewer / "S3__t1ce__WT__box.js").touch()
    for folder in (made.run.directory, made.run.directory.parent):
        data = Elements(page(made.run, made.verdict, links_from=folder)).cases
        assert list(data["viewers"]) == [str(data["id"].index("S3/t1ce/WT/box"))]
        assert (folder / data["viewer"]).resolve() == (viewer / "viewer.js").resolve()
        (script,) = data["viewers"].values()
        assert (folder / script).is_file()


def test_no_picture_is_taken_from_outside_of_the_run(made, make_record):
    outside = made.run.directory.parent / "private.png"
    outside.write_bytes((made.run.directory / "overlays" / "S2 #1.png").read_bytes())
    record = make_record("S1", dice=0.1, overlay="../private.png")
    elements = Elements(page(replace(made.run, records=(record,)), made.verdict, links_from=made.run.directory))
    assert elements.cases["pictures"] == {}
    assert "no picture was kept" in elements.text


def test_a_picture_that_cannot_be_read_costs_the_picture_alone(made):
    (made.run.directory / "overlays" / "S2 #1.png").write_bytes(b"no picture")
    assert "no picture was kept" in read(made).text


def test_nothing_is_loaded_from_elsewhere(made):
    text = page(made.run, made.verdict, links_from=made.run.directory, baseline=made.baseline)
    elements = Elements(text)
    assert "//" not in "".join(
        str(more.get(key, ""))
        for _, more in elements.found
        for key in ("src", "href")
        if not str(more.get(key)).startswith("data:")
    )
    assert "@import" not in text
    assert {tag for tag, _ in elements.found}.isdisjoint({"link", "iframe", "object"})
    assert not [more for tag, more in elements.found if tag == "script" and "src" in more]


def test_only_the_scripts_of_the_page_may_run(made):
    text = page(made.run, made.verdict, links_from=made.run.directory)
    (policy,) = [str(more["content"]) for tag, more in Elements(text).found if more.get("http-equiv")]
    assert "default-src 'none'" in policy
    scripts = next(one for one in policy.split("; ") if one.startswith("script-src"))
    assert scripts.count("'sha256-") == 3
    assert "unsafe-inline" not in scripts


def test_what_comes_from_files_is_escaped(make_record, tmp_path):
    evil = '"></script><script>alert(1)</script>\u2028'
    record = make_record(f"S{evil}", grade=evil, diagnosis=evil, notes=(evil,), overlay="javascript:alert(1).png")
    header = made_header([record.id, evil], device=evil, checkpoint={"name": evil, "sha256": evil}, command=[evil])
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
    assert "<script>alert" not in text
    assert "\u2028" not in text
    elements = Elements(text)
    assert [tag for tag, _ in elements.found].count("script") == 4
    assert elements.cases["id"] == [record.id.replace("\u2028", "\\u2028")]
    assert "INCONCLUSIVE" in elements.text


def test_a_run_without_records_or_gates_has_a_page(tmp_path):
    empty = Run(tmp_path, made_header(), ())
    text = Elements(page(empty, judge((), (), None), links_from=tmp_path)).text
    assert "INCONCLUSIVE" in text
    assert "No case was scored." in text
    assert "No gate was applied." in text


def test_scores_that_the_run_lacks_or_that_are_undefined(make_record, tmp_path):
    records = (make_record("S1", dice=float("nan")), make_record("S2", dice=0.5))
    header = made_header(settings={"profile": "monai"})
    assert "no score" in page(Run(tmp_path, header, records), Verdict(Outcome.PASS), links_from=tmp_path)
    header = made_header(settings={"profile": "brats2019"})
    data = Elements(page(Run(tmp_path, header, records), Verdict(Outcome.PASS), links_from=tmp_path)).cases
    (dice,) = [one for one in data["scores"] if (one["metric"], one["scope"]) == ("dice", "volume")]
    assert dice["now"] == [None, 0.5]


def test_the_file_is_written_whole_or_not_at_all(made, tmp_path):
    folder = tmp_path / "pages"
    folder.mkdir()
    write_page(made.run, made.verdict, folder / "page.html", baseline=made.baseline)
    assert (folder / "page.html").read_text(encoding="utf-8").endswith("</html>\n")
    assert [one.name for one in folder.iterdir()] == ["page.html"]
    (tmp_path / "file").touch()
    with pytest.raises(
        RunError, match=r"file/page\.html: cannot be written \(.*\); choose another --medsam-run-dir\.$"
    ):
        write_page(made.run, made.verdict, tmp_path / "file" / "page.html")


def test_broken_bounds_come_first_and_those_that_hold_are_folded(made):
    assert list(gate_groups(made.verdict.results)) == ["FAIL", "INCONCLUSIVE"]
    bound = Bound(*BOUNDS["case_minimum"], 0.5)
    held = GateResult(Gate(1, "dice", "volume", {}, (bound,)), bound, 0.6, 1, Outcome.PASS, "it holds")
    verdict = replace(made.verdict, results=(held, *made.verdict.results))
    assert list(gate_groups(verdict.results)) == ["FAIL", "INCONCLUSIVE", "PASS"]
    text = page(made.run, verdict, links_from=made.run.directory)
    gates = text[text.index('<section id="gates"') : text.index('<section id="cases"')]
    assert gates.count("<details open>") == 2
    assert gates.count("<details>") == 1


@pytest.mark.parametrize(
    ("counts", "outcomes", "said"),
    [
        ((36, 36), (Outcome.PASS,) * 2, "All 36 planned cases were scored, and all 2 bounds hold."),
        ((36, 36), (Outcome.FAIL,), "1 of 1 bound is broken; all 36 planned cases were scored."),
        (
            (36, 35),
            (Outcome.INCONCLUSIVE,) * 2,
            "2 of 2 bounds could not be decided; 35 of 36 planned cases were scored.",
        ),
        ((1, 0), (), "0 of 1 planned case was scored."),
        ((1, 1), (), "The planned case was scored."),
    ],
)
def test_the_verdict_in_a_sentence(counts, outcomes, said):
    bound = Bound(*BOUNDS["case_minimum"], 0.5)
    results = tuple(GateResult(Gate(1, "dice", "volume", {}, (bound,)), bound, 1.0, 1, one, "") for one in outcomes)
    counts = dict(zip(("planned", "scored"), counts, strict=True))
    assert summary(Verdict(Outcome.FAIL, results=results, counts=counts)) == said
