"""Whether a cohort has what a session asks of it: before the first voxel is read, from names and labels alone."""

from __future__ import annotations

from collections.abc import Sequence

from medsam_core.cases import SCOPES
from medsam_core.data.cohort import Subject, check_subjects
from medsam_core.data.regions import CONVENTIONS, REGIONS, convention_named
from medsam_core.errors import DataError, OptionError
from medsam_core.gates.gate import Gate
from medsam_core.metrics import DERIVED
from medsam_core.plugin.identity import files_of
from medsam_core.settings import Settings
from medsam_core.text import counted


def check_cohort(subjects: tuple[Subject, ...], settings: Settings) -> None:
    """Raise DataError if a subject lacks a file or a label convention that the session will need."""
    for modality in settings.modalities:
        check_subjects(subjects, modality)
    # git-annex and datalad leave a link in place of a file that was not fetched; the fingerprint needs every modality
    gone = [path for subject in subjects for path in files_of(subject) if path.is_symlink() and not path.exists()]
    if gone:
        what = f"{gone[0]}: a link" if len(gone) == 1 else f"{gone[0]} and {len(gone) - 1} more: links"
        raise DataError(
            f"{what} to nothing, expected files; fetch them, e.g. with `git annex get`, or leave these subjects out "
            "with --medsam-subjects."
        )
    unclear = [subject.id for subject in subjects if subject.convention is None]
    if unclear and settings.labels is None:
        raise DataError(
            f"{unclear[0]}: the label convention is unclear for {len(unclear)} of {len(subjects)} subjects, "
            f"expected one for each; name it with --medsam-labels ({', '.join(CONVENTIONS)})."
        )
    _check_regions(subjects, settings)


def check_rounds(gates: Sequence[Gate], settings: Settings) -> None:
    """Raise OptionError for a gate on a round that the session does not have."""
    for gate in gates:
        needed = 0
        if gate.metric in DERIVED:
            needed = 1 if DERIVED[gate.metric].unit else 2  # an area needs two scores
        elif gate.scope not in SCOPES:
            needed = max(1, int(gate.scope.removeprefix("round")))
        if settings.refine < needed:
            raise OptionError(
                f"{gate.label}: got {settings.refine} rounds of corrections, expected at least {needed} for this "
                f"score; give --medsam-refine={needed} or more, or other --medsam-gates."
            )


def _check_regions(subjects: tuple[Subject, ...], settings: Settings) -> None:
    """Raise OptionError if the labels of a subject cannot give a region that the session asks for."""
    named = {subject.id: settings.labels or subject.convention or "" for subject in subjects}
    conventions = {name: convention_named(name) for name in dict.fromkeys(named.values())}
    in_all = [region for region in REGIONS if all(region in one.regions for one in conventions.values())]
    wanted = [region for region in settings.regions if region not in in_all]
    if not wanted:
        return
    lacking = [
        subject for subject, name in named.items() if not all(region in conventions[name].regions for region in wanted)
    ]
    names = " and ".join(str(conventions[name]) for name in dict.fromkeys(named[subject] for subject in lacking))
    choice = f"choose of {', '.join(in_all)} with --medsam-regions" if in_all else "score these subjects by themselves"
    raise OptionError(
        f"region{'s' * (len(wanted) > 1)} {', '.join(wanted)}: not among the labels of {names}, used in "
        f"{len(lacking)} of {counted(len(subjects), 'subject')} ({lacking[0]} …), expected regions that all "
        f"labels have; {choice}."
    )
