"""The committed default: gates, baseline and embedded checkpoint are of one piece."""

from __future__ import annotations

import json
from pathlib import Path

from medsam_core.gates.baseline_file import find_baseline, read_baseline
from medsam_core.gates.gates_file import load_gates
from medsam_core.inference.checkpoints import embedded_path, sha256_of
from medsam_core.plugin.options import OPTIONS

GATES = load_gates(Path(__file__).parents[2] / "benchmarks" / "gates" / "phantom.toml")
KINDS = ("cpu, fp32", "cpu, bf16")
DEFAULTS = {option.name: option.default for option in OPTIONS}


def test_the_baseline_that_the_default_gates_name_is_of_the_embedded_checkpoint():
    """Red after a new checkpoint until both are renewed: docs/gates.md, "The default gate"."""
    path = find_baseline(GATES.baseline)
    assert path is not None
    assert read_baseline(path).identity.sha256 == sha256_of(embedded_path())


def test_the_baseline_holds_the_cases_of_the_default_options():
    cases = read_baseline(find_baseline(GATES.baseline)).cases
    subjects = {case.split("/")[0] for case in cases}
    regions, prompts = DEFAULTS["regions"].split(","), DEFAULTS["prompts"].split(",")
    assert len(subjects) == int(DEFAULTS["phantom-subjects"])
    assert set(cases) == {f"{s}/{DEFAULTS['modality']}/{r}/{p}" for s in subjects for r in regions for p in prompts}


def test_one_gate_pins_the_same_weights_one_holds_each_group_of_its_kind_and_one_holds_any_run():
    relative = [gate for gate in GATES.gates if any(bound.relative for bound in gate.bounds)]
    assert [(gate.same, gate.pooled) for gate in relative] == [
        (("checkpoint", "device", "precision"), False),
        (("device", "precision"), False),
        ((), True),
    ]
    assert [(bound.name, bound.limit) for bound in relative[1].bounds] == [
        ("mean_rise_maximum", 0.01),
        ("not_inferior", 0.01),
    ]


def test_no_case_of_the_default_gate_depends_on_rounding():
    """Where a Dice moves between fp32 and bf16, choose another subject in medsam_core/phantoms/forms.py."""
    sets = json.loads(find_baseline(GATES.baseline).read_text())["sets"]
    exact, rounded = ({case: one["scores"] for case, one in sets[kind]["cases"].items()} for kind in KINDS)
    assert exact.keys() == rounded.keys()
    (dice,) = {key for scores in exact.values() for key in scores if key.endswith("dice@volume")}
    moved = [abs(one[dice] - rounded[case][dice]) for case, one in exact.items() if one[dice] is not None]
    assert len(moved) >= 34
    assert max(moved) <= 0.02
