"""A predictor of another repository through the whole gate, from run to page; and what is refused."""

from __future__ import annotations

import json

import pytest

from medsam_core.cli import main
from medsam_core.runs import read_run
from tests.predictors.toys import FLOOR, SUITE, TOY, said, scores

pytest_plugins = ["pytester"]

PIN = FLOOR + '[[gate]]\nmetric = "dice"\nsame = ["checkpoint"]\ncase_change_maximum = 0.0001\n'
BY_OPTION = "--medsam-predictor=toy:Toy"


def test_a_toy_of_fifteen_lines_goes_through_the_whole_gate(guest, pytester, capsys):
    assert len([line for line in TOY.splitlines() if line]) <= 15
    result = guest(BY_OPTION)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["predictor: toy 1", "checkpoint: toy (sha256 *)", "*PASS: 6 of 6*; predictor toy 1"])
    run = pytester.path / "run"
    header = read_run(run).header
    assert (header.predictor.name, header.predictor.version, header.checkpoint.name) == ("toy", "1", "toy")
    assert json.loads((run / "verdict.json").read_text())["predictor"] == "toy 1"
    assert "predictor toy 1" in (run / "page.html").read_text()

    # a baseline, and two workers that are pinned to it
    assert main(["accept", str(run), "--as", "toy", "--baselines", str(pytester.path), "--reason", "first"]) == 0
    pinned = ("--medsam-baseline=toy.json", BY_OPTION)
    result = guest(*pinned, "-n", "2", gates=PIN, run_dir="workers")
    assert result.ret == 0, said(result)
    result.stdout.fnmatch_lines(["*PASS: 6 of 6 cases scored, 2 of 2 bounds held; predictor toy 1"])
    assert scores(pytester.path / "workers") == scores(run)

    # a session that ended after two cases goes on
    cut = pytester.path / "workers" / "cases.jsonl"
    cut.write_text("".join(cut.read_text().splitlines(keepends=True)[:2]))
    result = guest(*pinned, "--medsam-resume=workers", gates=PIN, run_dir=None)
    assert result.ret == 0, said(result)
    assert scores(pytester.path / "workers") == scores(run)

    # another one under the same name: the run does not go on with it, and the pin is not about it
    toy = pytester.path / "toy.py"
    toy.write_text(toy.read_text().replace("[:, y0", "[1:, y0"))
    result = guest(*pinned, "--medsam-resume=workers", gates=PIN, run_dir=None)
    assert result.ret == 4
    assert "the run to resume differs in its checkpoint" in said(result)
    result = guest(*pinned, gates=PIN, run_dir="swapped")
    result.stdout.fnmatch_lines(["*note: *is for the baseline's own checkpoint: here checkpoint *, there *"])
    result.stdout.fnmatch_lines(["*PASS: 6 of 6 cases scored, 1 of 1 bound held; predictor toy 1"])
    capsys.readouterr()
    main(["compare", str(run), str(pytester.path / "swapped"), "--margin=1", "--case-drop-maximum=none"])
    assert "the same checkpoint" not in capsys.readouterr().out


def test_a_hook_names_the_predictor_and_the_option_goes_before_it(guest, pytester):
    hook = """
        from medsam_core.predictors.contract import PredictorIdentity
        def pytest_medsam_predictor(config, request):
            from toy import Toy
            made = Toy()
            made.identity = PredictorIdentity("hooked", request.options.get("release", "0"), "ab" * 32)
            return made
    """
    pytester.makeconftest(hook)
    result = guest("--medsam-predictor-options=release=7")
    assert result.ret == 0, said(result)
    result.stdout.fnmatch_lines(["predictor: hooked 7", "*PASS*; predictor hooked 7"])
    result = guest("-n", "1", run_dir="workers")
    assert result.ret == 0, said(result)
    assert str(read_run(pytester.path / "workers").header.predictor) == "hooked 0"
    result = guest(BY_OPTION, run_dir="option")
    result.stdout.fnmatch_lines(["predictor: toy 1"])


def test_the_configuration_file_names_the_predictor_and_its_post_processing(guest, pytester):
    pytester.makeini(
        "[pytest]\npythonpath = .\nmedsam_predictor = toy:Toy\nmedsam_postprocess = fill-holes,largest-component\n"
    )
    result = guest()
    assert result.ret == 0, said(result)
    result.stdout.fnmatch_lines(["predictor: toy+fill-holes:8+largest-component 1"])


def test_a_hook_that_pytest_finds_too_late_is_refused(guest, pytester):
    folder = pytester.mkdir("deeper")
    (folder / "conftest.py").write_text("def pytest_medsam_predictor(config, request):\n    return None\n")
    (folder / "test_other.py").write_text(SUITE)
    result = guest()
    assert result.ret == 4
    assert "conftest.py, which pytest loads after the predictor is chosen" in said(result)
    assert not (pytester.path / "run" / "cases.jsonl").exists()


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_a_fixture_of_the_same_name_is_refused_and_not_ignored(guest, pytester, workers):
    pytester.makeconftest(
        "import pytest, toy\n@pytest.fixture(scope='session')\ndef medsam_predictor():\n    return toy.Toy()\n"
    )
    result = guest(*workers)
    assert result.ret == (10 if workers else 4)
    assert "fixture medsam_predictor: got another one from " in said(result)
    assert "conftest.py:2, expected the plugin's" in said(result)
    assert "PASS:" not in said(result)


