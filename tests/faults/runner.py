"""Runs a small cohort through the product's own parts, healthy or with one fault: configuration, evaluator, recorder,
judge.

One thing here is not the product's: a store of the healthy run's features and predictions. A faulty run takes from it
what its fault leaves valid.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medsam_core.data.cohort import load
from medsam_core.errors import MedsamError
from medsam_core.gates.acceptance import accept
from medsam_core.gates.baseline_file import read_baseline
from medsam_core.gates.gates_file import load_gates
from medsam_core.gates.proposal import propose_gates
from medsam_core.inference.predictor import EncodedVolume, Predictor
from medsam_core.plugin import finishing
from medsam_core.plugin.configuration import Configuration
from medsam_core.plugin.evaluator import Evaluator
from medsam_core.plugin.recorder import Recorder
from medsam_core.predictors.checked import Checked
from medsam_core.predictors.engine import EnginePredictor, engine_of
from medsam_core.prompts.prompt import Prompt
from medsam_core.runs import read_run
from tests.faults.fault import Fault, damaged_copy
from tests.faults.judging import Judged, Judges, judged

BEGUN = 4
"""Cases that are scored before a resumed run is resumed: one subject's, and one of the next."""


@dataclass
class Store:
    """What the healthy run made: features by the image, predictions by the image and what was asked."""

    features: dict[str, EncodedVolume] = field(default_factory=dict)
    masks: dict[tuple[str, str, str], Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Mask:
    """As much of a Prediction as the evaluation looks at."""

    mask: np.ndarray
    predicted_iou: np.ndarray


class ReusingPredictor(Predictor):
    """The real predictor; `reuse` says what it may take from the store: "nothing", "features" or "masks"."""

    def __init__(self, model: Any, store: Store, reuse: str) -> None:
        super().__init__(model)
        self.store, self.reuse = store, reuse

    def encode(self, volume: Any) -> EncodedVolume:
        voxels = np.ascontiguousarray(getattr(volume, "voxels", volume))
        name = hashlib.blake2b(voxels.data).hexdigest()
        if self.reuse != "nothing" and name in self.store.features:
            return self.store.features[name]
        encoded = super().encode(volume)
        encoded.name = name  # type: ignore[attr-defined]
        if self.reuse != "nothing":
            self.store.features[name] = encoded
        return encoded

    def predict(self, volume: Any, asked: Any, *, protocol: str = "bidirectional", **more: Any) -> Any:
        if self.reuse != "masks":
            return super().predict(volume, asked, protocol=protocol, **more)
        if not asked:
            return []
        names = [(volume.name, json.dumps(prompt.to_json()), protocol) for prompt in asked]
        new = [place for place, name in enumerate(names) if name not in self.store.masks]
        found = super().predict(volume, [asked[place] for place in new], protocol=protocol) if new else []
        self.store.masks |= {names[place]: one for place, one in zip(new, found, strict=True)}
        return [self.store.masks[name] for name in names]


class Runner:
    """One cohort, one model and one accepted healthy run; `run` scores and judges the cohort again."""

    def __init__(self, template: Configuration, folder: Path) -> None:
        self.template, self.folder = template, folder
        self.model = engine_of(template.predictor, what="the catalogue of faults").model
        self.store = Store()
        self.predictor = ReusingPredictor(self.model, self.store, "masks")
        self.subjects = template.cohort
        self.shapes = [load(one, template.settings.modalities[0]).image.shape for one in self.subjects]
        self.directory = folder
        """Of the run that is being made."""
        self._undo: list[Callable[[], object]] = []
        self.judges: Judges | None = None
        self.gates_from = "from the file given with --medsam-gates"
        if template.gates is None:
            self._propose()
        self.healthy = self.run("healthy", "masks")
        if self.healthy.outcome == "PASS":
            assert self.template.gates is not None
            path, _ = accept(self.healthy.run, "healthy", load_gates(self.template.gates), folder=folder / "baselines")
            self.judges = Judges.of(self.healthy.run, self.template.gates, read_baseline(path))

    def _propose(self) -> None:
        """Floors as `medsam-core propose` sets them: the default gates are of another cohort."""
        self.gates_from = "proposed from the healthy run at the default margins of `medsam-core propose`"
        floors = self.folder / "proposed.toml"
        floors.write_text('version = 1\n[[gate]]\nmetric = "dice"\ncase_minimum = 0.001\n', encoding="utf-8")
        self.template = dataclasses.replace(self.template, gates=floors)
        measured = self.run("measured", "masks").run
        floors.write_text(propose_gates(measured), encoding="utf-8")

    @property
    def easiest(self) -> str:
        """The subject that the healthy model does best."""
        return max(self._means(), key=self._means().__getitem__)

    @property
    def hardest(self) -> str:
        """The subject that it does worst."""
        return min(self._means(), key=self._means().__getitem__)

    def _means(self) -> dict[str, float]:
        found: dict[str, list[float]] = {}
        for record in self.healthy.run.records:
            found.setdefault(record.case.subject, []).append(record.score("dice"))
        return {name: sum(scores) / len(scores) for name, scores in found.items()}

    def configuration(self, name: str, session: str = "whole") -> Configuration:
        """A new one: nothing that an earlier run resolved is kept, but for the model."""
        self.directory = self.folder / name.replace(":", "")  # an error names it, up to the colon
        configuration = dataclasses.replace(
            self.template,
            run_dir=self.directory,
            resume=session == "resumed",
            save_masks=session == "masks saved" or self.template.save_masks,
        )
        configuration.__dict__["predictor"] = Checked(EnginePredictor(self.predictor))
        return configuration

    def judged(self, fault: Fault, patch: pytest.MonkeyPatch) -> Judged:
        """Put the fault in, run, take it out."""
        try:
            with patch.context() as inner:
                if fault.session == "resumed":
                    self.begin(fault.name)
                self.predictor = ReusingPredictor(self.model, self.store, fault.reuse)
                fault.put(inner, self)
                return self.run(fault.name, fault.reuse, session=fault.session, crashes=fault.crashes)
        finally:
            while self._undo:
                self._undo.pop()()

    def begin(self, name: str) -> None:
        """A healthy session that is stopped after a few cases, without a verdict."""
        self.predictor = ReusingPredictor(self.model, self.store, "masks")
        configuration = self.configuration(name)
        evaluator, recorder = Evaluator(configuration), Recorder(configuration)
        for case in configuration.plan[:BEGUN]:
            recorder.add(evaluator.evaluate(case, configuration.plan[:BEGUN]))
        recorder.close()

    def run(self, name: str, reuse: str, *, session: str = "whole", crashes: bool = False) -> Judged:
        """Every case through the Evaluator, the Recorder and the judge, as a session does it.

        crashes: whether an exception that is not a MedsamError may happen; else it is a mistake in the fault itself.
        """
        self.predictor.reuse = reuse
        if reuse == "features":  # features are shared, what is predicted from them is not
            self.predictor.store = Store(self.store.features)
        configuration = self.configuration(name, session)
        try:
            evaluator, recorder = Evaluator(configuration), Recorder(configuration)
            recorder.open()
        except MedsamError as error:
            return Judged(None, {}, None, str(error))
        first = ""
        for case in configuration.plan:
            try:
                recorder.add(evaluator.evaluate(case, configuration.plan))
            except MedsamError as error:
                first = first or str(error)
            except Exception as error:  # under pytest the case's test is red
                if not crashes:
                    raise
                first = first or f"{type(error).__name__}: {error}"
        verdict = recorder.finish()
        return judged(read_run(configuration.run_dir), verdict, first, self.judges)

    # --- ways to put a fault in ---------------------------------------------------------------------------------

    def ask_with(self, patch: pytest.MonkeyPatch, change: Callable[[Prompt], Prompt]) -> None:
        """The predictor is given other prompts than the record says."""
        predict = self.predictor.predict
        patch.setattr(
            self.predictor,
            "predict",
            lambda volume, asked, **more: predict(volume, [change(prompt) for prompt in asked], **more),
        )

    def change_masks(self, patch: pytest.MonkeyPatch, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Masks are changed between the predictor and the evaluation."""
        predict = self.predictor.predict
        patch.setattr(
            self.predictor,
            "predict",
            lambda volume, asked, **more: [
                Mask(change(one.mask), one.predicted_iou) for one in predict(volume, asked, **more)
            ],
        )

    def change_weights(self, change: Callable[[str, torch.Tensor], torch.Tensor]) -> None:
        """Load changed weights into the model, as if from another file; `judged` loads the healthy ones again."""
        file = dataclasses.replace(self.model.checkpoint, name="damaged", sha256="0" * 64)
        self.predictor.model = dataclasses.replace(self.model, checkpoint=file)
        state = {name: weight.clone() for name, weight in self.model.module.state_dict().items()}
        self._undo.append(lambda: self.model.module.load_state_dict(state))
        self.model.module.load_state_dict(damaged_copy(state, change))

    def afterwards(self, undo: Callable[[], object]) -> None:
        """What `judged` does when the run is over."""
        self._undo.append(undo)

    def name_of(self, parameter: torch.Tensor) -> str:
        """The parameter's name in the state."""
        return next(name for name, one in self.model.module.named_parameters() if one is parameter)


def no_overlays(patch: pytest.MonkeyPatch) -> None:
    """Pictures of red cases take longer than the runs."""
    patch.setattr(finishing, "write_overlay", lambda *_: None)
