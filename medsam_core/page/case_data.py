"""The cases as compact data for the page's script: a list per column, words by their number, no HTML."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from medsam_core.cases import CONTROL_SCOPES, SCOPES, CaseRecord, score_key
from medsam_core.errors import MedsamError
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.subgroups import volume_terciles
from medsam_core.gates.verdict import Verdict
from medsam_core.gates.wording import group_name, group_order, metric_name, unit_of
from medsam_core.metrics import METRICS
from medsam_core.outcome import Outcome
from medsam_core.prompts.prompt import StoredPrompt
from medsam_core.reports.tables import ranked
from medsam_core.runs import Run
from medsam_core.slices import SliceCounts
from medsam_core.text import few, shown

UNGATED = "–"
ORDER = ("FAIL", "INCONCLUSIVE", "PASS", UNGATED)
"""The outcomes of cases in the order of the page."""
MOST_CURVES = 2000
"""A larger run carries the curves of its first cases only, those that failed and the worst: each is some 600 bytes."""
_PARTS = ("subject", "modality", "region", "prompt", "protocol")
_SHOWN_PROMPTS, _MOST_SLICES = 3, 20


class Words:
    """Texts by number; each is written once, however many cases it is about."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """The text's number, a new one for a new text."""
        return self._numbers.setdefault(shown(text), len(self._numbers))

    def numbers(self, texts: Iterable[str]) -> list[int]:
        """The number of each."""
        return [self.number(text) for text in texts]

    @property
    def texts(self) -> list[str]:
        """In the order of their numbers."""
        return list(self._numbers)


def outcomes(records: Sequence[CaseRecord], verdict: Verdict) -> dict[str, str]:
    """What the verdict says about each case; – instead of PASS if no gate is about it."""
    judged = {case.id: case.outcome for case in verdict.cases}
    terciles = volume_terciles(records)
    gates = list({id(one.gate): one.gate for one in verdict.results}.values())
    found = {}
    for record in records:
        outcome = judged.get(record.id, Outcome.PASS)
        gated = record.prompted and any(gate.matches(record, terciles) for gate in gates)
        found[record.id] = outcome.value if gated or outcome is not Outcome.PASS else UNGATED
    return found


def in_order(run: Run, outcome: Mapping[str, str]) -> list[CaseRecord]:
    """The records as the page lists them: failed cases first, then the worst."""
    try:
        records = ranked(run.records, profile=run.header.settings.profile)
    except MedsamError:  # a run that did not compute Dice still has a page
        records = sorted(run.records, key=lambda record: record.id)
    return sorted(records, key=lambda record: ORDER.index(outcome[record.id]))


def case_data(
    run: Run,
    verdict: Verdict,
    outcome: Mapping[str, str],
    baseline: Baseline | None,
    change: Mapping[str, float],
    slices: Mapping[str, SliceCounts],
    *,
    picture: Callable[[CaseRecord], str | None],
    viewer: Callable[[CaseRecord], str | None],
) -> dict[str, Any]:
    """Everything that the page's script knows, in built-in types.

    outcome: as `outcomes` gives. change: case id → change of Dice.
    picture, viewer: the address of a case's overlay and of its viewer's data.
    """
    words, records = Words(), in_order(run, outcome)
    why = {case.id: case.texts for case in verdict.cases}
    groups = dict.fromkeys(group_name(case) for case in sorted((one.case for one in records), key=group_order))
    profile = run.header.settings.profile
    return {
        "run": shown(run.directory.resolve().name),
        "baseline": shown(baseline.name) if baseline else None,
        "id": [shown(record.id) for record in records],
        **{part: words.numbers(getattr(record.case, part) for record in records) for part in _PARTS},
        "noise": words.numbers(getattr(record.case, "noise", "") for record in records),
        "groups": words.numbers(groups),
        "group": words.numbers(group_name(record.case) for record in records),
        "outcome": words.numbers(outcome[record.id] for record in records),
        "why": [words.numbers(why.get(record.id, ())) for record in records],
        "cause": words.numbers(record.diagnosis or "" for record in records),
        "notes": [words.numbers(record.notes) for record in records],
        "labels": words.numbers(record.labels for record in records),
        "grade": words.numbers(record.grade or "" for record in records),
        "site": words.numbers(record.site or "" for record in records),
        "prompted": [int(record.prompted) for record in records],
        "slices": [list(record.key_slices[:_MOST_SLICES]) for record in records],
        "asked": [prompt_text(record.prompts) for record in records],
        "seconds": [_number(record.seconds) for record in records],
        "change": [_number(change.get(record.id)) for record in records],
        "scores": _scores(records, baseline),
        "rounds": rounds(records, profile),
        "controls": _controls(records, profile),
        "curves": curves(records, slices),
        "pictures": {place: url for place, record in enumerate(records) if (url := picture(record))},
        "viewers": {place: url for place, record in enumerate(records) if (url := viewer(record))},
        "words": words.texts,
    }


