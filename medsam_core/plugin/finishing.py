"""What becomes of a scored case after its scores: overlay, saved mask and diagnosis. No torch, and no session."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from medsam_core.cases import Case, CaseRecord
from medsam_core.data.subject import Subject
from medsam_core.evaluation.diagnosis import explain
from medsam_core.evaluation.saved_mask import check_saved_mask, digest
from medsam_core.evaluation.subject import ScoredCase
from medsam_core.gates.gates_file import Gates
from medsam_core.modalities import sequences_of
from medsam_core.reports.overlay import write_overlay
from medsam_core.slices import count_slices
from medsam_core.viewer.selection import Selection
from medsam_core.viewer.writing import write_cases


@dataclass(frozen=True)
class Finished:
    """What is kept of a case."""

    record: CaseRecord
    """With the files that were written, and with why it breaks a gate."""
    slices: str
    """Its line of `slices.SLICES`."""


@dataclass(frozen=True)
class Finishing:
    """What is written for a case: plain values, so that another process can do it."""

    run_dir: Path
    gates: Gates | None
    """None where no gates apply."""
    overlays: int | None
    """As `Configuration.overlays`."""
    save_masks: bool
    shown: Selection | None = None
    """Which other cases than those that break a bound get files for the viewer; None for no case at all."""

    def of_cases(self, cases: Iterable[Case]) -> Finishing:
        """What another process needs for these cases."""
        return replace(self, shown=self.shown and self.shown.of_cases(case.id for case in cases))

    def finish_all(self, results: Iterable[ScoredCase], subject: Subject) -> list[Finished]:
        """Finish cases of one subject in one modality, in their order, and write the viewer's files.

        Raises as `finish`.
        """
        finished, visible = [], dict[str, ScoredCase]()
        for result in results:
            finished.append(self.finish(result, subject))
            if self.shown is None:
                continue
            record = finished[-1].record
            outdone = set() if self._broken(record) else self.shown.offer(record.id, record.score("dice"))
            visible = {case: one for case, one in (visible | {record.id: result}).items() if case not in outdone}
        if visible:
            write_cases(list(visible.values()), self.run_dir)
        return finished

    def _broken(self, record: CaseRecord) -> bool:
        return self.gates is not None and bool(self.gates.violations(record))

    def finish(self, result: ScoredCase, subject: Subject) -> Finished:
        """Write the case's files.

        Raises RunError or DataError for a file that cannot be written, or that is not what was written.
        """
        record, directory = result.record, self.run_dir
        name = record.id.replace("/", "__")
        broken = self._broken(record)
        if broken or self.overlays != 0:
            overlay = Path("overlays") / f"{name}.png"
            write_overlay(result, directory / overlay)
            record = replace(record, overlay=str(overlay))
        if self.save_masks:
            from medsam_core.data.volume import write_mask

            as_npz = subject.layout == "npz"  # its evaluators read the same format
            mask = Path("masks") / f"{name}.{'npz' if as_npz else 'nii.gz'}"
            write_mask(result.prediction, result.image, directory / mask)
            source = subject.images[sequences_of(record.case.modality)[0]].path
            check_saved_mask(directory / mask, result.prediction, result.image, source)
            record = replace(record, mask=str(mask), mask_sha256=digest(directory / mask))
        if broken:
            spacing_mm = result.image.spacing_mm
            label, sentence = explain(result.prediction, result.truth, result.prompts, spacing_mm=spacing_mm)
            record = replace(record, diagnosis=f"{label}: {sentence}")
        return Finished(record, count_slices(record.id, result.prediction, result.truth).line())
