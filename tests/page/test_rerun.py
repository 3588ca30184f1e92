"""The command that scores a case again keeps what shaped its score, and nothing that names the run."""

from medsam_core.page.rerun import command_of
from tests.headers import made_header

SHARD = {"number": 1, "created": "2026-01-02T03:04:05+00:00", "device": "cpu"}


def test_what_chooses_cases_and_names_the_run_is_left_out():
    command = ["pytest", "t.py", "--medsam-run-dir", "my run", "--medsam-regions=WT", "--medsam-jitter=2", "-q"]
    assert command_of(made_header(command=command)) == "pytest t.py --medsam-jitter=2 -q"


def test_words_are_quoted_for_a_shell():
    assert command_of(made_header(command=["pytest", "a b.py", "$(rm)"])) == "pytest 'a b.py' '$(rm)'"


def test_of_a_merged_run_it_is_the_first_shard_s():
    shards = [SHARD | {"command": ["pytest", "t.py", "--medsam-shard=1/2"]}]
    assert command_of(made_header(command=["medsam-core", "merge"], shards=shards)) == "pytest t.py"


def test_a_run_that_does_not_say_has_a_command_all_the_same():
    assert command_of(made_header(command=[])) == "pytest"


def test_options_of_the_environment_are_kept_as_a_variable():
    command = ["PYTEST_ADDOPTS=--medsam-limit=1 --medsam-jitter=2", "pytest", "t.py"]
    assert command_of(made_header(command=command)) == "PYTEST_ADDOPTS=--medsam-jitter=2 pytest t.py"
    assert command_of(made_header(command=["PYTEST_ADDOPTS=--medsam-limit=1", "pytest"])) == "pytest"
    assert command_of(made_header(command=["PYTEST_ADDOPTS=a 'b", "pytest"])).endswith(" pytest")
