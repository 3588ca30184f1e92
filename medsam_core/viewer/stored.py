"""The scripts of any case of a stored run, made from the cohort's files and the saved masks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from medsam_core.cases import CaseRecord
from medsam_core.data.cohort import LoadedSubject, Subject, find_subjects, load
from medsam_core.data.regions import region_mask
from medsam_core.data.volume import read_labels
from medsam_core.errors import DataError, MedsamError
from medsam_core.evaluation.saved_mask import digest
from medsam_core.evaluation.subject import data_hash
from medsam_core.prompts.prompt import Prompt
from medsam_core.runs import Run
from medsam_core.viewer.encoding import case_text, error_text, image_text
from medsam_core.viewer.names import case_script, image_script

PHANTOM_FOLDERS = (".pytest_cache/d/medsam-phantoms", ".medsam/phantoms")
"""Where a session keeps the phantom cohort, from the folder that it was started in."""
NO_MASK = "the prediction was not saved; score the case again with --medsam-save-masks"


class StoredScripts:
    """Scripts by their path inside the run: those that it has, and those that can be made of its files."""

    def __init__(self, run: Run, root: Path | None = None, segmentation: str | None = None) -> None:
        """root: the cohort's folder, None for the one in the header. segmentation: as of --medsam-segmentation."""
        self.run, self._root, self._segmentation = run, root, segmentation
        self._cases = {case_script(record.id): record for record in run.records}
        self._images = {image_script(record.case): record for record in run.records}
        self._loaded: tuple[tuple[str, str], LoadedSubject] | None = None

    def text(self, path: str) -> str | None:
        """The script at a path such as `viewer/A__t1ce__WT__box.js`; None if no case has one.

        What keeps it from being made is a sentence in the script, which the viewer shows.
        """
        record = self._cases.get(path) or self._images.get(path)
        if record is None:
            return None
        stored = self.run.directory / path
        if stored.is_file():
            return stored.read_text(encoding="ascii")
        try:
            return self._case(record) if path in self._cases else self._image(record)
        except MedsamError as error:
            return error_text(str(error))

    def _image(self, record: CaseRecord) -> str:
        loaded = self._load(record)
        regions = {one.case.region for one in self.run.records if one.case.subject == record.case.subject}
        return image_text(loaded.image, [self._truth(loaded, region) for region in sorted(regions)])

    def _case(self, record: CaseRecord) -> str:
        loaded = self._load(record)
        truth = self._truth(loaded, record.case.region)
        prompts = tuple(map(Prompt.from_json, record.prompts))
        prediction, missing = self._prediction(record, truth.shape)
        image = Path(image_script(record.case)).name
        return case_text(record.id, image, truth, prediction, prompts, missing=missing)

    def _truth(self, loaded: LoadedSubject, region: str) -> np.ndarray:
        return region_mask(loaded.labels.voxels, region, loaded.convention)

    def _prediction(self, record: CaseRecord, shape: Sequence[int]) -> tuple[np.ndarray | None, str]:
        """The saved mask, or why there is none."""
        if record.mask is None:
            return None, NO_MASK
        path = self.run.directory / record.mask
        if not path.resolve().is_relative_to(self.run.directory.resolve()) or not path.is_file():
            return None, f"{record.mask}: no such file in the run; {NO_MASK}"
        if record.mask_sha256 not in (None, digest(path)):
            return None, f"{record.mask}: not the mask that was scored; {NO_MASK}"
        mask = read_labels(path).voxels != 0
        if mask.shape != tuple(shape):
            return None, f"{record.mask}: got shape {mask.shape}, expected {tuple(shape)}; {NO_MASK}"
        return mask, ""

    def _load(self, record: CaseRecord) -> LoadedSubject:
        """The image and the labels that the case was scored on; the last ones are kept. Raises DataError."""
        key = record.case.subject, record.case.modality
        if self._loaded is None or self._loaded[0] != key:
            subject = self._subjects.get(record.case.subject)
            if subject is None:
                raise DataError(
                    f"{record.case.subject}: not in {self._folder}, expected it there as when the run was made; give "
                    "the cohort's folder with --root."
                )
            self._loaded = key, load(subject, record.case.modality, convention=self.run.header.settings.labels)
        loaded = self._loaded[1]
        if record.data and record.data != data_hash(loaded.image, loaded.labels):
            raise DataError(
                f"{record.case.subject}: image or labels in {self._folder} are not those that were scored; give the "
                "folder of the run's cohort with --root, or score the case again."
            )
        return loaded

    @cached_property
    def _subjects(self) -> dict[str, Subject]:
        return {one.id: one for one in find_subjects(self._folder, segmentation=self._segmentation)}

    @cached_property
    def _folder(self) -> Path:
        named = self.run.header.cohort.root
        places = [Path(named), *(Path(folder) / named for folder in PHANTOM_FOLDERS)]
        found = self._root or next((place for place in places if place.is_dir()), None)
        if found is None:
            raise DataError(
                f"{named}: the run's cohort is not there any more, and the run has no data of the case for the viewer; "
                "give the cohort's folder with --root, or score the case again with --medsam-viewer=all."
            )
        return found
