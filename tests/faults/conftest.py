"""The bench for faults, and the table of what caught which: `pytest tests/faults -m faults --faults-table=FILE`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

SIZE = (32, 160, 160)  # a few slices fewer than the default: every fault scores the cohort anew
HEAD = """\
# Faults, and what catches them

Made by `tox -e faults -- --faults-table=docs/faults.md`, not by hand. Every fault is put alone into the running
pipeline by replacing one function or by damaging the weights (`tests/faults/catalogue.py` says how), and
{cohort} are scored and judged as a session does it, with
{checkpoint}.

*Gates* is the verdict by floors alone, {gates}.
*Baseline* is the paired comparison with the healthy run, accepted before, at its default margin. *Pinned* is one more
gate against it, `case_change_maximum = {pinned:.5f}` on Dice: no case may move by a voxel, up or down, which can be
asked on the machine that made the baseline. The verdict is the worst of the three. A dash means that this one let the
fault pass. The healthy run itself is a PASS of all three.

| fault | verdict | gates | baseline | pinned |
|---|---|---|---|---|
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-table", metavar="FILE", help="write the table of faults there")
    parser.addoption("--kills", type=int, default=3, metavar="N", help="how often a run is killed and resumed")


@pytest.fixture(scope="session")
def bench(medsam_configuration, tmp_path_factory):
    """Three subjects prompted by a box: thin phantoms of the default seed, or the first of what the options name."""
    from tests.faults.bench import Bench, no_overlays

    configuration = medsam_configuration
    template = dataclasses.replace(
        configuration,
        settings=dataclasses.replace(configuration.settings, prompts=("box",)),
        phantom=dataclasses.replace(configuration.phantom, size=SIZE, subjects=3),
        limit=configuration.limit or 3,
        overlays=0,
    )
    with pytest.MonkeyPatch.context() as patch:
        no_overlays(patch)
        yield Bench(template, tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="session")
def add_row(bench, pytestconfig):
    """`add_row(line)` adds to the table, if one was asked for: to FILE.part until every fault has its row."""
    from tests.faults.bench import PINNED
    from tests.faults.catalogue import FAULTS

    chosen = pytestconfig.getoption("--faults-table", None)
    header, rows = bench.healthy.run.header, []
    what = "phantoms" if bench.template.brats_root is None else "subjects"
    head = HEAD.format(
        cohort=f"{len(bench.subjects)} {what} of {' × '.join(map(str, bench.shape))} voxels, prompted by a box,",
        pinned=PINNED,
        checkpoint=f"checkpoint {header['checkpoint']['name']} (sha256 {header['checkpoint']['sha256'][:12]})",
        gates=bench.gates_from,
    )

    def add(row: str) -> None:
        rows.append(row)
        if chosen:
            part = Path(f"{chosen}.part")
            part.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")
            if len(rows) == len(FAULTS):  # the table of a few faults never takes the place of all
                part.replace(chosen)

    return add
