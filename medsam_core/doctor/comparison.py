"""Compare the subjects of a cohort with each other, and with those of another cohort."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from medsam_core.data.nifti_header import NO_UNIT
from medsam_core.data.subject import Subject
from medsam_core.doctor.examination import TRUTH, Examined, Place
from medsam_core.doctor.findings import LOOK, WRONG, Finding
from medsam_core.modalities import MODALITIES
from medsam_core.text import counted, few

_PROPERTIES: tuple[tuple[str, Callable[[Place], str]], ...] = (
    ("shape", lambda place: by(place.shape)),
    ("spacing", lambda place: f"{by(place.spacing_mm)} mm"),
    ("orientation", lambda place: place.orientation),
    ("unit", lambda place: "mm" if place.unit == NO_UNIT else place.unit),
    ("position", lambda place: "in the header" if place.positioned else "none"),
)


def by(lengths: Sequence[float]) -> str:
    """`155 × 240 × 240`."""
    return " × ".join(f"{one:g}" for one in lengths)


def compare(subjects: Sequence[Subject], examined: Sequence[Examined]) -> list[Finding]:
    """What no subject shows alone: files that others have, another grid, duplicates, several conventions.

    subjects, examined: the same subjects in the same order.
    """
    return [*_lacking(subjects), *_conventions(examined), *_passed_over(examined), *_odd(examined), *_twice(examined)]


def leaked(examined: Sequence[Examined], other: Sequence[Examined], name: str) -> list[Finding]:
    """Voxels that are in both cohorts, and ids that are in both with other voxels. name: of the other cohort."""
    findings: list[Finding] = []
    theirs: dict[tuple[bool, str], list[str]] = {}
    for one in other:
        for file, found in one.hashes.items():
            theirs.setdefault((file == TRUTH, found), []).append(f"{one.id}/{file}")
    ids = {one.id.lower() for one in other}
    for one in examined:
        same = {
            file: theirs[file == TRUTH, found] for file, found in one.hashes.items() if (file == TRUTH, found) in theirs
        }
        if same:
            text = f"the same voxels are in {name}: a model that was trained there has seen them"
            detail = few([f"{file} is {few(places, 1)}" for file, places in same.items()], 5)
            findings.append(Finding(WRONG, "leakage", text, one.id, detail))
        elif one.id.lower() in ids:
            findings.append(Finding(LOOK, "leakage", f"the same id is in {name}, with other voxels", one.id))
    text = f"files of {name} that could not be compared"
    for one in other:
        unread = [finding.detail for finding in one.findings if finding.kind == "file"]
        findings += [Finding(LOOK, "leakage", text, one.id, detail) for detail in unread]
    return findings


def _lacking(subjects: Sequence[Subject]) -> list[Finding]:
    findings = []
    some = [name for name in MODALITIES if any(name in subject.images for subject in subjects)]
    for name in some:
        text = f"no {name}, which others have"
        findings += [Finding(LOOK, "sequence", text, subject.id) for subject in subjects if name not in subject.images]
    without = [subject.id for subject in subjects if subject.segmentation is None]
    if subjects and len(without) == len(subjects):
        findings.append(Finding(LOOK, "segmentation", "no subject has a segmentation: nothing can be scored"))
    else:
        text = "no segmentation, which others have: the gate refuses the cohort"
        findings += [Finding(WRONG, "segmentation", text, one) for one in without]
    return findings


def _conventions(examined: Sequence[Examined]) -> list[Finding]:
    text = "it is unclear what the labels mean: name the convention with --labels (in pytest --medsam-labels)"
    findings = [Finding(WRONG, "labels", text, one.id) for one in examined if one.convention is None]
    for what, found in (
        ("layouts", Counter(one.layout for one in examined)),
        ("label conventions", Counter(one.convention for one in examined if one.convention is not None)),
    ):
        if len(found) > 1:
            listed = ", ".join(f"{name} in {counted(count, 'subject')}" for name, count in found.most_common())
            findings.append(Finding(LOOK, "mixture", f"subjects of {len(found)} {what}: {listed}"))
    return findings


def _passed_over(examined: Sequence[Examined]) -> list[Finding]:
    text = "files passed over"
    return [Finding(LOOK, "passed-over", text, one.id, note) for one in examined for note in one.notes]


def _odd(examined: Sequence[Examined]) -> list[Finding]:
    """Files on another grid than most files; none where no value has the majority, as in native scans."""
    findings = []
    files = [(one.id, name, place) for one in examined for name, place in one.places.items()]
    for what, of in _PROPERTIES:
        counts = Counter(of(place) for _, _, place in files)
        if len(counts) < 2:
            continue
        usual, count = counts.most_common(1)[0]
        if 2 * count <= len(files):
            continue
        odd: dict[str, dict[str, list[str]]] = {}
        for subject, name, place in files:
            if of(place) != usual:
                odd.setdefault(subject, {}).setdefault(of(place), []).append(name)
        for subject, values in odd.items():
            detail = "; ".join(f"{value} ({few(names, 5)})" for value, names in values.items())
            findings.append(Finding(LOOK, what, f"{what} other than {usual}, which most files have", subject, detail))
    return findings


def _twice(examined: Sequence[Examined]) -> list[Finding]:
    """Images and truths that occur twice, in one subject or in two: they would count twice, or for one another."""
    places: dict[tuple[bool, str], list[tuple[str, str]]] = {}
    for one in examined:
        for file, found in one.hashes.items():
            places.setdefault((file == TRUTH, found), []).append((one.id, file))
    findings = []
    for (is_truth, _), same in places.items():
        for place in same if len(same) > 1 else ():
            others = [f"{subject}/{file}" for subject, file in same if (subject, file) != place]
            several = len({subject for subject, _ in same}) > 1
            text = "the same image in two subjects" if several else "the same image as two sequences"
            text = "the same truth in two subjects" if is_truth else text
            findings.append(Finding(WRONG, "duplicate", text, place[0], f"{place[1]} is {few(others)}"))
    return findings
