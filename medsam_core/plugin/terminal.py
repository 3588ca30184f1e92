"""What the terminal says above and below the tests: what was asked and decided, and what was odd and went on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from medsam_core.cases import CaseRecord


def describe(header: Mapping[str, Any]) -> list[str]:
    """The effective configuration in a few lines for a person: what the terminal and the page show."""
    cohort, settings, checkpoint = header["cohort"], header["settings"], header["checkpoint"]
    environment_ = header["environment"]
    gates, decided = header["gates"], header.get("decided", {})  # a run of an older version does not say
    why = {name: f" ({decided[name]})" if decided.get(name) else "" for name in ("device", "precision")}
    return [
        f"checkpoint: {checkpoint['name']} (sha256 {checkpoint['sha256'][:12]}), {checkpoint['architecture']}, "
        f"{checkpoint['image_size']} px",
        *(f"note: {note}" for note in checkpoint["notes"]),
        f"device: {header['device']}{why['device']}: {environment_.get('gpu') or environment_['cpu']}, "
        f"torch {environment_['torch']}, sam2 {environment_['sam2']}",
        f"precision {header['precision']}{why['precision']}, threads {decided.get('threads', 'not recorded')}"
        + (", compilation asked for" if decided.get("compiled") else ""),
        f"cohort: {cohort['root']}, {len(cohort['subjects'])} subjects, layout {'/'.join(cohort['layouts'])}, "
        f"labels {'/'.join(cohort['labels'])}, fingerprint {cohort['fingerprint'][:12]}",
        f"cases: {len(header['plan'])} = modality {', '.join(settings['modalities'])} × region "
        f"{', '.join(settings['regions'])} × prompt {', '.join(settings['prompts'])} × protocol "
        f"{', '.join(settings['protocols'])}; key slice {settings['key_slice']}, jitter {settings['jitter_voxels']:g}, "
        f"profile {settings['profile']}",
        f"gates: {gates['file'] if gates else 'none: the verdict cannot be PASS (give --gates FILE)'}",
    ]


def note_lines(records: Iterable[CaseRecord], most: int = 5) -> list[str]:
    """What was odd and went on, such as a batch that did not fit and was halved: each sentence once, with its subjects.

    most: how many lines at most; a last one says how many more there are.
    """
    subjects: dict[str, dict[str, None]] = {}
    for record in records:
        for note in record.notes:
            subjects.setdefault(note, {})[record.case.subject] = None
    lines = []
    for note, whose in subjects.items():
        first, *others = whose
        lines.append(f"note: {note.rstrip('.')} ({first}{f' and {len(others)} more' if others else ''})")
    if len(lines) > most:
        lines[most:] = [f"note: {len(lines) - most} more in page.html"]
    return lines
