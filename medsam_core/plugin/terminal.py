"""What the terminal shows above and below the tests: the configuration, the results and the notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from medsam_core.cases import CaseRecord
from medsam_core.gates.verdict import Verdict
from medsam_core.header import RunHeader
from medsam_core.prompts.noise import Noise
from medsam_core.reports.tables import control_lines, summary_lines
from medsam_core.settings import Settings
from medsam_core.text import counted, few


def describe(header: RunHeader) -> list[str]:
    """The effective configuration, for the terminal."""
    cohort, settings, checkpoint = header.cohort, header.settings, header.checkpoint
    seen, decided, gates = header.environment, header.decided, header.gates
    device, precision = (f" ({why})" if why else "" for why in (decided.device, decided.precision))
    scored = list(dict.fromkeys(case.split("/")[0] for case in header.plan))
    size = f", {checkpoint.image_size} px" if checkpoint.image_size else ""
    return [
        f"predictor: {header.predictor}",
        f"checkpoint: {checkpoint.name} (sha256 {checkpoint.sha256[:12]})"
        + (f", {checkpoint.architecture}" if checkpoint.architecture else "")
        + size,
        *(f"note: {note}" for note in checkpoint.notes),
        f"device: {header.device}{device}: {seen.gpu or seen.cpu}, torch {seen.torch}, sam2 {seen.sam2}",
        f"precision {header.precision}{precision}, threads {decided.threads or 'not recorded'}"
        + (", compilation asked for" if decided.compiled else ""),
        *([f"workers: {_worker_devices(decided.workers)}"] if len(set(decided.workers)) > 1 else []),
        *([f"set aside while the model works: {decided.ambient}"] if decided.ambient else []),
        f"cohort: {cohort.root}, {len(cohort.subjects)} subjects, layout {'/'.join(cohort.layouts)}, "
        f"labels {'/'.join(cohort.labels)}, fingerprint {cohort.fingerprint[:12]}",
        *([f"shard {header.shard}: {len(scored)} of these subjects: {few(scored)}"] if header.shard else []),
        f"cases: {len(header.plan)} = modality {', '.join(settings.modalities)} × region "
        f"{', '.join(settings.regions)} × prompt {', '.join(settings.prompts)} × protocol "
        f"{', '.join(settings.protocols)}{_noise(settings)}; key slice {settings.key_slice}, "
        + (f"{settings.key_slices} key slices in one track, " if settings.key_slices > 1 else "")
        + (f"{settings.refine} corrections by the rule {settings.refine_rule}, " if settings.refine else "")
        + f"jitter {settings.jitter_voxels:g}, "
        f"profile {settings.profile}",
        *([f"options from {decided.options}"] if decided.options else []),
        f"gates: {gates.file if gates else 'none: the verdict cannot be PASS (give --medsam-gates=FILE)'}",
    ]


def result_lines(records: Sequence[CaseRecord], verdict: Verdict, profile: str) -> list[str]:
    """The table of scores, the controls, the verdict and the notes."""
    table, controls = summary_lines(records, profile=profile), control_lines(records, profile=profile)
    return [*table, *controls, *verdict.lines(), *note_lines(records)]


def _noise(settings: Settings) -> str:
    """`, each exact and, where it is moved, with jitter3, expand5 under 5 seeds`; "" without noise."""
    found = [Noise.of(word) for word in settings.noises]
    if not found:
        return ""
    seeds = counted(len({noise.seed for noise in found}), "seed")
    levels = ", ".join(dict.fromkeys(noise.level for noise in found))
    return f", each exact and, where it is moved, with {levels} under {seeds}"


def _worker_devices(devices: Sequence[str]) -> str:
    """`gw0 and gw2 on cuda:0, gw1 on cuda:1`."""
    of: dict[str, list[str]] = {}
    for number, device in enumerate(devices):
        of.setdefault(device, []).append(f"gw{number}")
    return ", ".join(f"{' and '.join(workers)} on {device}" for device, workers in of.items())


def note_lines(records: Iterable[CaseRecord], most: int = 5) -> list[str]:
    """What was unusual but no error, such as a batch that did not fit and was halved: each note once and its subjects.

    most: how many notes at most; a last line says how many more there are.
    """
    subjects: dict[str, dict[str, None]] = {}
    for record in records:
        for note in record.notes:
            subjects.setdefault(note, {})[record.case.subject] = None
    lines = []
    for note, noted in subjects.items():
        first, *others = noted
        lines.append(f"note: {note.rstrip('.')} ({first}{f' and {len(others)} more' if others else ''})")
    if len(lines) > most:
        lines[most:] = [f"note: {len(lines) - most} more in page.html"]
    return lines
