"""`medsam-core score PREDICTION TRUTH`: the BraTS scores of label maps that any model made."""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medsam_core.errors import DataError, OptionError
from medsam_core.files import check_writable, write_whole
from medsam_core.text import aligned, counted, few

Regions = dict[str, dict[str, float]]
"""Region → "<profile>/<metric>" → value."""
Scores = dict[str, Regions]
"""By case."""

_OFFICIAL = ("dice", "hd95", "sensitivity", "specificity", "volume_difference_ml")
_LESIONS = ("lesion_dice", "lesion_hd95", "lesion_tp", "lesion_fp", "lesion_fn")
_ENDING = re.compile(r"([_-]seg)?(\.nii(\.gz)?)?\Z", re.IGNORECASE)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "score",
        help="score segmentations against the truth",
        description="Score one label map against the truth, or every label map of a folder. Files of two folders are "
        "paired by name, without an ending _seg or -seg; every truth needs a prediction. A mean is over all cases: it "
        "is nan if one of them is.",
    )
    parser.add_argument("prediction", type=Path, metavar="PREDICTION", help="a NIfTI label map, or a folder of them")
    parser.add_argument("truth", type=Path, metavar="TRUTH", help="a label map, or a folder of them")
    parser.add_argument("--profile", default="brats2019", help="definitions of the scores (default: %(default)s)")
    metrics = f"default: {', '.join(_OFFICIAL)}; with a lesion-wise profile also its lesion scores"
    parser.add_argument("--metrics", metavar="M,…", help=metrics)
    parser.add_argument("--labels", metavar="CONVENTION", help="what the labels mean (default: by the profile)")
    parser.add_argument("--binary", action="store_true", help="score everything above 0 as one region")
    region = "predictions are masks of this region, such as pytest --medsam-save-masks writes; truths are label maps"
    parser.add_argument("--region", choices=("WT", "TC", "ET"), help=region)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write a table with a line per case and region")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write JSON, with null for nan")


def run(arguments: argparse.Namespace) -> int:
    """Score, print the table and write the files. Raises MedsamError for anything that cannot be scored."""
    from medsam_core.metrics.profiles import find_profile

    profile = find_profile(arguments.profile)
    metrics = _chosen_metrics(arguments.metrics, lesions=profile.lesions is not None)
    if arguments.binary and (arguments.region or arguments.labels):
        other = "--region" if arguments.region else "--labels"
        raise OptionError(f"--binary and {other}: got both, expected one; leave one out.")
    for option, path in (("--csv", arguments.csv), ("--json", arguments.json)):
        if path is not None:
            check_writable(path, error=OptionError, fix=f"choose another place for {option}")
    labels = None if arguments.binary else arguments.labels or profile.labels or "brats2019"
    given = {"labels": labels, "profile": profile.name, "metrics": metrics, "region": arguments.region}
    pairs = pairs_of(arguments.prediction, arguments.truth)
    scores = {case: score_files(prediction, truth, **given) for case, (prediction, truth) in pairs.items()}
    means = mean_scores(scores)
    rows = [*scores.items(), *([("mean", means)] if len(scores) > 1 else [])]
    print(f"profile {profile.name}: {profile.description}")
    print(_table(rows, metrics))
    if arguments.csv is not None:
        write_whole(arguments.csv, _csv(scores), error=OptionError, fix="choose another place for --csv")
    if arguments.json is not None:
        content = {"profile": profile.name, "labels": labels, "cases": scores, "mean": means}
        content = json.loads(json.dumps(content), parse_constant=lambda _: None)  # strict JSON has no nan
        text = json.dumps(content, indent=2) + "\n"
        write_whole(arguments.json, text, error=OptionError, fix="choose another place for --json")
    return 0


def score_files(
    prediction: Path,
    truth: Path,
    *,
    labels: str | None,
    profile: str,
    metrics: Sequence[str],
    region: str | None = None,
) -> Regions:
    """The scores of two label maps on disk: {region: {"<profile>/<metric>": value}}.

    labels: the label convention of both files; None: one region "mask" of everything above 0.
    region: the prediction is a mask of this region of `labels` (above 0: inside), the truth a label map.
    Raises DataError for files that cannot be read or have different grids, LabelError for unknown labels.
    """
    import numpy as np

    from medsam_core.data.regions import REGIONS, check_labels, convention_named
    from medsam_core.data.volume import check_same_grid, read_labels
    from medsam_core.metrics import score_regions

    ours, theirs = read_labels(prediction), read_labels(truth)
    check_same_grid(theirs, ours, image_name=f"truth {truth.name}", labels_name=prediction.name)
    found, wanted = ours.voxels, theirs.voxels
    regions: Mapping[str, Any] = {region or "mask": {1}}
    if labels is None:
        found, wanted = (found > 0).view(np.uint8), (wanted > 0).view(np.uint8)
    else:
        convention = convention_named(labels)
        check_labels(wanted, convention, name=truth.name)
        if region is None:
            check_labels(found, convention, name=prediction.name)
            regions = {name: convention.regions[name] for name in REGIONS}
        else:
            values = np.unique(found[found > 0])
            if len(values) > 1:
                raise DataError(
                    f"{prediction}: got the labels {', '.join(map(str, values))} with --region {region}, expected a "
                    "mask of one value; leave --region out to score a label map."
                )
            wanted = np.isin(wanted, list(convention.regions[region])).view(np.uint8)
            found = (found > 0).view(np.uint8)
    return score_regions(found, wanted, theirs.spacing_mm, regions, profile=profile, metrics=metrics)