def test_a_hook_or_a_fixture_is_nobodys_business_without_cases(guest, pytester):
    late = "def pytest_medsam_predictor(config, request):\n    return None\n"
    (pytester.mkdir("deeper") / "conftest.py").write_text(late)
    (pytester.path / "deeper" / "test_more.py").write_text("def test_nothing():\n    pass\n")
    pytester.makepyfile(test_gate="def test_own(medsam_predictor):\n    assert medsam_predictor == 3\n")
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef medsam_predictor():\n    return 3\n")
    assert guest(run_dir=None).ret == 0


RETURN = "return [PlainPrediction(mask) for mask in masks]"
NOTES = "    notes = []\n"


@pytest.mark.parametrize(
    ("old", "new", "options", "sentence"),
    [
        (RETURN, "return [PlainPrediction(mask[:-1]) for mask in masks]", (), "got a mask of shape (19, 64, 64)"),
        (RETURN, "return [PlainPrediction(mask * 1.0) for mask in masks]", (), "got a mask of float64, expected bool"),
        (RETURN, "return [PlainPrediction(mask + np.nan) for mask in masks]", (), "of float64 with 81920 NaN"),
        (RETURN, RETURN, ("--medsam-protocol=slicewise,forward",), "expected one on "),
        (RETURN, "return masks", (), "got a ndarray without .mask"),
        (RETURN, "1 / 0", (), "predict failed with ZeroDivisionError"),
        (RETURN, "raise SystemExit(0)", (), "predict failed with SystemExit (0)"),
        (RETURN, f"self.identity = PredictorIdentity('b', '2', 'ab' * 32); {RETURN}", (), "expected toy 1 ("),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_one_sentence_and_the_case_fails(guest, pytester, old, new, options, sentence):
    (pytester.path / "toy.py").write_text(TOY.replace(old, new))
    result = guest(BY_OPTION, "--medsam-limit=1", "--medsam-regions=WT", *options)
    assert result.ret == 10
    assert sentence in said(result)
    assert "Traceback" not in said(result)
    assert "PASS:" not in said(result)
    assert "INCONCLUSIVE" in said(result)
    assert "passed" not in result.parseoutcomes()
    assert result.parseoutcomes()["failed"] >= 1


@pytest.mark.parametrize(
    ("old", "new", "spec", "sentence"),
    [
        (NOTES, f"{NOTES}    def __init__(self): raise OSError('lost')\n", "toy:Toy", "failed with OSError (lost)"),
        (NOTES, f"{NOTES}    def __init__(self): exit(0)\n", "toy:Toy", "failed with SystemExit (0)"),
        (NOTES, "    notes = ()\n", "toy:Toy", "got notes of type tuple, expected a list"),
        ("", "raise SystemExit(0)\n", "toy:Toy", "the module toy cannot be imported: SystemExit (0)"),
        ("", "", "toy:Tory", "toy has no Tory (did you mean Toy?)"),
        ("", "", "toys:Toy", "the module toys cannot be imported: ModuleNotFoundError"),
        ("", "", "enigne", "got an unknown name, expected one of engine, sam2, command, http, or module:factory"),
    ],
)  # fmt: skip
def test_a_predictor_that_cannot_be_made_ends_the_session_before_anything_is_scored(
    guest, pytester, old, new, spec, sentence
):
    (pytester.path / "toy.py").write_text(TOY.replace(old, new, 1))
    result = guest(f"--medsam-predictor={spec}")
    assert result.ret == 4
    assert sentence in said(result)
    assert "Traceback" not in said(result)
    assert not (pytester.path / "run" / "cases.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--medsam-checkpoint=x.pt",), "predictor toy:Toy: got checkpoint x.pt, expected none"),
        (("--medsam-predictor-url=http://127.0.0.1:1",), "predictor toy:Toy: got the option 'url', expected none"),
        (("--medsam-predictor-options=fast",), "--medsam-predictor-options: got 'fast', expected NAME=VALUE"),
        (("--medsam-postprocess=fill",), "post-processing: got 'fill', expected fill-holes"),
    ],
)
def test_a_setting_that_nobody_would_follow_is_refused(guest, options, sentence):
    result = guest(BY_OPTION, *options)
    assert result.ret == 4
    assert sentence in said(result)


def test_options_of_a_predictor_that_was_not_chosen_are_refused(guest):
    result = guest("--medsam-predictor-command=segment {input} {output}")
    assert result.ret == 4
    assert "predictor engine: got the option 'command', expected one of feature-mib, graphs" in said(result)
    assert "choose another --medsam-predictor" in said(result)
