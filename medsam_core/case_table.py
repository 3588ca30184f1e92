"""A run as a table with one row per case and a column per score: what is exported, and what pandas is given.

The first columns are the same for every run, so the tables of several runs can be put below each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from medsam_core.cases import Case, CaseRecord
from medsam_core.errors import OptionError
from medsam_core.header import RunHeader
from medsam_core.metrics import KNOWN
from medsam_core.text import counted, shown

Cell = str | float | int | bool | None
"""None: not known. NaN: the score was computed, and the profile leaves it undefined."""
Kind = Literal["text", "number", "count", "flag"]
SCORED, ABSENT, MISSING = "scored", "absent", "missing"
"""What became of a case, in the column `status`."""
_SCOPES = {
    "volume": "over the whole volume",
    "region_slices": "over the slices with the region",
    "key_slice": "over the prompted slices",
}
_VOXELS = {"tp": "both masks", "fp": "the prediction alone", "fn": "the truth alone", "tn": "neither mask"}


@dataclass(frozen=True)
class Column:
    """One column of the table."""

    name: str
    kind: Kind
    unit: str
    """"mm", "ml", "s", "voxels", "slices", or "" for a number without a unit and for text."""
    description: str


@dataclass(frozen=True)
class CaseTable:
    """The columns, and a row for every case."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    """In the order of the plan, then cases that were scored without being planned."""

    def column(self, name: str) -> list[Cell]:
        """The cells of one column, from the first row to the last."""
        place = [one.name for one in self.columns].index(name)
        return [row[place] for row in self.rows]

    def with_columns(self, columns: Sequence[Column], cells: Mapping[str, Sequence[Cell]]) -> CaseTable:
        """The table with further columns at its end. cells: by the column `case`; a case without has None."""
        none = (None,) * len(columns)
        ids = self.column("case")
        rows = tuple((*row, *cells.get(str(case), none)) for case, row in zip(ids, self.rows, strict=True))
        return CaseTable((*self.columns, *columns), rows)


@dataclass(frozen=True)
class _Given:
    """What a cell is made from."""

    run: str
    header: RunHeader
    id: str
    case: Case | None
    record: CaseRecord | None


Read = Callable[[_Given], Cell]


def _part(name: str) -> Read:
    """Reads a part of the case."""
    return lambda one: getattr(one.case, name, None)


def _field(name: str) -> Read:
    """Reads a field of the record."""
    return lambda one: getattr(one.record, name, None)


def _spacing(axis: int) -> Read:
    return lambda one: one.record.spacing_mm[axis] if one.record and one.record.spacing_mm else None


_FIXED: tuple[tuple[str, Kind, str, str, Read], ...] = (
    ("run", "text", "", "name of the run's folder", lambda one: one.run),
    ("case", "text", "", "id of the case", lambda one: one.id),
    ("subject", "text", "", "id of the subject", _part("subject")),
    ("modality", "text", "", "image that the model saw", _part("modality")),
    ("region", "text", "", "region that was prompted and scored", _part("region")),
    ("prompt", "text", "", "prompt mode", _part("prompt")),
    ("protocol", "text", "", "direction of propagation", _part("protocol")),
    ("noise", "text", "", "noise of the prompt, such as jitter3-seed1; empty for an exact prompt", _part("noise")),
    (
        "status",
        "text",
        "",
        "scored; absent: the truth lacks the region, so nothing was prompted and the scores are the profile's rule for "
        "two empty masks; missing: planned but not scored",
        lambda one: MISSING if one.record is None else SCORED if one.record.prompted else ABSENT,
    ),
    ("grade", "text", "", "grade of the tumour, HGG or LGG", _field("grade")),
    ("site", "text", "", "site as the data set names it", _field("site")),
    ("labels", "text", "", "label convention of the truth", _field("labels")),
    (
        "key_slices",
        "text",
        "",
        "prompted axial slices from 0, separated by blanks",
        lambda one: " ".join(map(str, one.record.key_slices)) if one.record else None,
    ),
    ("spacing_z_mm", "number", "mm", "distance of two slices", _spacing(0)),
    ("spacing_y_mm", "number", "mm", "distance of two rows", _spacing(1)),
    ("spacing_x_mm", "number", "mm", "distance of two columns", _spacing(2)),
    (
        "seconds",
        "number",
        "s",
        "the subject's wall time divided equally among its cases",
        _field("seconds"),
    ),
    ("diagnosis", "text", "", "why the case broke a gate", _field("diagnosis")),
    ("notes", "text", "", "what was unusual", lambda one: " ".join(one.record.notes) if one.record else None),
    ("profile", "text", "", "definition of the scores", lambda one: one.header.settings.profile),
    ("created", "text", "", "when the run began, ISO 8601", lambda one: one.header.created),
    ("predictor", "text", "", "what ran the weights", lambda one: str(one.header.predictor)),
    ("checkpoint", "text", "", "name of the weights", lambda one: one.header.checkpoint.name),
    ("checkpoint_sha256", "text", "", "SHA-256 of the weights", lambda one: one.header.checkpoint.sha256),
    ("device", "text", "", "device of the model", lambda one: one.header.device),
    ("precision", "text", "", "fp32 or bf16", lambda one: one.header.precision),
    ("commit", "text", "", "commit of the repository", lambda one: one.header.environment.commit),
    ("dirty", "flag", "", "whether a file differed from the commit", lambda one: one.header.environment.dirty),
)


def case_table(run: str, header: RunHeader, records: Iterable[CaseRecord]) -> CaseTable:
    """The table of a run. run: its name, for the first column.

    A cell is None where nothing is known, such as every score of a missing case, and NaN where a score is undefined.
    Control characters in names are escaped as `text.shown` does it.
    """
    scored = {record.id: record for record in records}
    ids = list(dict.fromkeys([*header.plan, *scored]))
    given = [
        _Given(run, header, one, scored[one].case if one in scored else Case.from_id(one), scored.get(one))
        for one in ids
    ]
    fixed = [Column(*row[:4]) for row in _FIXED]
    measured = dict(_measured(header, list(scored.values())))
    rows = []
    for one in given:
        cells = [row[4](one) for row in _FIXED]
        rows.append(tuple(map(_printable, [*cells, *(read(one) for read in measured.values())])))
    return CaseTable((*fixed, *measured), tuple(rows))


def to_frame(table: CaseTable) -> Any:
    """The table as a pandas.DataFrame; `frame.attrs` holds unit and description by column.

    pandas has one word for both, so NaN stands for an undefined score and for none: see the column `status`.
    Raises OptionError without pandas.
    """
    try:
        import pandas
    except ImportError:
        fix = 'pip install "medsam-core[frame]"'
        raise OptionError(f"to_frame: pandas is not installed, expected it to make a table; {fix}.") from None

    kinds = {"text": "object", "number": "float64", "count": "Int64", "flag": "boolean"}
    frame = pandas.DataFrame(
        {one.name: pandas.Series(table.column(one.name), dtype=kinds[one.kind]) for one in table.columns}
    )
    frame.attrs.update({one.name: {"unit": one.unit, "description": one.description} for one in table.columns})
    return frame


def _measured(header: RunHeader, records: Sequence[CaseRecord]) -> Iterator[tuple[Column, Read]]:
    """A column for every score, count and control score that a record has, in the order in which they appear."""
    own = f"{header.settings.profile}/"
    for key in dict.fromkeys(key for record in records for key in record.scores):
        yield _score_column(key, own), _score(key)
    for scope in dict.fromkeys(scope for record in records for scope in record.counts):
        for name, where in _VOXELS.items():
            words = f"in {where}, {_place(scope)}"
            yield Column(f"{name}_voxels@{shown(scope)}", "count", "voxels", shown(words)), _count(scope, name)
    for control in dict.fromkeys(name for record in records for name in record.controls):
        for key in dict.fromkeys(key for record in records for key in record.controls.get(control, ())):
            yield _score_column(key, own, control), _control_score(control, key)


def _score(key: str) -> Read:
    return lambda one: one.record.scores.get(key) if one.record else None


def _count(scope: str, name: str) -> Read:
    return lambda one: getattr(one.record.counts.get(scope), name, None) if one.record else None


def _control_score(control: str, key: str) -> Read:
    return lambda one: one.record.controls.get(control, {}).get(key) if one.record else None


def _score_column(key: str, own: str, control: str = "") -> Column:
    name = key.removeprefix(own)
    metric, _, scope = key.rpartition("/")[2].partition("@")
    known = KNOWN.get(metric)
    words = f"{known.description}, {_place(scope)}" if known else f"{metric}, {_place(scope)}"
    if control:
        name, words = f"{control}/{name}", f"the control {control}: {words}"
    return Column(shown(name), "number", known.unit if known else "", shown(words))


def _place(scope: str) -> str:
    number = scope.removeprefix("round")
    if number != scope and number.isdecimal():
        return f"over the whole volume after {counted(int(number), 'correction')}"
    return _SCOPES.get(scope, scope)


def _printable(cell: Cell) -> Cell:
    return shown(cell) if isinstance(cell, str) else cell