def _scores(records: Sequence[CaseRecord], baseline: Baseline | None) -> list[dict[str, Any]]:
    """Every score of the run: what it is, its value in each case, and the baseline's where that has it at all."""
    keys = {key for record in records for key in record.scores if _metric(key)[1] in SCOPES}
    held = {key for case in baseline.cases.values() for key in case.scores} if baseline else set()
    found = []
    for key in sorted(keys, key=lambda key: (SCOPES.index(_metric(key)[1]), _place(_metric(key)[0]), key)):
        metric, scope = _metric(key)
        known = METRICS.get(metric)
        before = [_number(baseline.score(record.id, key)) for record in records] if baseline and key in held else None
        found.append(
            {
                "name": metric_name(metric).removesuffix("_ml").replace("_", " "),
                "metric": metric,
                "scope": scope,
                "unit": unit_of(metric).strip(),
                "better": known.better if known else "neither",
                "now": [_number(record.scores.get(key)) for record in records],
                "before": before,
            }
        )
    return found


def _controls(records: Sequence[CaseRecord], profile: str) -> list[dict[str, Any]]:
    """Dice of each control in each case, over the volume and on the key slice."""
    names = sorted({name for record in records for name in record.controls})
    keys = {scope: score_key(profile, "dice", scope) for scope in CONTROL_SCOPES}
    return [
        {
            "name": name.replace("_", " "),
            "scores": {
                scope: [_number(record.controls.get(name, {}).get(key)) for record in records]
                for scope, key in keys.items()
            },
        }
        for name in names
    ]


def curves(records: Sequence[CaseRecord], slices: Mapping[str, SliceCounts]) -> dict[int, list[Any]]:
    """Place of the case → first slice, Dice of each slice in thousandths, voxels of truth and of prediction."""
    found: dict[int, list[Any]] = {}
    for place, record in enumerate(records):
        counts = slices.get(record.id)
        if counts is not None and counts.truth and len(found) < MOST_CURVES:
            dice = [None if value is None else round(1000 * value) for value in counts.dice]
            found[place] = [counts.first, dice, list(counts.truth), list(counts.prediction)]
    return found


def rounds(records: Sequence[CaseRecord], profile: str) -> dict[int, list[float | None]]:
    """Place of the case → Dice over the volume after 0, 1, … corrections, for a run that made some.

    They are scores of the scopes `round0`, `round1` and so on.
    """
    found: dict[int, list[float | None]] = {}
    for place, record in enumerate(records):
        keys = [score_key(profile, "dice", f"round{number}") for number in range(len(record.scores))]
        values = [_number(record.scores[key]) for key in itertools.takewhile(record.scores.__contains__, keys)]
        if values:
            found[place] = values
    return found


def prompt_text(prompts: Sequence[StoredPrompt]) -> str:
    """What the model was given, for a person: `box (43, 42) to (80, 126) on slice 25`."""
    return few([_one_prompt(prompt) for prompt in prompts], _SHOWN_PROMPTS) or "none"


def _one_prompt(prompt: StoredPrompt) -> str:
    parts = []
    box, points, mask = prompt.get("box"), prompt.get("points") or (), prompt.get("mask")
    if box is not None:
        x0, y0, x1, y1 = (f"{value:g}" for value in box)
        parts.append(f"box ({x0}, {y0}) to ({x1}, {y1})")
    if points:
        places = [f"({x:g}, {y:g})" for x, y in points]
        parts.append(f"{'points' if len(places) > 1 else 'point'} {few(places, 6)}")
    if mask is not None:
        parts.append(f"a mask of {sum(mask['lengths'])} voxels")
    return f"{' with '.join(parts) or prompt.get('mode', '')} on slice {prompt.get('key_slice')}"


def _metric(key: str) -> tuple[str, str]:
    """Metric and scope of a score's key."""
    metric, _, scope = key.partition("/")[2].partition("@")
    return metric, scope


def _place(metric: str) -> int:
    return list(METRICS).index(metric) if metric in METRICS else len(METRICS)


def _number(value: float | None) -> float | None:
    """Rounded to what is shown, or more; None for what is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return round(value, 5 if abs(value) < 10 else 2)
