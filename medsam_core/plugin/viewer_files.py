"""The viewer's files of a session: which cases get some, and which are removed again."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from medsam_core.cases import Case, CaseRecord
from medsam_core.plugin.configuration import Configuration
from medsam_core.viewer.names import case_script
from medsam_core.viewer.selection import Selection
from medsam_core.viewer.writing import remove_unused_image


class ViewerFiles:
    """Files of the cases that break a bound, and of the worst and the most fallen others.

    Each process that scores writes the files of its own worst (`Finishing`); this one, which records, removes what the
    others outdo.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self._selection = selection_of(configuration)

    def settle(self, record: CaseRecord, *, broken: bool, recorded: Container[str], directory: Path) -> None:
        """Remove what is outdone, now that a case is recorded, and the images that nothing shows any more.

        recorded: the ids of all cases that are recorded.
        """
        if self._selection is None:
            return
        outdone = set() if broken else self._selection.offer(record.id, record.score("dice"))
        for case in outdone:
            (directory / case_script(case)).unlink(missing_ok=True)
        for one in {record.id, *outdone}:
            group = self._groups.get(one, ())
            if all(case.id in recorded for case in group):
                remove_unused_image(directory, group)

    @property
    def _groups(self) -> dict[str, tuple[Case, ...]]:
        """Case id -> the planned cases that share its image."""
        if "_by_id" not in vars(self):
            images: dict[tuple[str, str], list[Case]] = {}
            for case in self.configuration.plan:
                images.setdefault((case.subject, case.modality), []).append(case)
            self._by_id = {case.id: tuple(cases) for cases in images.values() for case in cases}
        return self._by_id


def selection_of(configuration: Configuration) -> Selection | None:
    """Which cases get files although they break no bound, before the first is scored; None if no case gets any."""
    if configuration.viewer == "none":
        return None
    return Selection(None if configuration.viewer == "all" else configuration.overlays, configuration.reference_dice)
