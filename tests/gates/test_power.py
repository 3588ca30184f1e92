"""How often the comparison is wrong: verdicts on records resampled under no change, and under a known drop.

The long versions (`-m slow`) print the rates that docs/comparing-runs.md quotes.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from medsam_core.cases import Case, CaseRecord
from medsam_core.gates.baseline import Baseline
from medsam_core.gates.comparison import Rule, compare
from medsam_core.outcome import Outcome
from medsam_core.runs import Run

SIX = tuple((region, prompt) for region in ("WT", "TC", "ET") for prompt in ("box", "point"))
SUBJECTS = 80
RECORDED = Path(__file__).with_name("recorded_repeats.json")


@pytest.fixture
def verdicts(recall):
    """`verdicts(times, …)`: how often each outcome came, over pairs of runs drawn again each time.

    Dice of the reference is drawn once per subject and group; the current run has it less `drop`, plus noise of
    standard deviation `sd`, which subjects share between groups in part, as they do in truth. noise: a key of NOISE.
    """

    def make(times, *, n=SUBJECTS, drop=0.0, sd=0.02, groups=SIX, fallen=None, noise="normal", rule=None, seed=1):
        generator = np.random.default_rng(seed)
        counts: Counter[Outcome] = Counter()
        for _ in range(times):
            old, new = [], []
            shared = NOISE[noise](generator, n)
            for number, group in enumerate(groups):
                # alone, a group keeps the shape of the noise: a sum of two is less skewed
                own = (shared + NOISE[noise](generator, n)) / np.sqrt(2) if len(groups) > 1 else shared
                fell = drop if fallen is None or number < fallen else 0.0
                before = generator.uniform(0.4, 0.9, n)
                old += records(group, before)
                new += records(group, before - fell + own * sd)
            counts[compare(Baseline.of(recall(old)), recall(new), rule).outcome] += 1
        return {outcome: counts[outcome] / times for outcome in Outcome}

    return make


def exponential(generator, n):
    """Downwards; a subject falls below the mean by more than nothing with the chance 1/e."""
    return 1 - generator.exponential(size=n)


def lognormal(generator, n):
    """Downwards, of a normal logarithm with standard deviation 1."""
    mean = np.exp(0.5)
    return (mean - generator.lognormal(size=n)) / (mean * np.sqrt(np.e - 1))


def collapses(generator, n):
    """One subject in 15 falls by 0.15 if the standard deviation is COLLAPSES_SD; the others hardly move."""
    moves = -0.15 * (generator.random(n) < 1 / 15) + 0.01
    return (moves + generator.normal(0, 0.002, n)) / COLLAPSES_SD


COLLAPSES_SD = 0.15 * np.sqrt(14) / 15
NOISE = {
    "normal": lambda generator, n: generator.normal(size=n),
    "heavy tails": lambda generator, n: generator.standard_t(3, n) / np.sqrt(3),
    "exponential": exponential,
    "lognormal": lognormal,
    "collapses": collapses,
    "gains": lambda generator, n: -exponential(generator, n),
}
"""n numbers of mean 0 and standard deviation about 1."""


def records(group, scores):
    return [
        CaseRecord(Case(f"S{i:03d}", "t1ce", *group), {"brats2019/dice@volume": float(score)}, (95,))
        for i, score in enumerate(scores)
    ]


def test_the_same_model_fails_at_most_once_in_a_hundred(verdicts):
    """A/A, 100 verdicts, with a per-subject noise as large as that of a real change of the model."""
    rates = verdicts(100, groups=SIX[::2], rule=Rule(resamples=199))
    assert rates[Outcome.FAIL] <= 0.01, rates


def test_repeats_on_one_machine_pass(verdicts):
    """A/A, with the noise of a repeat: sums in another order, a voxel here and there."""
    assert verdicts(10, sd=0.001, rule=Rule(resamples=199)) == {
        Outcome.PASS: 1.0,
        Outcome.FAIL: 0.0,
        Outcome.INCONCLUSIVE: 0.0,
    }


def test_a_drop_of_a_hundredth_is_found(verdicts):
    """A mean drop of 0.01 in Dice over 80 subjects, standard deviation of the per-subject difference 0.02."""
    rates = verdicts(100, drop=0.01, groups=SIX[:1], rule=Rule(resamples=499))
    assert 1 - rates[Outcome.PASS] >= 0.9, rates
    rates = verdicts(15, drop=0.01, rule=Rule(resamples=199))
    assert 1 - rates[Outcome.PASS] >= 0.9, rates


@pytest.mark.parametrize(
    "noise", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("exponential", "lognormal")), "collapses"]
)
def test_a_tail_downwards_does_not_hide_a_drop_of_the_margin(verdicts, noise):
    """A t test says PASS here in 8 to 13 of 100."""
    sd = COLLAPSES_SD if noise == "collapses" else 0.02
    rates = verdicts(300, n=60, drop=0.01, sd=sd, groups=SIX[:1], noise=noise, rule=Rule(resamples=199))
    assert rates[Outcome.PASS] <= 0.1, rates


def test_recorded_repeats_fail_at_most_once_in_a_hundred(recall):
    """A/A, 100 verdicts on what one checkpoint scored twice (record_repeats.py), without inference.

    Each verdict draws 80 of the recorded subjects again and, for each, which of its two scorings came first: then there
    is no change, and the differences are as large as true ones.
    """
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))["dice"]
    subjects: dict[str, dict[tuple[str, str], list[float]]] = {}
    for case, scores in recorded.items():
        subject, _, region, prompt = case.split("/")
        subjects.setdefault(subject, {})[region, prompt] = scores
    moves = np.array([a - b for a, b in recorded.values()])
    moved = np.abs(moves)
    # with -s: what docs/comparing-runs.md quotes
    print(
        f"{len(subjects)} subjects, {len(moves)} cases: {(moved > 0).mean():.0%} differ, sd {moves.std():.4f}", end=""
    )
    print(f", at most {moved.max():.3f}")
    assert len(subjects) >= 24
    assert (moved > 0).mean() > 0.5, "nothing is learnt from repeats that are the same to the digit"

    generator = np.random.default_rng(7)
    counts: Counter[Outcome] = Counter()
    for _ in range(100):
        old, new = [], []
        for place, subject in enumerate(generator.choice(sorted(subjects), SUBJECTS)):
            order = generator.permutation(2)
            for group, scores in subjects[subject].items():
                case = Case(f"S{place:03d}", "t1ce", *group)
                for side, score in zip((old, new), (scores[order[0]], scores[order[1]]), strict=True):
                    side.append(CaseRecord(case, {"brats2019/dice@volume": score}, (95,)))
        counts[compare(Baseline.of(recall(old)), recall(new), Rule(resamples=199)).outcome] += 1
    print({outcome.value: counts[outcome] for outcome in Outcome})
    assert counts[Outcome.FAIL] <= 1, counts


ONE = {"groups": SIX[:1]}
DROP = {**ONE, "drop": 0.01}
NONE_FELL = {"exponential": 1 - 1 / np.e, "lognormal": 0.6915, "collapses": 14 / 15}
"""The chance that a subject does not fall by more than the margin where the mean falls by the margin."""


def skewed():
    """Rows for a drop of exactly the margin; too few subjects PASS as often as none of them falls by more."""
    for noise, chance in NONE_FELL.items():
        sd = COLLAPSES_SD if noise == "collapses" else 0.02
        for n in (5, 10, 20, 40, 59, 100, 369):
            most = min(1, chance**n + 0.05) if n < 59 else 0.1
            yield f"drop 0.01, {noise}, {n} subjects", {**DROP, "noise": noise, "n": n, "sd": sd}, Outcome.PASS, most, 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "outcome", "most", "least"),
    [
        ("A/A, 1 group", ONE, Outcome.FAIL, 0.02, 0.0),
        ("A/A, 6 groups", {}, Outcome.FAIL, 0.02, 0.0),
        (
            "A/A, 6 groups, heavy tails, 320 subjects, no limit per case",
            {"noise": "heavy tails", "n": 320, "limit": None},
            Outcome.FAIL,
            0.02,
            0.0,
        ),
        ("A/A, 1 group, exponential downwards", {**ONE, "noise": "exponential"}, Outcome.FAIL, 0.02, 0.0),
        ("A/A, 1 group, exponential upwards", {**ONE, "noise": "gains"}, Outcome.FAIL, 0.02, 0.0),
        ("A/A, 6 groups, sd 0.005", {"sd": 0.005}, Outcome.PASS, 1.0, 0.99),
        ("A/A, 1 group, sd 0.005, 40 subjects", {**ONE, "n": 40, "sd": 0.005}, Outcome.FAIL, 0.02, 0.0),
        ("drop 0.01, 1 group", DROP, Outcome.PASS, 0.1, 0.0),
        ("drop 0.01, 1 of 6 groups", {"drop": 0.01, "fallen": 1}, Outcome.PASS, 0.1, 0.0),
        ("drop 0.01, 6 groups", {"drop": 0.01}, Outcome.PASS, 0.1, 0.0),
        ("drop 0.01, 6 groups, heavy tails", {"drop": 0.01, "noise": "heavy tails"}, Outcome.PASS, 0.1, 0.0),
        ("drop 0.01, 1 group, exponential upwards", {**DROP, "noise": "gains"}, Outcome.PASS, 0.1, 0.0),
        ("drop 0.015, 1 group", {**ONE, "drop": 0.015}, Outcome.FAIL, 1.0, 0.9),
        *skewed(),
    ],
)
def test_rates(verdicts, capsys, name, options, outcome, most, least):
    rule = Rule(resamples=999, case_drop_maximum=options.get("limit", 0.20))
    options = {key: value for key, value in options.items() if key != "limit"}
    times = 1000 if len(options.get("groups", SIX)) == 1 else 400 if options.get("n", 0) < 100 else 100
    rates = verdicts(times, rule=rule, **options)
    with capsys.disabled():
        print(f"\n| {name} | {times:,} | " + " | ".join(f"{100 * rates[one]:.1f} %" for one in Outcome) + " |")
    assert least <= rates[outcome] <= most, rates


def test_a_run_built_by_hand_is_a_run(recall):
    """The simulation stands on runs that never were on a disk; they are the same to `compare`."""
    assert isinstance(recall(records(SIX[0], [0.5])), Run)
