"""The pytest plugin: parametrizes `medsam_case`, scores cases through fixtures, and turns records into a verdict.

Loading it imports neither torch nor sam2 nor numpy. Fixtures for tests, here and in other repositories:

    medsam_case       one Case per subject × modality × region × prompt mode × protocol (parametrized)
    medsam_evaluate   medsam_evaluate(case) -> CaseRecord, scored once, kept in the run
    medsam_check      medsam_check(record) fails the test in a sentence if the record breaks a gate
    medsam_predictor  the loaded Predictor
    medsam_cohort     the chosen subjects
    medsam_configuration  what the options came to
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medsam_core.errors import MedsamError
from medsam_core.plugin.hooks import MedsamSession
from medsam_core.plugin.options import add_options, configuration_from, given_options

if TYPE_CHECKING:
    from medsam_core.cases import Case, CaseRecord
    from medsam_core.data.cohort import Subject
    from medsam_core.inference.predictor import Predictor
    from medsam_core.plugin.configuration import Configuration

MARKERS = (
    "gpu: needs a CUDA device; `pytest -m gpu` is the accuracy gate on it",
    "latency: times the stages with pytest-benchmark; run without xdist",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Resolve the options once; check at once what was named explicitly, so that a typo costs seconds."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    worker = getattr(config, "workerinput", None)
    try:
        configuration = configuration_from(config, Path(worker["medsam_run_dir"]) if worker else None)
        if worker is None and not config.option.help:
            _check_named(config, configuration)
    except MedsamError as error:
        raise pytest.UsageError(str(error)) from None
    config.pluginmanager.register(MedsamSession(config, configuration), "medsam-session")


def _check_named(config: pytest.Config, configuration: Configuration) -> None:
    from medsam_core.runs import prepare_directory

    if configuration.gates is not None:
        _ = configuration.loaded_gates
    if configuration.prompts_from is not None:
        from medsam_core.prompts.manifest import read_manifest

        read_manifest(configuration.prompts_from)
    if configuration.brats_root is not None:
        _ = configuration.cohort
    if config.getoption("medsam_run_dir") is not None or configuration.resume:
        prepare_directory(configuration.run_dir, resume=configuration.resume)
    if configuration.device != "auto":
        from medsam_core.inference.devices import resolve_device

        resolve_device(configuration.device)
    if configuration.checkpoint is not None or configuration.architecture is not None:
        _ = configuration.predictor


def _session(config: pytest.Config) -> MedsamSession:
    session = config.pluginmanager.get_plugin("medsam-session")
    assert isinstance(session, MedsamSession)
    return session


@pytest.fixture(scope="session")
def medsam_cohort(pytestconfig: pytest.Config) -> tuple[Subject, ...]:
    """The chosen subjects."""
    return _session(pytestconfig).configuration.cohort


@pytest.fixture(scope="session")
def medsam_predictor(pytestconfig: pytest.Config) -> Predictor:
    """The loaded model, the same that scores the cases."""
    return _session(pytestconfig).configuration.predictor


@pytest.fixture(scope="session")
def medsam_configuration(pytestconfig: pytest.Config) -> Configuration:
    """What the options of this session came to."""
    return _session(pytestconfig).configuration


@pytest.fixture
def medsam_evaluate(request: pytest.FixtureRequest) -> Callable[[Case], CaseRecord]:
    """`medsam_evaluate(case)` scores a case, once, together with the subject's other cases, and keeps the record."""
    session = _session(request.config)

    def evaluate(case: Case) -> CaseRecord:
        return session.evaluate(case, request.node).record

    return evaluate


@pytest.fixture
def medsam_check(request: pytest.FixtureRequest) -> Callable[[CaseRecord], None]:
    """`medsam_check(record)` fails the test if the record breaks a case bound of the gates, and says how to rerun."""
    session = _session(request.config)

    def check(record: CaseRecord) -> None:
        gates = session.evaluator.gates
        violations = [violation.text for violation in gates.violations(record)] if gates else []
        if violations:
            pytest.fail(failure_text(record, violations, session.configuration, request.node), pytrace=False)

    return check


def failure_text(record: CaseRecord, violations: list[str], configuration: Configuration, item: pytest.Item) -> str:
    """What a person reads of a broken case: bounds, diagnosis, overlay, and the line that scores it again."""
    parts = list(violations)
    if record.diagnosis:
        parts.append(record.diagnosis)
    if record.overlay:
        parts.append(f"overlay {configuration.run_dir / record.overlay}")
    options = given_options(item.config)
    node = item.config.cwd_relative_nodeid(item.nodeid)
    parts.append(f"rerun: pytest '{node}'" + (f" {options}" if options else ""))
    return "; ".join(parts)
