"""`medsam-core score PREDICTION TRUTH`: the BraTS scores of label maps that any model made."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsam_core.commands.processes import check_processes, in_processes
from medsam_core.errors import DataError, OptionError
from medsam_core.files import check_writable, write_whole
from medsam_core.text import counted, few

if TYPE_CHECKING:
    from medsam_core.commands.score_pairs import Pair
    from medsam_core.commands.score_tables import Regions, Scores
    from medsam_core.metrics import Profile

_CASES_PER_PROCESS = 8
"""A process takes a second to start; fewer cases are scored sooner without."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "score",
        help="score segmentations against the truth",
        description="Score one label map against the truth, or every label map of a folder. Files of two folders are "
        "paired by name, without an ending _seg or -seg; every truth needs a prediction. Masks that pytest "
        "--medsam-save-masks wrote are paired by subject, each as the region in its name. A mean is over all cases: it "
        "is nan if one of them is, except in the profiles of BraTS 2025, which leave undefined scores out.",
    )
    parser.add_argument("prediction", type=Path, metavar="PREDICTION", help="a NIfTI label map, or a folder of them")
    parser.add_argument("truth", type=Path, metavar="TRUTH", help="a label map, or a folder of them")
    parser.add_argument("--profile", default="brats2019", help="definitions of the scores (default: %(default)s)")
    parser.add_argument("--metrics", metavar="M,…", help="default: those of the profile's official table")
    parser.add_argument("--labels", metavar="CONVENTION", help="what the labels mean (default: by the profile)")
    parser.add_argument("--binary", action="store_true", help="score everything above 0 as one region")
    region = "predictions are masks of this region, such as pytest --medsam-save-masks writes; truths are label maps"
    parser.add_argument("--region", metavar="R", help=region)
    missing = "zero: a missing prediction scores 0, and the profile's penalty in mm (default: it is an error)"
    parser.add_argument("--missing", choices=("error", "zero"), default="error", help=missing)
    parser.add_argument("--processes", type=int, metavar="N", help="default: one for each processor")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write a table with a line per case and region")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write JSON, with null for nan")


@dataclass(frozen=True)
class Scored:
    """The scores of one pair of files, and what is worth a word about them."""

    regions: Regions
    absent: tuple[str, ...] = ()
    """Regions that the truth does not have."""
    may_be_a_mask: bool = False
    """Whether the prediction was read as a label map but holds the single label 1, unlike its truth."""


def run(arguments: argparse.Namespace) -> int:
    """Score, print the table and write the files. Raises MedsamError for anything that cannot be scored."""
    from medsam_core.commands.score_pairs import pairs_of
    from medsam_core.commands.score_tables import csv_text, json_text, summary, terminal_table
    from medsam_core.metrics.profiles import find_profile

    profile = find_profile(arguments.profile)
    metrics = _chosen_metrics(arguments.metrics, profile)
    _check_options(arguments)
    labels = None if arguments.binary else arguments.labels or profile.labels or "brats2019"
    pairs = pairs_of(
        arguments.prediction, arguments.truth, region=arguments.region, may_miss=arguments.missing == "zero"
    )
    if arguments.binary and any(pair.region for pair in pairs):
        raise OptionError("--binary: got masks whose names say their regions, expected other masks; leave it out.")
    scores: Scores = {}
    absent: dict[str, int] = {}
    masks = []
    work = partial(score_pair, labels=labels, profile=profile.name, metrics=metrics)
    made = in_processes(work, pairs, arguments.processes, worth=_CASES_PER_PROCESS, unit="pair", what="score")
    for pair, found in zip(pairs, made, strict=True):
        scores.setdefault(pair.case, {}).update(found.regions)
        for region in found.regions:
            absent[region] = absent.get(region, 0) + (region in found.absent)
        if found.may_be_a_mask:
            masks.append(pair.case)
    _warn(pairs, masks)
    summaries = summary(scores, of_defined=profile.mean_of_defined)
    print(f"profile {profile.name}: {profile.description}")
    print(terminal_table(scores, metrics, summaries if len(scores) > 1 else {}))
    if any(absent.values()):
        counts = ", ".join(f"{region} in {count}" for region, count in absent.items() if count)
        print(f"absent from the truth: {counts} of {counted(len(scores), 'case')}")
    if arguments.csv is not None:
        write_whole(arguments.csv, csv_text(scores), error=OptionError, fix="choose another place for --csv")
    if arguments.json is not None:
        missing = [pair.case for pair in pairs if pair.prediction is None]
        content = {"profile": profile.name, "labels": labels, "cases": scores, **summaries}
        text = json_text(content | {"absent": absent, "missing": missing})
        write_whole(arguments.json, text, error=OptionError, fix="choose another place for --json")
    return 0


def score_pair(pair: Pair, *, labels: str | None, profile: str, metrics: Sequence[str]) -> Scored:
    """The scores of a pair of files; see `score_files`."""
    return score_files(pair.prediction, pair.truth, labels=labels, profile=profile, metrics=metrics, region=pair.region)


