"""What a session collects: a test per case, on the device that -m asks for, by the predictor that was chosen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from medsam_core.errors import MedsamError
from medsam_core.plugin.choice import unused_predictor
from medsam_core.plugin.marking import mark_for_gpu

if TYPE_CHECKING:
    from medsam_core.cases import Case
    from medsam_core.plugin.configuration import Configuration

CASE_PROPERTY = "medsam_case"
SKIPPED_GPU = "no CUDA device (--medsam-allow-no-gpu)"
NO_GPU = (
    "-m gpu: no CUDA device was found, expected one; run on a machine with a GPU, or pass --medsam-allow-no-gpu to skip"
)


class Collecting:
    """The hooks for collecting. `MedsamSession` adds those for scoring and recording."""

    def __init__(self, config: pytest.Config, configuration: Configuration) -> None:
        self.config = config
        self.configuration = configuration
        self.is_worker = hasattr(config, "workerinput")
        self.error: str | None = None
        """Why this worker cannot score."""
        self.collected: list[Case] = []
        """The selected cases, in the order of their tests."""
        self.in_use = False
        """Whether a collected test uses a fixture of the plugin, though it may not be selected."""
        self.deselected = 0
        """How many cases were collected and not selected."""
        self._hooks = len(config.hook.pytest_medsam_predictor.get_hookimpls())

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test per case, all cases of a subject in a row."""
        if "medsam_case" in metafunc.fixturenames:
            try:
                plan = self.configuration.plan
            except MedsamError as error:
                raise pytest.Collector.CollectError(str(error)) from None  # shown without a traceback
            metafunc.parametrize("medsam_case", plan, ids=[case.id for case in plan])

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Iterator[None]:
        """Mark what -m gpu selects, then remember the selected cases and decide about the GPU."""
        self.in_use = any(name.startswith("medsam_") for item in items for name in getattr(item, "fixturenames", ()))
        mark_for_gpu([item for item in items if case_of(item) is not None], self.config.option.markexpr)
        offered = {case for item in items if (case := case_of(item)) is not None}
        yield
        cases = {item: case for item in items if (case := case_of(item)) is not None}
        for item, case in cases.items():
            item.user_properties.append((CASE_PROPERTY, case.id))
        self.deselected = len(offered - set(cases.values()))
        unused = unused_predictor(self.config, cases, self._hooks)
        if unused:
            self.refuse(unused)
        on_gpu = [item for item in cases if item.get_closest_marker("gpu")]
        if on_gpu and len(on_gpu) < len(cases):
            self.refuse("the selected tests score cases on CUDA and elsewhere; choose one with -m gpu or -m 'not gpu'")
        if on_gpu:
            self._require_gpu(on_gpu)
        self.collected = list(cases.values())  # last: pytest goes on to pytest_collection_finish after a refusal

    def _require_gpu(self, items: list[pytest.Item]) -> None:
        if not self.configuration.device.startswith(("auto", "cuda")):
            self.refuse(
                f"-m gpu: got --medsam-device={self.configuration.device}, expected cuda or cuda:N; leave it out"
            )
        if has_gpu() or self.configuration.ray is not None:  # on Ray the actors have it, or say that they have none
            self.use_gpu()
        elif self.configuration.allow_no_gpu:
            for item in items:
                item.add_marker(pytest.mark.skip(reason=SKIPPED_GPU))
        else:
            self.refuse(NO_GPU)

    def use_gpu(self) -> None:
        """Run what `auto` left open on CUDA."""
        if self.configuration.device == "auto":
            self.configuration = replace(self.configuration, device="cuda")

    def refuse(self, sentence: str) -> None:
        """End the session with a sentence."""
        if not self.is_worker:
            raise pytest.UsageError(sentence)
        self.error = sentence  # a worker cannot end the session: each of its cases fails with the reason


def case_id(nodeid: str) -> str:
    """The text in the brackets of a test's id: the case's id, if the test is about a case."""
    return nodeid.partition("[")[2].removesuffix("]")


def case_of(item: pytest.Item) -> Case | None:
    """The case that a test is about, None for any other test."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("medsam_case") if callspec is not None else None


def has_gpu() -> bool:
    """Whether torch sees one."""
    import torch

    return torch.cuda.is_available()
