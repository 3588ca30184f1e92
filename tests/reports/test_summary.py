"""What a pull request shows of a run: the summary, the badge, and that no name in them is taken for markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from medsam_core.cli import main
from medsam_core.errors import RunError
from medsam_core.reports.markdown import block, code, escaped
from medsam_core.reports.summary import badge, summary

HOSTILE = [
    "<script>alert(1)</script>",
    "<!-- medsam-gate -->",
    "a|b",
    "a\\|b",
    "`x` ``` y",
    "![p](http://e.org/p.png) [l](javascript:alert(1))",
    "http://e.org www.e.org",
    "@everyone #1 GH-1 a@e.org",
    "*b* _i_ __b__ ~~s~~ &lt; &#60; :tada: $x$",
    "line\n# heading\n\n| a | b |\n|---|---|",
    "\u202eturned",
    "</code></details>",
]


def write_verdict(run, outcome, reasons=(), broken=()):
    results = [{"outcome": "FAIL", "text": text} for text in broken] + [{"outcome": "PASS", "text": "held"}]
    content = {"outcome": outcome, "reasons": list(reasons), "results": results}
    (run.directory / "verdict.json").write_text(json.dumps(content))


def html(text):
    """The text as a Markdown parser with GitHub's tables renders it, raw HTML included."""
    parser = pytest.importorskip("markdown_it", reason="markdown-it-py is not installed").MarkdownIt("commonmark")
    return parser.enable(["table", "strikethrough"]).render(text)


class Parts(HTMLParser):
    """The tags of a page in their order, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, _):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def test_the_summary_of_a_run_has_its_verdict_reasons_table_and_worst_case(make_record, make_run):
    run = make_run(
        [make_record("S1", dice=0.4, diagnosis="leak: 340 voxels")], plan=["S1/t1ce/WT/box", "S2/t1ce/WT/box"]
    )
    write_verdict(run, "FAIL", ["1 case planned but not scored"], ["Dice 0.400 < 0.700"])
    lines = summary(run.directory).splitlines()
    assert lines[0] == "### MedSAM-2 gate: FAIL"
    assert lines[2] == "1 of 2 cases scored on cpu, predictor <code>engine</code>, checkpoint <code>embedded</code>."
    assert lines[4:8] == ["```text", "Dice 0.400 < 0.700", "1 case planned but not scored", "```"]
    assert any(line.startswith("| t1ce | WT | box | 1 |") for line in lines)
    assert any("leak: 340 voxels" in line for line in lines)
    assert not any("held" in line for line in lines)


def test_an_ordinary_name_is_shown_without_references():
    assert escaped("Phantom_s19_0007/t1ce/WT/box-1, 0.797") == "Phantom_s19_0007/t1ce/WT/box-1, 0.797"
    assert escaped("Größe 3 × 4 Å") == "Größe 3 × 4 Å"


def test_many_reasons_are_counted(make_record, make_run):
    run = make_run([make_record()])
    write_verdict(run, "FAIL", broken=[f"bound {number}" for number in range(50)])
    text = summary(run.directory)
    assert "\nbound 19\nand 30 more\n```" in text
    assert "bound 20" not in text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_adds_nothing_to_the_table_or_the_page(make_record, make_run, name):
    def page(subject, run_name):
        records = [make_record(subject, dice=0.4, diagnosis=subject), make_record("S2", "TC")]
        run = make_run(records, name=run_name)
        write_verdict(run, "FAIL", [f"{subject}: not scored"], [f"{subject} 0.4 < 0.7"])
        return html(summary(run.directory, title=subject))

    ours, plain = Parts(page(name, "hostile")), Parts(page("S1", "plain"))
    assert ours.tags == plain.tags
    visible = name.replace("\n", "\\n").replace("\u202e", "\\u202e")
    assert ours.text.count(visible) == plain.text.count("S1") == 6


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_leaves_no_character_that_makes_markup_mentions_or_addresses(name):
    rest = re.sub(r"&#64;<!-- -->|&#\d+;", "", code(name).removeprefix("<code>").removesuffix("</code>"))
    assert not re.search(r"[<>&|`*\[\]()@#:~!\\$\x00-\x1f\u202e]|www\.|//\S*\.|^_|_$", rest)


def test_a_fence_is_longer_than_the_backticks_in_its_block():
    assert block(["a", "```", "`` ````"]) == "`````text\na\n```\n`` ````\n`````"


@pytest.mark.parametrize(
    ("outcome", "color", "error"),
    [("PASS", "brightgreen", False), ("FAIL", "red", True), ("INCONCLUSIVE", "red", True)],
)
def test_a_badge_is_green_for_pass_alone(make_record, make_run, outcome, color, error):
    run = make_run([make_record()])
    write_verdict(run, outcome)
    assert badge(run.directory) == {
        "schemaVersion": 1,
        "label": "MedSAM-2 gate",
        "message": f"{outcome}, 1 of 1 case",
        "color": color,
        "isError": error,
    }


def test_a_run_without_a_verdict_says_so_and_its_badge_is_red(make_record, make_run):
    run = make_run([make_record()])
    assert summary(run.directory).startswith("### MedSAM-2 gate: no verdict\n")
    assert "its session left no verdict" in summary(run.directory)
    assert (badge(run.directory)["color"], badge(run.directory)["message"]) == ("red", "no verdict, 1 of 1 case")


@pytest.mark.parametrize("show", [summary, badge])
def test_a_pass_that_lacks_a_record_is_an_error(make_record, make_run, show):
    run = make_run([make_record()], plan=["S1/t1ce/WT/box", "S2/t1ce/WT/box"])
    write_verdict(run, "PASS")
    with pytest.raises(
        RunError, match=r"its verdict is PASS, but it has records of 1 of 2 cases, expected one for every"
    ):
        show(run.directory)


@pytest.mark.parametrize("name", ["summary", "badge"])
def test_a_run_that_cannot_be_read_is_an_error_of_the_command(name, make_record, make_run, tmp_path, capsys):
    assert main([name, str(tmp_path / "nowhere")]) == 2
    run = make_run([make_record()])
    (run.directory / "verdict.json").write_text('{"outcome": "pass"}')
    assert main([name, str(run.directory)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(rf"^medsam-core {name}: \S*nowhere\S*run\.json: ", err)
    assert re.search(rf"^medsam-core {name}: \S*verdict\.json: .*expected a verdict", err, re.MULTILINE)


@pytest.mark.parametrize("name", ["summary", "badge"])
def test_the_command_prints_or_writes_the_same_with_a_title(name, make_record, make_run, command, tmp_path, capsys):
    run = make_run([make_record()])
    write_verdict(run, "FAIL")
    assert command(name, run.directory, "--title", "Gate <4>") == 0
    printed = capsys.readouterr().out
    assert command(name, run.directory, "--title", "Gate <4>", "-o", tmp_path / "out") == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "out").read_text() == printed
    if name == "badge":
        assert json.loads(printed)["label"] == "Gate <4>"
    else:
        assert printed.startswith("### Gate &#60;4&#62;: FAIL\n")
