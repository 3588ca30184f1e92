"""Which overlays a session keeps: those of broken cases, of the worst others, and of those that fell most."""

from __future__ import annotations

import math

from medsam_core.cases import CaseRecord, score_key
from medsam_core.gates.baseline import Baseline

_VISIBLE = 0.0005
"""A smaller fall is none: three digits are shown."""


class KeptPictures:
    """Says after every case whose overlay is not needed any more."""

    def __init__(self, keep: int | None, profile: str, baseline: Baseline | None = None) -> None:
        """keep: how many of the worst and how many of the most fallen; None for all. profile: of the scores."""
        self._keep = keep
        self._key = score_key(profile, "dice", "volume")
        self._baseline = baseline
        self._overlays: dict[str, str] = {}
        self._worst: list[tuple[float, str]] = []  # the lowest Dice first
        self._fallen: list[tuple[float, str]] = []  # the largest fall first

    def add(self, record: CaseRecord) -> list[str]:
        """The overlays that need not be kept, after a case that breaks no bound. record: with an overlay."""
        if self._keep is None or record.overlay is None:
            return []
        self._overlays[record.id] = record.overlay
        score = record.scores[self._key]
        self._worst.append((-math.inf if math.isnan(score) else score, record.id))
        before = self._baseline.score(record.id, self._key) if self._baseline else math.nan
        if record.prompted and score <= before - _VISIBLE:
            self._fallen.append((score - before, record.id))
        for ranking in (self._worst, self._fallen):
            ranking.sort()
            del ranking[self._keep :]
        wanted = {case for _, case in (*self._worst, *self._fallen)}
        return [self._overlays.pop(case) for case in sorted(self._overlays.keys() - wanted)]
