"""The runner of faults, and the file of their table: `pytest tests/faults -m faults --faults-table=FILE`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

SIZE = (32, 160, 160)  # a few slices fewer than the default: every fault scores the cohort again


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-table", metavar="FILE", help="write the table of faults there")
    parser.addoption("--kills", type=int, default=3, metavar="N", help="how often a run is killed and resumed")


@pytest.fixture(scope="session")
def runner(medsam_configuration, tmp_path_factory):
    """Three subjects prompted by a box: thin phantoms of the default seed, or the first of what the options name."""
    from tests.faults.runner import Runner, no_overlays

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
        yield Runner(template, tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="session")
def add_row(runner, pytestconfig):
    """`add_row(line)` adds to the table, if one was asked for: to FILE.part until every fault has its row."""
    from tests.faults.catalogue import FAULTS
    from tests.faults.runner import PINNED
    from tests.faults.table import HEAD

    chosen = pytestconfig.getoption("--faults-table", None)
    header, rows = runner.healthy.run.header, []
    what = "phantoms" if runner.template.brats_root is None else "subjects"
    head = HEAD.format(
        cohort=f"{len(runner.subjects)} {what} of {' × '.join(map(str, runner.shape))} voxels, prompted by a box",
        pinned=PINNED,
        checkpoint=f"checkpoint {header.checkpoint.name} (sha256 {header.checkpoint.sha256[:12]})",
        gates=runner.gates_from,
    )

    def add(row: str) -> None:
        rows.append(row)
        if chosen:
            part = Path(f"{chosen}.part")
            part.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")
            if len(rows) == len(FAULTS):  # the table of a few faults never takes the place of all
                part.replace(chosen)

    return add
