"""The pytest plugin: parametrizes `medsam_case`, scores cases through fixtures, and turns records into a verdict.

A test, here or in another repository, that has the argument `medsam_case` runs once per `Case`: subject × modality ×
region × prompt mode × protocol. Loading the plugin imports neither torch nor sam2 nor numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medsam_core.errors import MedsamError
from medsam_core.plugin import hookspec
from medsam_core.plugin.hooks import MedsamSession
from medsam_core.plugin.options import declare, refuse_former_names, value_of
from medsam_core.plugin.progress import SubjectProgress, progress_asked
from medsam_core.plugin.rerun import rerun_command
from medsam_core.plugin.resolving import configuration_from

if TYPE_CHECKING:
    from medsam_core.cases import Case, CaseRecord
    from medsam_core.data.cohort import Subject
    from medsam_core.plugin.configuration import Configuration
    from medsam_core.predictors.contract import Predictor

MARKERS = (
    "gpu: needs a CUDA device; `pytest -m gpu` is the accuracy gate on it",
    "latency: times the stages with pytest-benchmark; run without xdist",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare every option and its key in the configuration file."""
    declare(parser)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Iterator[None]:
    """After every conftest.py had the chance to declare its options: a name of earlier versions ends in a sentence."""
    yield
    refuse_former_names(early_config, parser, args)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hook by which a repository names its own predictor."""
    pluginmanager.add_hookspecs(hookspec)


def pytest_configure(config: pytest.Config) -> None:
    """Resolve the options, and check at once what was named explicitly, so that a typo costs seconds."""
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
    if worker is None and progress_asked(config) != "off":
        config.pluginmanager.register(SubjectProgress(config, configuration), "medsam-progress")


def _check_named(config: pytest.Config, configuration: Configuration) -> None:
    from medsam_core.prompts.manifest import read_manifest
    from medsam_core.runs import prepare_directory

    if configuration.gates is not None:
        _ = configuration.loaded_gates
    if configuration.prompts_from is not None:
        read_manifest(configuration.prompts_from)
    if configuration.brats_root is not None:
        _ = configuration.part
    if value_of(config, "run-dir") is not None or configuration.resume:
        prepare_directory(configuration.run_dir, resume=configuration.resume)
    if configuration.baseline is not None:
        from medsam_core.gates.reference import find_reference

        find_reference(configuration.baseline)
    if configuration.ray is not None:  # the device is the actors'
        configuration.ray.check(configuration.choice, configuration.device)
    elif (configuration.device, configuration.precision) != ("auto", "auto"):
        from medsam_core.inference.devices import resolve_device, resolve_precision

        resolve_precision(configuration.precision, resolve_device(configuration.device))
    configuration.choice.check()
    model = (configuration.checkpoint, configuration.architecture, configuration.image_size, configuration.weights)
    if any(given is not None for given in model):
        if configuration.ray is None:
            _ = configuration.predictor
        elif configuration.choice.runs_here:
            _ = configuration.predictor_identity


def _session(config: pytest.Config) -> MedsamSession:
    session = config.pluginmanager.get_plugin("medsam-session")
    assert isinstance(session, MedsamSession)
    return session


@pytest.fixture(scope="session")
def medsam_cohort(pytestconfig: pytest.Config) -> tuple[Subject, ...]:
    """The chosen subjects; with --medsam-shard those of the shard."""
    return _session(pytestconfig).configuration.part


@pytest.fixture(scope="session")
def medsam_predictor(pytestconfig: pytest.Config) -> Predictor:
    """What scores the cases; to give another, choose it with --medsam-predictor or the hook pytest_medsam_predictor."""
    return _session(pytestconfig).configuration.predictor


@pytest.fixture(scope="session")
def medsam_configuration(pytestconfig: pytest.Config) -> Configuration:
    """The resolved options of this session."""
    return _session(pytestconfig).configuration


@pytest.fixture
def medsam_evaluate(request: pytest.FixtureRequest) -> Callable[[Case], CaseRecord]:
    """`medsam_evaluate(case)` gives the CaseRecord, scored once, with the subject's other cases, and kept."""
    session = _session(request.config)
    return lambda case: session.evaluate(case, request.node).record


@pytest.fixture
def medsam_check(request: pytest.FixtureRequest) -> Callable[[CaseRecord], None]:
    """`medsam_check(record)` fails the test if the record breaks a case bound, with the command to rerun it."""
    session = _session(request.config)

    def check(record: CaseRecord) -> None:
        gates = session.evaluator.gates
        violations = [violation.text for violation in gates.violations(record)] if gates else []
        if violations:
            pytest.fail(failure_text(record, violations, session.configuration, request.node), pytrace=False)

    return check


def failure_text(record: CaseRecord, violations: list[str], configuration: Configuration, item: pytest.Item) -> str:
    """The message of a failed case: bounds, diagnosis, overlay, and the command that scores it again."""
    overlay = record.overlay and f"overlay {configuration.run_dir / record.overlay}"
    rerun = f"rerun: {rerun_command(item)}"
    return "; ".join(part for part in (*violations, record.diagnosis, overlay, rerun) if part)