def pairs_of(prediction: Path, truth: Path) -> dict[str, tuple[Path, Path]]:
    """Which prediction belongs to which truth: {case: (prediction, truth)}, sorted by case.

    Both are files, or both are folders, which are searched with all their subfolders. If names in a folder end in
    seg, the other files count as images and are ignored, with a line on stderr.
    Raises DataError if one is missing, or a truth has no prediction.
    """
    for path in (prediction, truth):
        if not path.exists():
            raise DataError(f"{path}: no such file or folder, expected a label map; check the path.")
    if prediction.is_dir() != truth.is_dir():
        raise DataError(
            f"{prediction} and {truth}: got a folder and a file, expected two of the same kind; change one."
        )
    if not truth.is_dir():
        return {_parts(truth)[0]: (prediction, truth)}
    predictions, truths = _label_maps(prediction), _label_maps(truth)
    missing = sorted(truths.keys() - predictions.keys())
    if missing:
        raise DataError(
            f"{prediction}: no prediction for {len(missing)} of {len(truths)} cases ({few(missing, 5)}), expected one "
            "for each truth; add them, an empty label map where nothing was found."
        )
    spare = sorted(predictions.keys() - truths.keys())
    if spare:
        count = counted(len(spare), "prediction")
        print(f"{prediction}: ignored {count} without a truth: {few(spare, 5)}", file=sys.stderr)
    return {case: (predictions[case], truths[case]) for case in sorted(truths)}


def mean_scores(scores: Scores) -> Regions:
    """The mean of every score over all cases; nan if it is nan for any case."""
    first = next(iter(scores.values()))
    return {
        region: {key: sum(case[region][key] for case in scores.values()) / len(scores) for key in values}
        for region, values in first.items()
    }


def _chosen_metrics(text: str | None, *, lesions: bool) -> tuple[str, ...]:
    from medsam_core.cases import check_choices
    from medsam_core.metrics import METRICS

    if text is None:
        return _OFFICIAL + _LESIONS if lesions else _OFFICIAL
    chosen = tuple(dict.fromkeys(text.replace(",", " ").split()))
    check_choices("metric", chosen, tuple(METRICS))
    return chosen


def _label_maps(folder: Path) -> dict[str, Path]:
    from medsam_core.data.layouts import parse

    files = sorted(path for path in folder.rglob("*") if path.name.lower().endswith((".nii", ".nii.gz")))
    files = [path for path in files if path.is_file()]
    segmentations = [path for path in files if _parts(path)[1]]
    others = [path.name for path in files if not _parts(path)[1]]
    if segmentations and others:
        others.sort(key=lambda name: (parse(name) is not None, name))  # first those that may be label maps
        count = counted(len(segmentations), "file")
        print(f"{folder}: took the {count} named seg, ignored {few(others, 5)}", file=sys.stderr)
    found: dict[str, Path] = {}
    for path in segmentations or files:
        case, _ = _parts(path)
        if case in found:
            raise DataError(f"{folder}: {found[case]} and {path} are both {case}, expected one of each; remove one.")
        found[case] = path
    if not found:
        raise DataError(f"{folder}: holds no .nii or .nii.gz file, expected label maps; check the path.")
    return found


def _parts(path: Path) -> tuple[str, str]:
    """The case's name, and `_seg` or `-seg` if the file's name ends in it, else ""."""
    case, seg, *_ = _ENDING.split(path.name, maxsplit=1)
    return case, seg or ""


def _lines(scores: Iterable[tuple[str, Regions]]) -> Iterator[tuple[str, str, dict[str, float]]]:
    for case, regions in scores:
        for region, values in regions.items():
            yield case, region, values


def _table(scores: Iterable[tuple[str, Regions]], metrics: Sequence[str]) -> str:
    from medsam_core.metrics import METRICS

    units = [f"{name} [{METRICS[name].unit}]" if METRICS[name].unit == "mm" else name for name in metrics]
    lines = [["case", "region", *units]]
    for case, region, values in _lines(scores):
        lines.append([case, region, *(f"{value:.4f}".rstrip("0").rstrip(".") for value in values.values())])
    return "\n".join(aligned(lines, right=range(2, len(units) + 2)))


def _csv(scores: Scores) -> str:
    text = io.StringIO(newline="")
    lines = list(_lines(scores.items()))
    writer = csv.writer(text)
    writer.writerow(["case", "region", *lines[0][2]])
    writer.writerows([case, region, *values.values()] for case, region, values in lines)
    return text.getvalue()
