"""A gates file is for one cohort: another, a part of it, or one that lost labels is no PASS."""

from __future__ import annotations

import pytest

from medsam_core.gates.gates_file import load_gates
from medsam_core.gates.proposal import propose_gates
from medsam_core.gates.verdict import judge_run
from medsam_core.outcome import Outcome


@pytest.fixture
def gates(tmp_path):
    def load(cohort):
        path = tmp_path / "gates.toml"
        path.write_text(f'version = 1\n[cohort]\n{cohort}\n[[gate]]\nmetric = "dice"\ncase_minimum = 0.5\n')
        return load_gates(path)

    return load


@pytest.mark.parametrize(
    ("cohort", "reason"),
    [
        (f'fingerprint = "{"f" * 64}"\ncases = 3\nabsent_maximum = 1', None),
        ('fingerprint = "ffffffffffff"\ncases = 2\nabsent_maximum = 2', None),
        ("", None),
        (
            f'fingerprint = "{"e" * 64}"',
            "another cohort: the gates are for fingerprint eeeeeeeeeeee, this is ffffffffffff",
        ),
        ("cases = 4", "3 cases planned, the gates are for 4"),
        (
            "absent_maximum = 0",
            "the region is absent in 1 case, the gates expect at most 0: S2/t1ce/WT/box; look whether their labels "
            "were read",
        ),
    ],
)
def test_a_run_must_be_of_the_cohort_that_the_gates_name(make_record, recall, gates, cohort, reason):
    run = recall([make_record("S0"), make_record("S1", dice=0.8), make_record("S2", dice=1.0, slices=())])
    got = judge_run(run, gates(cohort))
    assert got.outcome is (Outcome.INCONCLUSIVE if reason else Outcome.PASS)
    assert got.reasons == ((reason,) if reason else ())
    assert [result.outcome for result in got.results] == [Outcome.PASS]  # what was scored is judged all the same


def test_a_broken_floor_is_fail_in_another_cohort_too(make_record, recall, gates):
    assert judge_run(recall([make_record(dice=0.1)]), gates("cases = 4")).outcome is Outcome.FAIL


def test_a_part_of_the_cohort_does_not_pass_floors_that_were_made_on_all(make_record, recall, tmp_path):
    """As with --limit=1: the mean of the easiest subject is above every floor."""
    six = [make_record(f"S{i}", dice=0.9 - i / 20) for i in range(6)]
    (tmp_path / "gates.toml").write_text(propose_gates(recall(six)))
    read = load_gates(tmp_path / "gates.toml")
    assert judge_run(recall(six), read).outcome is Outcome.PASS
    assert judge_run(recall(six[:1]), read).outcome is Outcome.INCONCLUSIVE


def test_truth_that_is_lost_does_not_lift_the_mean(make_record, recall, tmp_path):
    """The hardest subject's labels come out empty: without its case the mean is higher than before."""
    six = [make_record(f"S{i}", dice=0.9 - i / 20) for i in range(6)]
    (tmp_path / "gates.toml").write_text(propose_gates(recall(six)))
    lost = [*six[:5], make_record("S5", dice=1.0, slices=())]
    got = judge_run(recall(lost), load_gates(tmp_path / "gates.toml"))
    assert got.outcome is Outcome.INCONCLUSIVE
    assert got.reasons[0].startswith("the region is absent in 1 case, the gates expect at most 0: S5/t1ce/WT/box")
