"""The table of a run's cases as CSV and as Parquet, with its verdict on every case."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from medsam_core import __version__
from medsam_core.case_table import CaseTable, Cell, Column, case_table
from medsam_core.errors import OptionError
from medsam_core.files import written_whole
from medsam_core.gates.verdict import Verdict
from medsam_core.reports.escaping import csv_cell
from medsam_core.runs import Run
from medsam_core.text import shown

_JUDGED = (
    Column("outcome", "text", "", "PASS, FAIL or INCONCLUSIVE: the bounds per case; the run's verdict needs more"),
    Column("reasons", "text", "", "why the outcome is not PASS"),
)


def judged_table(run: Run, verdict: Verdict) -> CaseTable:
    """The run's cases with the verdict on each, in its last two columns."""
    cells: Mapping[str, tuple[Cell, Cell]] = {
        shown(one.id): (one.outcome.value, shown("; ".join(one.texts))) for one in verdict.cases
    }
    return case_table(run.directory.resolve().name, run.header, run.records).with_columns(_JUDGED, cells)


def csv_text(table: CaseTable) -> str:
    """Comma-separated, with a line of names; numbers have all digits.

    An unknown value is an empty cell, an undefined score NaN. No cell is a formula to a spreadsheet.
    """
    lines = [[csv_cell(one.name) for one in table.columns], *([_csv(cell) for cell in row] for row in table.rows)]
    return "".join(f"{','.join(line)}\n" for line in lines)


def _csv(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, str):
        return csv_cell(cell)
    return str(cell).replace("nan", "NaN")


def columns_text(table: CaseTable) -> list[str]:
    """A line for every column: name, unit in brackets, description."""
    return [f"{one.name}{f' [{one.unit}]' if one.unit else ''}: {one.description}" for one in table.columns]


def write_parquet(table: CaseTable, path: Path) -> None:
    """Write Parquet whose fields carry their unit and description as metadata; null for unknown, NaN for undefined.

    Raises OptionError without pyarrow, or if the file cannot be written.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        fix = 'pip install "medsam-core[frame]"'
        raise OptionError(f"--format parquet: pyarrow is not installed, expected it to write it; {fix}.") from None

    kinds = {"text": pyarrow.string(), "number": pyarrow.float64(), "count": pyarrow.int64(), "flag": pyarrow.bool_()}
    fields = [
        pyarrow.field(one.name, kinds[one.kind], metadata={"unit": one.unit, "description": one.description})
        for one in table.columns
    ]
    schema = pyarrow.schema(fields, metadata={"medsam_core": __version__})
    columns = [pyarrow.array(table.column(field.name), type=field.type, from_pandas=False) for field in fields]
    with written_whole(path, error=OptionError, fix="choose another place for -o") as partial:
        parquet.write_table(pyarrow.Table.from_arrays(columns, schema=schema), partial)
