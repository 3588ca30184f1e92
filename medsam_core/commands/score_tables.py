"""Scores as tables: on the terminal, as CSV and as JSON, with their mean, standard deviation and median."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from medsam_core.metrics import METRICS
from medsam_core.text import aligned

Regions = dict[str, dict[str, float]]
"""Region → "<profile>/<metric>" → value."""
Scores = dict[str, Regions]
"""By case."""


def summary(scores: Scores, *, of_defined: bool) -> Scores:
    """ "mean", "sd", "median" and "undefined" of every score over the cases that have the region, as rows of a table.

    of_defined: whether undefined scores (NaN) are left out; otherwise what has one is itself NaN.
    "sd" is the sample's standard deviation, NaN for one case; "undefined" is the number of NaN.
    """
    found: Scores = {"mean": {}, "sd": {}, "median": {}, "undefined": {}}
    for region in dict.fromkeys(name for regions in scores.values() for name in regions):
        rows = [regions[region] for regions in scores.values() if region in regions]
        for key in rows[0]:
            values = np.array([row[key] for row in rows], float)
            undefined = np.isnan(values)
            values = values[~undefined] if of_defined else values
            with np.errstate(invalid="ignore"):  # the deviation of infinite values is not a number
                numbers = {
                    # summed as Python does, one by one: the mean of these scores so far
                    "mean": sum(values.tolist()) / len(values) if len(values) else math.nan,
                    "sd": float(np.std(values, ddof=1)) if len(values) > 1 else math.nan,
                    "median": float(np.median(values)) if len(values) else math.nan,
                    "undefined": float(undefined.sum()),
                }
            for name, number in numbers.items():
                found[name].setdefault(region, {})[key] = number
    return found


def terminal_table(scores: Scores, metrics: Sequence[str], summaries: Mapping[str, Regions]) -> str:
    """A line for each case and region, then the summaries; "undefined" only where there is something undefined."""
    units = [f"{name} [{METRICS[name].unit}]" if METRICS[name].unit == "mm" else name for name in metrics]
    lines = [["case", "region", *units]]
    for case, region, values in [*_lines(scores), *_lines(summaries)]:
        if case != "undefined" or any(values.values()):
            lines.append([case, region, *(f"{value:.4f}".rstrip("0").rstrip(".") for value in values.values())])
    return "\n".join(aligned(lines, right=range(2, len(units) + 2)))


def csv_text(scores: Scores) -> str:
    """One row for each case and region, one column for each score; NaN is `nan`, which pandas reads."""
    text = io.StringIO(newline="")
    lines = list(_lines(scores))
    writer = csv.writer(text)
    writer.writerow(["case", "region", *lines[0][2]])
    writer.writerows([case, region, *values.values()] for case, region, values in lines)
    return text.getvalue()


def json_text(content: Mapping[str, object]) -> str:
    """Strict JSON: null for NaN and infinity, which it does not have."""
    return json.dumps(json.loads(json.dumps(content), parse_constant=lambda _: None), indent=2) + "\n"


def _lines(scores: Mapping[str, Regions]) -> Iterator[tuple[str, str, dict[str, float]]]:
    for case, regions in scores.items():
        for region, values in regions.items():
            yield case, region, values