def score_files(
    prediction: Path | None,
    truth: Path,
    *,
    labels: str | None,
    profile: str,
    metrics: Sequence[str],
    region: str | None = None,
) -> Scored:
    """The scores of two label maps on disk.

    prediction: None if it is missing: every score of which more is better is 0, distances are the profile's penalty,
        and the others are those of an empty prediction.
    labels: the label convention of both files; None: one region "mask" of everything above 0.
    region: the prediction is a mask of this region of `labels` (above 0: inside), the truth a label map.
    Raises DataError for files that cannot be read or have different grids, LabelError for unknown labels, OptionError
    for a region that the labels do not have.
    """
    import numpy as np

    from medsam_core.data.regions import check_labels, convention_named, region_mask
    from medsam_core.data.volume import check_same_grid, read_labels
    from medsam_core.metrics import score, score_regions
    from medsam_core.metrics.catalogue import scores_of_missing
    from medsam_core.metrics.profiles import find_profile

    theirs = read_labels(truth)
    wanted, found = theirs.voxels, np.zeros_like(theirs.voxels)
    if prediction is not None:
        ours = read_labels(prediction)
        check_same_grid(theirs, ours, image_name=f"truth {truth.name}", labels_name=prediction.name)
        found = ours.voxels
    rule, single = find_profile(profile), False
    if labels is None:
        binary = {"mask": {1}}
        found, wanted = (found > 0).view(np.uint8), (wanted > 0).view(np.uint8)
        scores = score_regions(found, wanted, theirs.spacing_mm, binary, profile=rule, metrics=metrics)
    elif region is not None:
        _check_one_value(found, prediction, region)
        inside = region_mask(wanted, region, labels)
        options: Any = {"profile": rule, "metrics": metrics, "region": region}
        scores = {region: score(found > 0, inside, theirs.spacing_mm, **options)}
    else:
        convention = convention_named(labels)
        check_labels(wanted, convention, name=truth.name)
        check_labels(found, convention, name=prediction.name if prediction else "")
        regions = {name: convention.regions.get(name, frozenset()) for name in (*convention.regions, *rule.joining)}
        tabled = [name for name in rule.regions if name in convention.regions]
        if not tabled:
            raise OptionError(
                f"profile {rule.name}: got labels {convention}, expected its regions {', '.join(rule.regions)}; "
                "name the convention of the files with --labels."
            )
        options = {"profile": rule, "metrics": metrics, "scored": tabled}
        scores = score_regions(found, wanted, theirs.spacing_mm, regions, **options)
        single = found.max() == 1 and wanted.max() > 1 and not (found > 1).any()
    if prediction is None:
        shape = wanted.shape
        scores = {name: scores_of_missing(row, rule, shape, theirs.spacing_mm) for name, row in scores.items()}
    return Scored(scores, tuple(_absent(wanted, labels, scores)), bool(single))


def _absent(wanted: Any, labels: str | None, regions: Iterable[str]) -> Iterator[str]:
    import numpy as np

    from medsam_core.data.regions import convention_named

    present = set(np.flatnonzero(np.bincount(wanted.reshape(-1), minlength=2)).tolist())
    for region in regions:
        values = {1} if labels is None else convention_named(labels).regions[region]
        if not present & values:
            yield region


def _check_one_value(found: Any, prediction: Path | None, region: str) -> None:
    import numpy as np

    values = np.unique(found[found > 0])
    if len(values) > 1:
        raise DataError(
            f"{prediction}: got the labels {', '.join(map(str, values))} with --region {region}, expected a mask of "
            "one value; leave --region out to score a label map."
        )


def _warn(pairs: Sequence[Pair], masks: Sequence[str]) -> None:
    """Say on stderr what makes scores look right that are not."""
    same = [pair.case for pair in pairs if pair.prediction is not None and pair.prediction.samefile(pair.truth)]
    if same:
        print(
            f"warning: {counted(len(same), 'prediction')} ({few(same)}) and the truth are the same file: such a score "
            "says nothing about a model.",
            file=sys.stderr,
        )
    if masks:
        print(
            f"warning: {counted(len(masks), 'prediction')} ({few(masks)}) with the single label 1, read as the tissue "
            "of that label; if they are masks of one region, name it with --region.",
            file=sys.stderr,
        )


def _check_options(arguments: argparse.Namespace) -> None:
    from medsam_core.cases import check_choices
    from medsam_core.data.regions import REGIONS

    if arguments.region is not None:
        check_choices("region", (arguments.region,), REGIONS)
    if arguments.binary and (arguments.region or arguments.labels):
        other = "--region" if arguments.region else "--labels"
        raise OptionError(f"--binary and {other}: got both, expected one; leave one out.")
    check_processes(arguments.processes)
    for option, path in (("--csv", arguments.csv), ("--json", arguments.json)):
        if path is not None:
            check_writable(path, error=OptionError, fix=f"choose another place for {option}")


def _chosen_metrics(text: str | None, profile: Profile) -> tuple[str, ...]:
    from medsam_core.cases import check_choices
    from medsam_core.metrics import METRICS

    if text is None:
        return profile.metrics
    chosen = tuple(dict.fromkeys(text.replace(",", " ").split()))
    check_choices("metric", chosen, tuple(METRICS))
    return chosen
