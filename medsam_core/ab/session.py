"""The session of `medsam-core ab`: `python -m pytest -p medsam_core.ab.session …`, in which no test runs.

pytest only finds out what is asked, so that the folder's conftest.py and pytest configuration, and the words of the
options, are those of `medsam-core run`.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence

import pytest

from medsam_core.ab.answer import PAGE, answer, check_same_rule
from medsam_core.ab.page import write_page
from medsam_core.ab.question import NEW, OLD, Question, declare, question_from
from medsam_core.ab.scoring import score_both
from medsam_core.ab.sides import Side
from medsam_core.errors import MedsamError, RunError
from medsam_core.gates.noise import check_rule, floor_of
from medsam_core.outcome import Outcome
from medsam_core.plugin.progress import progress_outside_tests
from medsam_core.plugin.resolving import configuration_from
from medsam_core.plugin.terminal import describe
from medsam_core.runs import HEADER, Run


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare what `medsam-core ab` gives to its session."""
    declare(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Compare in place of running tests; the exit code is the answer's. A mistake is a usage error, with 4."""
    if config.getoption("medsam_ab_old") is None:
        return None
    try:
        question = question_from(config, configuration_from)
        sides = [Side(name, question) for name in (OLD, NEW)]
        _check(question, sides[1])
    except MedsamError as error:
        raise pytest.UsageError(str(error)) from None
    print("\n".join(_head(*sides)), flush=True)
    return _compare(config, question, sides)


def _check(question: Question, new: Side) -> None:
    """Raise MedsamError for what would only show after hours. Nothing has been written yet."""
    if (question.directory / HEADER).exists():
        raise RunError(
            f"{question.directory}: holds a run, expected a new folder or that of a comparison; choose another -o."
        )
    check_same_rule(question.directory, question.rule)
    check_rule(question.rule, floor_of(Run(new.directory, new.header, ())))


def _head(old: Side, new: Side) -> list[str]:
    """What is compared: first what only one side has, then what both have."""
    before, now = describe(old.header), describe(new.header)
    return [
        *(f"OLD {line}" for line in before if line not in now),
        *(f"NEW {line}" for line in now if line not in before),
        *(line for line in before if line in now and not line.startswith("gates:")),
    ]


def _compare(config: pytest.Config, question: Question, sides: Sequence[Side]) -> int:
    """Score, compare and write; what stops it on the way is INCONCLUSIVE."""
    again = f"the same command with -o {question.directory} goes on with it"
    try:
        with progress_outside_tests(config, "subjects") as progress:
            score_both(sides, question, progress)
        found = answer(question)
        found.write(question.directory)
        write_page(found, question.directory)
    except MedsamError as error:
        print(f"INCONCLUSIVE: {error}\n{again}")
        return Outcome.INCONCLUSIVE.exit_code
    except KeyboardInterrupt:
        print(f"INCONCLUSIVE: stopped; {again}")
        return Outcome.INCONCLUSIVE.exit_code
    except Exception:  # Python's own exit code would be 1, which says that NEW is worse
        traceback.print_exc()
        print(f"INCONCLUSIVE: an internal error; {again}")
        return pytest.ExitCode.INTERNAL_ERROR
    for side in sides:
        for subject, why in side.errors.items():
            print(f"not scored by {side.name}: {subject}: {why}")
    print("\n".join(found.lines()))
    print(f"runs: {sides[0].directory} and {sides[1].directory} ({question.directory / PAGE} shows both)")
    return found.outcome.exit_code
