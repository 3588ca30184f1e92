"""The viewer's files of a session: as the overlays, they are kept of failed cases and of the few worst others."""

import json

import pytest

from medsam_core.cli import main
from medsam_core.runs import CASES, VERDICT, read_run
from medsam_core.viewer.names import case_script, image_script, viewer_script
from tests.plugin.test_plugin import LENIENT, PLUGIN, STAND_IN, SUITE

pytest_plugins = ["pytester"]
PROGRAMS = {"viewer.js", "niivue.js"}
STRICT = 'version = 1\n[[gate]]\nmetric = "dice"\nregion = "TC"\nprompt = "box"\ncase_minimum = 1.0\n'


@pytest.fixture
def session(pytester, small_cohort):
    """`session(run, *options, gates=TOML)`: a session on two phantoms, WT and TC by box and point; gives the run."""
    pytester.makepyfile(test_gate=SUITE)

    def go(name, *options, gates=LENIENT, to="--medsam-run-dir"):
        cohort = (f"--medsam-root={small_cohort}", "--medsam-regions=WT,TC", "-m", "not gpu")
        chosen = (f"--medsam-gates={pytester.makefile('.toml', gates=gates)}", f"{to}={name}", *options)
        pytester.runpytest_inprocess(*STAND_IN, *PLUGIN, *cohort, *chosen)
        return read_run(pytester.path / name)

    return go


def shown(run):
    return {record.id for record in run.records if viewer_script(run.directory, record)}


def files(run):
    return {path.name for path in (run.directory / "viewer").iterdir()} - PROGRAMS


def worst(run, count):
    return {record.id for record in sorted(run.records, key=lambda one: (one.score("dice"), one.id))[:count]}


def expected_files(run, cases):
    chosen = [record for record in run.records if record.id in cases]
    paths = {case_script(record.id) for record in chosen} | {image_script(record.case) for record in chosen}
    return {path.removeprefix("viewer/") for path in paths}


def asked(run):
    """What a run says of its cases, but for the time that they took."""
    return [json.dumps({**record.to_json(), "seconds": None}, sort_keys=True) for record in run.records]


def test_the_worst_keep_theirs_and_images_that_nothing_shows_are_gone(session):
    run = session("run", "--medsam-overlays=1")
    assert len(run.records) == 8
    assert shown(run) == worst(run, 1)
    assert files(run) == expected_files(run, shown(run))
    assert {path.name for path in (run.directory / "viewer").iterdir()} >= PROGRAMS


def test_all_or_none_and_no_record_differs(session):
    every, none = (
        session("every", "--medsam-viewer=all", "--medsam-overlays=1"),
        session("none", "--medsam-viewer=none", "--medsam-overlays=1"),
    )
    assert shown(every) == set(every.plan)
    assert len(files(every)) == 8 + 2, "two subjects, an image each"
    assert not (none.directory / "viewer").exists()
    assert asked(every) == asked(none)


def test_failed_cases_keep_theirs(session):
    run = session("run", "--medsam-overlays=0", gates=STRICT)
    assert shown(run) == {
        record.id for record in run.records if record.id.endswith("TC/box") and record.score("dice") < 1
    }
    assert files(run) == expected_files(run, shown(run)) != set()


def test_a_case_that_fell_most_below_the_reference_keeps_its_own(session):
    old = session("old", "--medsam-viewer=none")
    (best,) = {record.id for record in old.records} - worst(old, 7)
    lines = [json.loads(line) for line in (old.directory / CASES).read_text().splitlines()]
    for line in lines:
        if line["id"] == best:
            line["scores"]["brats2019/dice@volume"] = min(1.0, line["scores"]["brats2019/dice@volume"] + 0.05)
    (old.directory / CASES).write_text("".join(json.dumps(line) + "\n" for line in lines))
    new = session("new", "--medsam-overlays=1", f"--medsam-baseline={old.directory}")
    assert shown(new) == worst(new, 1) | {best}


def test_a_resumed_session_keeps_the_worst_of_all(session):
    whole = session("run", "--medsam-overlays=2")
    lines = (whole.directory / CASES).read_text().splitlines(keepends=True)
    (whole.directory / CASES).write_text("".join(lines[:4]))
    (whole.directory / VERDICT).unlink()
    resumed = session("run", "--medsam-overlays=2", to="--medsam-resume")
    assert asked(resumed) == asked(whole)
    assert shown(resumed) == worst(whole, 2)
    assert files(resumed) == expected_files(resumed, shown(resumed))


def test_merged_shards_bring_theirs(session, pytester):
    parts = [session(f"part{n}", f"--medsam-shard={n}/2", "--medsam-overlays=1") for n in (1, 2)]
    main(["merge", *(str(part.directory) for part in parts), "-o", str(pytester.path / "merged")])
    merged = read_run(pytester.path / "merged")
    assert shown(merged) == shown(parts[0]) | shown(parts[1])
    assert files(merged) == files(parts[0]) | files(parts[1])
    assert {path.name for path in (merged.directory / "viewer").iterdir()} >= PROGRAMS


def test_a_word_that_is_none_of_the_choices_is_named(pytester):
    result = pytester.runpytest_inprocess(*PLUGIN, "--medsam-viewer=some")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--medsam-viewer: got 'some', expected one of worst, all, none; correct it.*"])
