"""Every reader of a stored file, with every kind of damage: one sentence that names the file, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medsam_core.cli import main
from medsam_core.errors import MedsamError
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.baseline_file import write_baseline
from medsam_core.gates.noise import measure, write_floor
from medsam_core.latency.measurement import Measurement, accept_latency
from medsam_core.prompts.manifest import read_manifest
from medsam_core.runs import read_run

STORED = Path(__file__).parent / "stored" / "run-60d6631"
DEEP = 200_000
FLOOR = Path("benchmarks") / "noise-floor.json"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with one whole file of each kind."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(STORED, "run")
    shutil.copytree(STORED, "other")
    (tmp_path / "other" / "verdict.json").write_text('{"outcome": "PASS"}')
    run = read_run("run")
    write_baseline(Baseline.of(run, "main"), Path("b"))
    write_floor(measure([run, read_run("other")]), FLOOR)
    accept_latency(Measurement("one", {"cpu": "x"}, {"encode": (1.0,) * 9}), "one", folder=Path("l"))
    stats = {
        "machine_info": {"medsam": {"cpu": "x"}},
        "benchmarks": [{"name": "test_encode", "stats": {"data": [1.0]}}],
    }
    Path("new.json").write_text(json.dumps(stats))
    return tmp_path


def command(*arguments: str) -> Callable[[], int]:
    return lambda: main(arguments)


def manifest() -> int:
    """The manifest is read by a session: pytest shows the sentence and ends with its own code for misuse."""
    try:
        read_manifest(Path("run/prompts.json"))
    except MedsamError as error:
        print(f"medsam-core: {error}", file=sys.stderr)
        return 2
    return 0


JSON_READERS: dict[str, tuple[str, str, Callable[[], int]]] = {
    "header, judge": ("run/run.json", "checkpoint.name", command("judge", "run")),
    "header, compare": ("run/run.json", "created", command("compare", "main", "run", "--baselines", "b")),
    "header, reference": ("run/run.json", "cohort.root", command("compare", "run", "other")),
    "header, propose": ("run/run.json", "device", command("propose", "run")),
    "header, accept": ("run/run.json", "precision", command("accept", "run", "--as", "x", "--baselines", "b")),
    "header, calibrate": ("run/run.json", "settings.profile", command("calibrate", "run", "other")),
    "baseline, compare": ("b/main.json", "name", command("compare", "main", "run", "--baselines", "b")),
    "baseline, judge": ("b/main.json", "name", command("judge", "run", "--baseline", "b/main.json")),
    "noise floor": (str(FLOOR), "floors.*.checkpoint", command("judge", "run")),
    "latency, new": ("new.json", "benchmarks.0.name", command("latency", "compare", "new.json", "--baselines", "l")),
    "latency, accepted": ("l/one.json", "name", command("latency", "compare", "new.json", "--against", "l/one.json")),
    "manifest": ("run/prompts.json", "cohort", manifest),
}
UNVERSIONED = {"latency, new"}


def with_number(tree: Any, place: str) -> Any:
    """The tree with 17 where a text is. A star is the first key."""
    first, _, rest = place.partition(".")
    if isinstance(tree, list):
        return [with_number(tree[0], rest), *tree[1:]] if rest else [17, *tree[1:]]
    key = next(iter(tree)) if first == "*" else first
    return {**tree, key: with_number(tree[key], rest) if rest else 17}


def damaged(content: str, kind: str, place: str) -> str:
    tree = json.loads(content)
    if kind == "a list":
        return json.dumps([tree])
    if kind == "a number for a text":
        return json.dumps(with_number(tree, place))
    if kind == "nested deeply":
        return content.rstrip()[:-1] + ', "more": ' + "[" * DEEP + "]" * DEEP + "}"
    if kind == "NaN":
        return content.rstrip()[:-1] + ', "more": NaN}'
    if kind == "an unknown version":
        return json.dumps({**tree, "schema": 99 if isinstance(tree["schema"], int) else "medsam-core/prompts/99"})
    return content[: len(content) // 2]


KINDS = ("a list", "a number for a text", "nested deeply", "NaN", "an unknown version", "half a file")


def one_sentence(capsys: pytest.CaptureFixture[str], file: str) -> str:
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert Path(file).name in err
    assert "Traceback" not in out + err
    return err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", JSON_READERS)
def test_a_damaged_file_is_one_sentence_that_names_it(folder, capsys, reader, kind):
    file, place, run = JSON_READERS[reader]
    if kind == "an unknown version" and reader in UNVERSIONED:
        pytest.skip("pytest-benchmark's own file: its version is not ours")
    content = Path(file).read_text()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path != folder / file}
    Path(file).write_text(damaged(content, kind, place))
    assert run() == 2
    said = one_sentence(capsys, file)
    if kind == "a number for a text":
        field = place.replace(".0.", "[0].").replace(".*.", ".").split(".")
        assert all(part in said for part in field), said
        assert "got int where str belongs" in said
    if kind == "an unknown version":
        assert re.search(r"99'?, this version reads up to .*; upgrade medsam-core", said)
    assert before == {path: path.read_bytes() for path in before}


RECORDS = {
    "a list": lambda line: f"[{line}]",
    "a number for a text": lambda line: line.replace('"labels": "brats2019"', '"labels": 17'),
    "nested deeply": lambda line: line[:-1] + ', "more": ' + "[" * DEEP + "]" * DEEP + "}",
    "NaN": lambda line: line.replace('"seconds": ', '"seconds": NaN, "was": '),
    "a region nobody knows": lambda line: line.replace('"region": "WT"', '"region": "XX"'),
    "half a line": lambda line: line[: len(line) // 2],
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("kind", RECORDS)
@pytest.mark.parametrize("name", ["judge", "compare", "propose", "accept"])
def test_a_damaged_record_is_one_sentence_that_names_its_line(capsys, name, kind):
    first, *others = Path("run/cases.jsonl").read_text().splitlines()
    Path("run/cases.jsonl").write_text("\n".join([others[0], RECORDS[kind](first), *others[1:]]) + "\n")
    more = {"compare": ("other",), "accept": ("--as", "x", "--baselines", "b")}.get(name, ())
    assert main([name, "run", *more] if name != "compare" else [name, *more, "run"]) == 2
    assert "cases.jsonl: line 2: " in one_sentence(capsys, "run/cases.jsonl")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("content", ["[]", '{"outcome": 17}', '{"outcome": "FINE"}', "[" * DEEP, "NaN", '{"outcome"'])
def test_a_damaged_verdict_is_one_sentence(capsys, content):
    Path("other/verdict.json").write_text(content)
    assert main(["compare", "other", "run"]) == 2
    one_sentence(capsys, "other/verdict.json")
    assert main(["accept", "other", "--as", "x", "--baselines", "b"]) == 2
    assert "verdict.json cannot be read" in one_sentence(capsys, "other")
    assert not Path("b/x.json").exists()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "content",
    [
        "gate = []",
        "version = 1\n[[gate]]\nmetric = 17\ncase_minimum = 0.5",
        f"version = 1\nx = {'[' * DEEP}",
        'version = 1\n[[gate]]\nmetric = "dice"\ncase_minimum = nan',
        "version = 99",
        'version = 1\n[[gate]]\nmetric = "di',
    ],
    ids=KINDS,
)
def test_a_damaged_gates_file_is_one_sentence(capsys, content):
    Path("g.toml").write_text(content)
    assert main(["judge", "run", "--gates", "g.toml"]) == 2
    one_sentence(capsys, "g.toml")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", ["run.json", "verdict.json"])
def test_history_lists_the_good_runs_beside_a_damaged_one(capsys, file, kind):
    if file == "verdict.json" and kind in ("an unknown version", "NaN", "nested deeply"):
        pytest.skip("what else is in a verdict is not read")
    path = Path("other") / file
    place = "checkpoint.name" if file == "run.json" else "outcome"
    path.write_text(damaged(path.read_text(), kind, place))
    assert main(["history", "."]) == 0
    printed = capsys.readouterr().out
    lines, text = printed.splitlines(), " ".join(printed.split())
    assert text.count("other: cannot be read: ") == 1
    assert file in text
    place = next(line for line in lines if line.startswith("mean Dice")).split().index("WT/box") - 1
    assert [line.split()[place] for line in lines if line.startswith("run ")] == ["0.680"]


@pytest.mark.usefixtures("folder")
def test_the_run_of_an_older_version_is_judged_as_before(capsys):
    """Written by commit 60d6631. Since then, a mean against a baseline is held for each group.

    The baseline is the one of that time: the default one is of other phantoms now.
    """
    assert main(["judge", "run", "--json", "--baselines", str(STORED.parent / "baselines")]) == 0
    got, before = json.loads(capsys.readouterr().out), json.loads((STORED / "verdict.json").read_text())
    for key in ("outcome", "exit_code", "reasons", "notes", "cases"):
        assert got[key] == before[key]
    assert got["predictor"] == "engine"
    by_group = [result for result in got["results"] if result["group"]]
    assert [(one["bound"], one["group"], one["outcome"]) for one in by_group] == [
        ("mean_drop_maximum", f"{region}/{prompt}", "PASS")
        for region in ("WT", "TC", "ET")
        for prompt in ("box", "point")
    ]
    assert [one for one in got["results"] if not one["group"]] == [
        {**one, "group": ""} for one in before["results"] if one["bound"] != "mean_drop_maximum"
    ]
    assert got["counts"] == {**before["counts"], "bounds": before["counts"]["bounds"] + 5, "ungated": 0}
