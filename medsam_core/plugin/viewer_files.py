"""The viewer's files of a session: which cases get some, and which are removed again."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path

from medsam_core.cases import Case, CaseRecord
from medsam_core.evaluation.subject import ScoredCase
from medsam_core.plugin.configuration import Configuration
from medsam_core.viewer.names import case_script
from medsam_core.viewer.selection import Selection
from medsam_core.viewer.writing import remove_unused_image, write_cases


class ViewerFiles:
    """Files of the cases that break a bound, and of the worst and the most fallen others.

    Each process that scores writes the files of its own worst; the one that records removes what the others outdo.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        keep = None if configuration.viewer == "all" else configuration.overlays
        self._selection = Selection(keep, configuration.reference_dice)

    def write(self, results: Sequence[ScoredCase], broken: Container[Case]) -> None:
        """Write the files of scored cases of one subject in one modality, as far as they may be kept.

        broken: the cases that break a bound. Raises RunError if a file cannot be written.
        """
        if self.configuration.viewer == "none":
            return
        shown = [one for one in results if one.record.case in broken or self._is_selected(one.record)]
        if shown:
            write_cases(shown, self.configuration.run_dir)

    def settle(self, record: CaseRecord, *, broken: bool, recorded: Container[str], directory: Path) -> None:
        """Remove what is outdone, now that a case is recorded, and the images that nothing shows any more.

        recorded: the ids of all cases that are recorded.
        """
        if self.configuration.viewer == "none":
            return
        outdone = set() if broken else self._selection.offer(record.id, record.score("dice"))
        for case in outdone:
            (directory / case_script(case)).unlink(missing_ok=True)
        for one in {record.id, *outdone}:
            group = self._groups.get(one, ())
            if all(case.id in recorded for case in group):
                remove_unused_image(directory, group)

    def _is_selected(self, record: CaseRecord) -> bool:
        return record.id not in self._selection.offer(record.id, record.score("dice"))

    @property
    def _groups(self) -> dict[str, tuple[Case, ...]]:
        """Case id -> the planned cases that share its image."""
        if "_by_id" not in vars(self):
            images: dict[tuple[str, str], list[Case]] = {}
            for case in self.configuration.plan:
                images.setdefault((case.subject, case.modality), []).append(case)
            self._by_id = {case.id: tuple(cases) for cases in images.values() for case in cases}
        return self._by_id
