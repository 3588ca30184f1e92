"""Options in anybody's repository: their own names, keys in the configuration file, and nothing else changed."""

import json

import pytest

from tests.plugin.test_plugin import LENIENT, PLUGIN, STAND_IN, SUITE, said

pytest_plugins = ["pytester"]

FOREIGN = """
def pytest_addoption(parser):
    parser.addoption("--{name}", default="x")
"""


@pytest.fixture
def configured(pytester, small_cohort, monkeypatch):
    """configured(KEYS, *options): a session of the suite in a sub-folder of the folder that has the ini file."""

    def run(keys, *options, name="pytest.ini", section="pytest"):
        pytester.path.joinpath(name).write_text(f"[{section}]\n{keys}\n", encoding="utf-8")
        folder = pytester.mkdir("suite")
        folder.joinpath("test_gate.py").write_text(SUITE, encoding="utf-8")
        pytester.path.joinpath("my.toml").write_text(LENIENT, encoding="utf-8")
        if not pytester.path.joinpath("data").exists():
            pytester.path.joinpath("data").symlink_to(small_cohort)
        monkeypatch.chdir(folder)
        return pytester.runpytest_inprocess(*STAND_IN, *PLUGIN, "-m", "not gpu", *options)

    return run


KEYS = "medsam_root = data\nmedsam_gates = my.toml\nmedsam_regions = WT,TC\nmedsam_prompts = box"


@pytest.mark.parametrize("name", ["device", "seed", "profile", "brats-root", "checkpoint"])
def test_a_repository_may_declare_an_option_of_any_everyday_name(pytester, name):
    pytester.makeconftest(FOREIGN.format(name=name))
    pytester.makepyfile(f"def test_ok(pytestconfig):\n    assert pytestconfig.getoption('--{name}') == 'y'")
    assert pytester.runpytest_inprocess("-p", "medsam_core.plugin.plugin", f"--{name}=y").ret == 0


def test_a_plugin_beside_it_may_declare_them_too(pytester):
    pytester.makepyfile(theirs=FOREIGN.format(name="device"), test_it="def test_ok(): pass")
    pytester.syspathinsert()
    assert pytester.runpytest_inprocess("-p", "theirs", "-p", "medsam_core.plugin.plugin", "--device=cuda").ret == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--device=cpu",), "--device: is not an option, expected --medsam-device: *; write --medsam-device=cpu"),
        (("--brats-root", "data"), "--brats-root: is not an option, expected --medsam-root: *; write --medsam-root"),
        (("--save-masks",), "--save-masks: is not an option, expected --medsam-save-masks: *"),
    ],
)
def test_a_name_of_an_earlier_version_ends_in_a_sentence_with_the_new_one(pytester, words, sentence):
    result = pytester.runpytest_inprocess("-p", "medsam_core.plugin.plugin", *words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {sentence}"])
    assert "unrecognized" not in said(result)


def test_an_unknown_option_of_nobody_is_left_to_pytest(pytester):
    result = pytester.runpytest_inprocess("-p", "medsam_core.plugin.plugin", "--nonsense")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "unrecognized arguments: --nonsense" in said(result)


@pytest.mark.parametrize(("name", "section"), [("pytest.ini", "pytest"), ("tox.ini", "pytest")])
def test_a_repository_writes_its_gate_down_once(configured, pytester, name, section):
    result = configured(KEYS, name=name, section=section)
    assert result.ret == 0, said(result)
    result.assert_outcomes(passed=4, deselected=4)
    result.stdout.fnmatch_lines([f"options from {name}: *medsam_root = */data, *medsam_regions = WT,TC*"])
    header = json.loads(next(pytester.path.glob("suite/runs/*/run.json")).read_text())
    assert header["decided"]["options"].startswith(f"{name}: medsam_root = ")
    assert header["settings"]["regions"] == ["WT", "TC"]


def test_the_command_line_goes_before_the_configuration_file(configured):
    result = configured(KEYS, "--medsam-regions=ET")
    result.assert_outcomes(passed=2, deselected=2)
    result.stdout.fnmatch_lines(["options from pytest.ini: *; the command line goes before it with --medsam-regions"])


def test_pyproject_holds_lists_numbers_and_switches(configured, pytester):
    keys = 'medsam_root = "data"\nmedsam_gates = "my.toml"\nmedsam_regions = ["WT", "TC"]\nmedsam_limit = 1\n'
    result = configured(keys + "medsam_save_masks = true", name="pyproject.toml", section="tool.pytest.ini_options")
    assert result.ret == 0, said(result)
    result.assert_outcomes(passed=4, deselected=4)
    assert len(list(pytester.path.glob("suite/runs/*/masks/**/*.nii.gz"))) == 4


def test_workers_get_what_the_controller_read(configured):
    pytest.importorskip("xdist")
    result = configured(KEYS, "-n", "2", "-p", "xdist")
    assert result.ret == 0, said(result)
    result.assert_outcomes(passed=4)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ("medsam_limit = many", "--medsam-limit: got 'many', expected a whole number ≥ 1; correct it."),
        ("medsam_save_masks = perhaps", "medsam_save_masks in pytest.ini: got 'perhaps', expected true or false"),
        ("medsam_root =", "medsam_root in pytest.ini: got nothing, expected DIR; give it or delete the key."),
        ("medsam_root = nowhere", "*/nowhere: *"),
    ],
)
def test_a_wrong_key_ends_in_a_sentence(configured, keys, sentence):
    result = configured(keys)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {sentence}*"])
    assert "Traceback" not in said(result)


def left(pytester) -> list[str]:
    """What the sessions left in the folder, without pytester's own."""
    own = ("runpytest-", "stdout", "stderr")
    return sorted(path.name for path in pytester.path.iterdir() if not path.name.startswith(own))


def test_a_suite_without_cases_of_ours_is_as_it_was(pytester):
    pytester.makepyfile("def test_ok(): pass")
    plain = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q", "-p", "no:medsam_core.plugin.plugin")
    before = left(pytester)
    ours = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q")
    assert [line.split(" in ")[0] for line in ours.outlines] == [line.split(" in ")[0] for line in plain.outlines]
    assert ours.errlines == plain.errlines
    assert left(pytester) == before


def test_the_phantoms_folder_is_not_made_before_a_phantom_is_needed(pytester):
    pytester.makepyfile("def test_ok(): pass")
    assert pytester.runpytest_inprocess("-p", "medsam_core.plugin.plugin").ret == 0
    assert not list(pytester.path.glob(".pytest_cache/d"))
    assert not (pytester.path / ".medsam").exists()
