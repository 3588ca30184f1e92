"""docs/gates.md and docs/comparing-runs.md against the code that they describe."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from medsam_core.gates.bounds import BOUNDS
from medsam_core.gates.comparison import Rule
from medsam_core.gates.gate import FILTERS, NOISES
from medsam_core.gates.gates_file import load_gates
from medsam_core.modalities import COLOURED, IMAGES

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "gates.md").read_text(encoding="utf-8")


def test_the_example_is_a_gates_file(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    (tmp_path / "gates.toml").write_text(example)
    read = load_gates(tmp_path / "gates.toml")
    assert len(read.gates) == 5
    assert read.baseline == "main"


@pytest.mark.parametrize("name", [*BOUNDS, *FILTERS, *NOISES])
def test_every_bound_and_filter_has_its_row(name):
    assert any(line.startswith("|") and f"`{name}`" in line.split("|")[1] for line in TEXT.splitlines())


def test_every_value_of_a_filter_is_named():
    for name, values in FILTERS.items():
        row = next(line for line in TEXT.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1])
        assert [value for value in values or () if value not in COLOURED and f"`{value}`" not in row] == []
        assert (values == IMAGES) == ("or three of them joined by `+`, such as `t1ce+t2+flair`" in row)


def test_the_defaults_of_a_comparison_are_those_of_the_code():
    rule, page = Rule(), (DOCS / "comparing-runs.md").read_text(encoding="utf-8")
    for text in (
        f"({rule.margin:.3f}, `--margin`)",
        f"more than {rule.case_drop_maximum:.2f} (`--case-drop-maximum`",
        f"at the {rule.alpha:.0%} level".replace("%", " %"),
        f"at the {rule.alpha_worse:.1%} level".replace("%", " %"),
        f"{rule.confidence:.0%} bootstrap interval (BCa, {rule.resamples:,} resamples".replace("%", " %"),
    ):
        assert text in page
