"""The words for scores, bounds and cases, the same in a test's failure, the verdict and a comparison."""

from __future__ import annotations

from medsam_core.cases import Case, CaseRecord
from medsam_core.data.regions import REGIONS
from medsam_core.metrics import KNOWN
from medsam_core.modalities import IMAGES
from medsam_core.prompts.noise import KINDS, Noise
from medsam_core.prompts.prompt import MODES, PROTOCOLS

_NAMES = {"dice": "Dice", "iou": "IoU", "nsd": "NSD", "hd": "HD", "hd95": "HD95", "assd": "ASSD", "masd": "MASD"} | {
    "dice_auc": "Dice AUC",
    "nsd_auc": "NSD AUC",
    "noc85": "NoC 0.85",
    "noc90": "NoC 0.90",
}
_UNITS = ("mm", "ml")
DEFAULT_MODALITY, DEFAULT_PROTOCOL = "t1ce", "bidirectional"


def metric_name(metric: str, scope: str = "volume") -> str:
    """`Dice`, or with another scope than the whole volume `Dice@key_slice`."""
    name = _NAMES.get(metric, metric)
    return name if scope == "volume" else f"{name}@{scope}"


def unit_of(metric: str) -> str:
    """`" mm"`, `" ml"` with a leading blank, or `""` for a ratio or a metric that this version does not know."""
    unit = str(getattr(KNOWN.get(metric), "unit", ""))
    return f" {unit}" if unit in _UNITS else ""


def compared(value: float, limit: float, metric: str) -> str:
    """`0.412 < 0.700`, `12.100 mm > 10.000 mm`: with enough digits for two different numbers to look different."""
    unit = unit_of(metric)
    digits = 3 if value == limit else next((d for d in range(3, 17) if f"{value:.{d}f}" != f"{limit:.{d}f}"), 17)
    sign = "<" if value < limit else ">" if value > limit else "="
    return f"{value:.{digits}f}{unit} {sign} {limit:.{digits}f}{unit}"


def of_case(record: CaseRecord) -> str:
    """`WT, box, key slice 95`: what the model was asked; protocol and modality only if they are not the default."""
    parts = group_name(record.case).split("/")
    slices = record.key_slices
    if len(slices) > 3:
        parts.append(f"{len(slices)} key slices")
    elif slices:
        parts.append(f"key slice{'s' if len(slices) > 1 else ''} {', '.join(map(str, slices))}")
    return ", ".join(parts)


def group_name(case: Case) -> str:
    """`WT/box` or `WT/box/jitter3`: the group of cases that are compared together, all seeds of a noise in one.

    Protocol and modality only if not the default.
    """
    parts = [case.region, case.prompt]
    if case.modality != DEFAULT_MODALITY:
        parts.insert(0, case.modality)
    if case.protocol != DEFAULT_PROTOCOL:
        parts.append(case.protocol)
    if case.noise:
        parts.append(case.noise_level)
    return "/".join(parts)


def group_order(case: Case) -> tuple[int, ...]:
    """Sorts groups as a reader expects them: WT before TC before ET, box before point, exact before noisy prompts."""
    noise = Noise.of(case.noise) if case.noise else None
    place = IMAGES.index(case.modality), REGIONS.index(case.region), MODES.index(case.prompt)
    moved = (1 + KINDS.index(noise.kind), noise.amount) if noise else (0, 0)
    return (*place, PROTOCOLS.index(case.protocol), *moved)
