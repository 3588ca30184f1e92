"""Which pictures stay: of the failed cases, of the worst of each side, and of the cases that changed most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import nsmallest
from pathlib import Path

from medsam_core.ab.question import NEW, OLD, Question
from medsam_core.cases import CaseRecord, score_key
from medsam_core.plugin.evaluator import Evaluated
from medsam_core.viewer.names import case_script
from medsam_core.viewer.writing import remove_unused_image


class Pictures:
    """Deletes pictures, subject by subject, so that a comparison of a large cohort does not fill the disk.

    A run has an overlay and the viewer's files of every case while it is scored. With N = --overlays, these stay:
    of the failed cases, of the N worst of each side, and on both sides of the N cases that fell and the N that rose
    most.
    """

    def __init__(self, question: Question) -> None:
        self._settings = question.configuration.settings
        self._most = question.configuration.overlays
        self._viewer = question.configuration.viewer == "worst"
        self._key = score_key(self._settings.profile, question.rule.metric, question.rule.scope)
        self._sign = question.rule.sign
        self._folders = {name: question.directory / name for name in (OLD, NEW)}
        self._spare: dict[str, dict[str, tuple[float, CaseRecord]]] = {OLD: {}, NEW: {}}
        """By side and case: Dice, and the record, which names the overlay."""
        self._benefits: dict[str, float] = {}

    def choose(self, old: Sequence[Evaluated], new: Sequence[Evaluated]) -> None:
        """Take a subject's cases of both sides into account, and delete what need not stay any longer."""
        if not self._most:
            return
        for name, scored in ((OLD, old), (NEW, new)):
            for one in scored:
                if one.record.overlay and not one.violations:
                    self._spare[name][one.record.id] = _low_nan(one.record.score("dice")), one.record
        before = {one.record.id: one.record for one in old}
        for one in new:
            if one.record.prompted and one.record.id in before:
                now, then = (record.scores.get(self._key, math.nan) for record in (one.record, before[one.record.id]))
                self._benefits[one.record.id] = _low_nan(self._sign * (now - then))
        order = sorted(self._benefits, key=lambda case: (self._benefits[case], case))
        fell = [case for case in order[: self._most] if self._benefits[case] < 0]
        rose = [case for case in order[-self._most :] if self._benefits[case] > 0]
        self._benefits = {case: self._benefits[case] for case in dict.fromkeys([*fell, *rose])}
        for name, spare in self._spare.items():
            worst = nsmallest(self._most, spare, key=lambda case: (spare[case][0], case))
            for case in spare.keys() - {*worst, *self._benefits}:
                self._delete(spare.pop(case)[1], self._folders[name])

    def _delete(self, record: CaseRecord, folder: Path) -> None:
        (folder / str(record.overlay)).unlink(missing_ok=True)
        if self._viewer:
            (folder / case_script(record.id)).unlink(missing_ok=True)
            cases = self._settings.cases(record.case.subject)
            remove_unused_image(folder, [case for case in cases if case.modality == record.case.modality])


def _low_nan(value: float) -> float:
    return -math.inf if math.isnan(value) else value
