"""The bench for faults, and the table of what caught which: `pytest tests/faults -m faults --faults-table=FILE`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

HEAD = """\
# Faults, and what catches them

Made by `tox -e faults -- --faults-table=docs/faults.md`, not by hand. Every fault is put alone into the running
pipeline by replacing one function or by damaging the weights (`tests/faults/catalogue.py` says how), and {cohort} is
scored and judged as a session does it, with {checkpoint}. *Gates* is the verdict by the gates file alone
({gates}, those of its gates that are about this run); *baseline* is the paired comparison with the healthy run,
accepted before, at its default margin; *pinned* is one more gate against it, `case_change_maximum = 0.01` on Dice: with
the same weights and prompts no case may move, up or down. The verdict is the worst of the three. A dash means that this
one let the fault pass. The healthy run itself is a PASS of all three.

| fault | verdict | gates | baseline | pinned |
|---|---|---|---|---|
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-table", metavar="FILE", help="write the table of faults there")
    parser.addoption("--kills", type=int, default=3, metavar="N", help="how often a run is killed and resumed")


@pytest.fixture(scope="session")
def bench(medsam_configuration, tmp_path_factory):
    """Three subjects of the default cohort, prompted by a box, under the default gates that are about them."""
    from tests.faults.bench import Bench, no_overlays

    folder = tmp_path_factory.mktemp("faults")
    settings = dataclasses.replace(medsam_configuration.settings, prompts=("box",))
    template = dataclasses.replace(
        medsam_configuration, settings=settings, limit=medsam_configuration.limit or 3, overlays=0
    )
    gates = template.gates_path
    assert gates is not None
    template = dataclasses.replace(template, gates=_applying(gates, settings, folder / gates.name))
    with pytest.MonkeyPatch.context() as patch:
        no_overlays(patch)
        yield Bench(template, folder)


@pytest.fixture(scope="session")
def add_row(bench, pytestconfig):
    """`add_row(line)` adds to the table, if one was asked for; written at every row, so that a torn run leaves some."""
    chosen = pytestconfig.getoption("--faults-table", None)
    header, rows = bench.healthy.run.header, []
    head = HEAD.format(
        cohort=f"{len(bench.subjects)} phantoms of {' × '.join(map(str, bench.shape))} voxels, prompted by a box,",
        checkpoint=f"checkpoint {header['checkpoint']['name']} (sha256 {header['checkpoint']['sha256'][:12]})",
        gates=header["gates"]["file"],
    )

    def add(row: str) -> None:
        rows.append(row)
        if chosen:
            Path(chosen).write_text(head + "\n".join(rows) + "\n", encoding="utf-8")

    return add


def _applying(gates: Path, settings, path: Path) -> Path:
    """The gates file without the gates that are about no case of these settings: those would evaluate nothing."""
    from medsam_core.gates.thresholds import load_gates

    head, *blocks = gates.read_text(encoding="utf-8").split("[[gate]]")
    kept = [
        block
        for block, gate in zip(blocks, load_gates(gates).gates, strict=True)
        if all(
            set(gate.filters.get(name, chosen)) & set(chosen)
            for name, chosen in (
                ("prompt", settings.prompts),
                ("region", settings.regions),
                ("modality", settings.modalities),
                ("protocol", settings.protocols),
            )
        )
    ]
    path.write_text("[[gate]]".join([head, *kept]), encoding="utf-8")
    return path
