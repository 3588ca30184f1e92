"""The runner of faults, and the file of their table: `pytest tests/faults -m faults --faults-table=FILE`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

IMAGE_SIZE = 224
"""Side of the model's image, in pixels, for the phantoms: half the time of the embedded model's own 320."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-table", metavar="FILE", help="write the table of faults there")
    parser.addoption("--kills", type=int, default=3, metavar="N", help="how often a run is killed and resumed")


@pytest.fixture(scope="session")
def runner(medsam_configuration, tmp_path_factory):
    """Three subjects prompted by a box: the phantoms of `cohort.py`, or the first of what the options name."""
    from tests.faults.cohort import write_cohort
    from tests.faults.runner import Runner, no_overlays

    configuration = medsam_configuration
    folder = tmp_path_factory.mktemp("faults")
    settings = configuration.settings
    own = configuration.brats_root is None
    template = dataclasses.replace(
        configuration,
        settings=dataclasses.replace(settings, prompts=("box",), metrics=(*settings.metrics, "hd95")),
        brats_root=write_cohort(tmp_path_factory.mktemp("phantoms")) if own else configuration.brats_root,
        image_size=configuration.image_size or (IMAGE_SIZE if own else None),
        limit=configuration.limit or 3,
        overlays=0,
    )
    with pytest.MonkeyPatch.context() as patch:
        no_overlays(patch)
        yield Runner(template, folder)


@pytest.fixture(scope="session")
def refined_runner(runner, tmp_path_factory):
    """Two of the subjects, the whole tumour and its core, each mask corrected twice: for faults in corrections."""
    from tests.faults.runner import Runner

    settings = dataclasses.replace(runner.template.settings, regions=("WT", "TC"), refine=2)
    template = dataclasses.replace(runner.template, settings=settings, limit=2, gates=None)
    return Runner(template, tmp_path_factory.mktemp("refined"))


@pytest.fixture(scope="session")
def add_row(runner, pytestconfig):
    """`add_row(fault, judged)` adds to the table, if one was asked for: to FILE.part until every fault has its row."""
    from tests.faults.catalogue import FAULTS
    from tests.faults.judging import JUDGES, MOVED, PINNED
    from tests.faults.table import HEAD, hidden, row

    chosen = pytestconfig.getoption("--faults-table", None)
    header, rows, green = runner.healthy.run.header, [], []
    what = "subjects" if pytestconfig.getoption("--medsam-root", None) else "phantoms"
    sizes = ", ".join(" × ".join(map(str, shape)) for shape in runner.shapes)
    head = HEAD.format(
        cohort=f"{len(runner.subjects)} {what} of {sizes} voxels, prompted by a box; the model sees "
        f"{header.checkpoint.image_size} pixels",
        pinned=PINNED,
        moved=MOVED,
        checkpoint=f"checkpoint {header.checkpoint.name} (sha256 {header.checkpoint.sha256[:12]})",
        gates=runner.gates_from,
    )

    def add(fault, judged) -> None:
        reasons = [judged.reasons(judge) for judge in JUDGES]
        rows.append(row(fault.name, judged.outcome, reasons, judged.other_outcome, judged.moved))
        if judged.other_outcome == "PASS":
            green.append((fault.name, judged.moved))
        if chosen:
            part = Path(f"{chosen}.part")
            part.write_text(head + "\n".join(rows) + "\n" + hidden(green), encoding="utf-8")
            if len(rows) == len(FAULTS):  # the table of a few faults never takes the place of all
                part.replace(chosen)

    return add
