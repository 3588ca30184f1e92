"""The tables of BraTS 2019 and 2020, which are next to the subjects: their grades, and their ids in earlier releases.

An earlier id names the site, which the ids of 2020 do not.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from medsam_core.data import layouts
from medsam_core.data.subject import Subject
from medsam_core.errors import DataError
from medsam_core.files import read_input

TABLES = ("name_mapping.csv", "name_mapping_validation_data.csv")


def read_table(folder: Path, names: Iterable[str], mapping: dict[str, Mapping[str, str]]) -> None:
    """Add the rows of a folder's tables to `mapping`: lower-case id of a subject, in any release -> its row.

    names: the tables in the folder, of TABLES. Raises DataError for a file that is not readable as CSV.
    """
    for name in names:
        try:
            content = read_input(folder / name, what="a table (CSV)", error=DataError)
            rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig", "replace"), newline="")))
        except csv.Error as error:
            raise DataError(f"{folder / name}: not readable as a table ({error}), expected CSV; repair it.") from error
        for row in rows:
            values = {str(column): str(value).strip() for column, value in row.items() if value}
            for column, value in values.items():
                if column.lower().endswith("subject_id"):
                    mapping[value.lower()] = values


def with_table(subject: Subject, mapping: Mapping[str, Mapping[str, str]]) -> Subject:
    """The subject with grade and site from its row, where its folder and id do not give them."""
    row = mapping.get(subject.id.lower())
    if row is None:
        return subject
    grade = row.get("Grade", "").upper()
    sites = (layouts.site_of(value) for value in row.values())
    return replace(
        subject,
        grade=subject.grade or (grade if grade in layouts.GRADES else None),
        site=subject.site or next((site for site in sites if site is not None), None),
    )
