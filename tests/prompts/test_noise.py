"""The noise of prompts: its distribution by hand and by sam2's own code, and what it leaves alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsam_core.errors import OptionError
from medsam_core.prompts.noise import KINDS, Noise, noises
from medsam_core.prompts.prompt import MODES
from medsam_core.prompts.simulation import simulate

SHAPE = (64, 80)
BOX = (20.0, 25.0, 49.0, 44.0)  # 29 and 19 voxels from edge to edge


def region():
    """One slice with BOX filled."""
    truth = np.zeros((1, *SHAPE), bool)
    truth[0, 25:45, 20:50] = True
    return truth


def moves(kind, amount, box=BOX, draws=3000, shape=SHAPE):
    """(draws, 4): by how much the edges moved."""
    rng = np.random.default_rng(1)
    return np.array([Noise(kind, amount, 1).box(box, shape, rng) for _ in range(draws)]) - box


def test_jitter_moves_every_edge_by_each_whole_number_up_to_its_amount_equally_often():
    moved = moves("jitter", 3)
    for edge in moved.T:
        values, counts = np.unique(edge, return_counts=True)
        assert values.tolist() == [-3, -2, -1, 0, 1, 2, 3]
        assert (abs(counts - 3000 / 7) < 90).all()  # some 4.5 standard deviations
    assert abs(np.corrcoef(moved.T) - np.eye(4)).max() < 0.08, "the edges move independently"


def test_expand_moves_every_edge_outward_by_each_whole_number_from_0():
    for edge, outward in zip(moves("expand", 5).T, (-1, -1, 1, 1), strict=True):
        values, counts = np.unique(edge * outward, return_counts=True)
        assert values.tolist() == [0, 1, 2, 3, 4, 5]
        assert (abs(counts - 500) < 90).all()


def test_side_moves_edges_by_up_to_its_share_of_the_side_and_at_most_20_voxels():
    large = (50.0, 50.0, 349.0, 150.0)  # 10 % of the width are 29.9 voxels, of the height 10
    for box, shape, most in ((BOX, SHAPE, (2.9, 1.9)), (large, (400, 400), (20, 10))):
        moved = abs(moves("side", 10, box, shape=shape)).max(axis=0)
        assert moved == pytest.approx([*most, *most], rel=0.01)


def test_side_is_drawn_as_in_the_training_of_sam2():
    torch = pytest.importorskip("torch")
    from sam2.modeling.sam2_utils import sample_box_points

    torch.manual_seed(0)
    masks = torch.from_numpy(region()[None]).expand(3000, 1, *SHAPE)
    theirs = sample_box_points(masks, noise=0.1, noise_bound=20)[0].numpy().reshape(-1, 4) - BOX
    ours = moves("side", 10)
    for share in (0, 0.1, 0.25, 0.5, 0.75, 0.9, 1):
        assert np.quantile(ours, share, axis=0) == pytest.approx(np.quantile(theirs, share, axis=0), abs=0.15)


def test_a_moved_box_stays_on_the_slice_and_is_never_turned_round():
    moved = np.array([Noise("jitter", 30, 1).box((2, 2, 4, 4), (6, 8), np.random.default_rng(n)) for n in range(200)])
    assert moved.min() >= 0
    assert (moved[:, 2] <= 7).all()
    assert (moved[:, 3] <= 5).all()
    assert (moved[:, 0] <= moved[:, 2]).all()
    assert (moved[:, 1] <= moved[:, 3]).all()


def test_under_one_seed_a_larger_amount_moves_an_edge_farther_the_same_way():
    small, large = (
        np.array([Noise(kind, amount, 1).box(BOX, SHAPE, np.random.default_rng(n)) for n in range(300)]) - BOX
        for kind, amount in (("jitter", 2), ("jitter", 10))
    )
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.9
    assert (small * large >= 0).all()


def test_a_jittered_point_stays_within_its_amount_and_inside_the_region():
    truth = region()
    (exact,) = simulate(truth, "point")
    found = [simulate(truth, "point", noise=Noise("jitter", 3, seed))[0].points[0] for seed in range(1, 200)]
    away = np.array(found) - exact.points[0]
    assert abs(away).max() == 3
    assert all(truth[0, int(y), int(x)] for x, y in found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", MODES)
def test_changes_says_which_prompts_are_moved(kind, mode):
    truth, noise = region(), Noise(kind, 20, 1)
    moved = simulate(truth, mode, noise=noise) != simulate(truth, mode)
    assert noise.changes(mode) == moved
    if mode != "mask":
        assert moved == ("box" in mode or kind == "jitter")


def test_noise_depends_on_seed_and_case_alone():
    truth = region()

    def drawn(seed, key):
        return simulate(truth, "box", noise=Noise("jitter", 10, seed), key=key)

    assert drawn(1, "a") == drawn(1, "a")
    assert drawn(1, "a") != drawn(2, "a")
    assert drawn(1, "a") != drawn(1, "b")
    assert simulate(truth, "box", noise=Noise("jitter", 10, 1), key="a", seed=7) == drawn(1, "a"), "the noise's seed"


@given(kind=st.sampled_from(KINDS), amount=st.integers(1, 999), seed=st.integers(1, 99))
def test_a_word_names_its_noise(kind, amount, seed):
    noise = Noise(kind, amount, seed)
    assert Noise.of(noise.word) == noise


def test_every_level_is_drawn_under_every_seed():
    assert noises(["jitter3", "expand5"], 2) == ("jitter3-seed1", "jitter3-seed2", "expand5-seed1", "expand5-seed2")
    assert noises([], 5) == ()


@pytest.mark.parametrize("level", ["jitter-3", "jitter0.5", "jitter0", "jitter", "shake3", "3", "jitter3-seed1"])
def test_an_unknown_level_is_refused_in_a_sentence(level):
    sentence = f"noise: got {level!r}, expected jitter, side, expand with a whole number from 1 on, such as jitter3"
    with pytest.raises(OptionError) as caught:
        noises([level], 1)
    assert str(caught.value).startswith(sentence)


def test_a_level_given_twice_is_refused():
    with pytest.raises(OptionError, match=r"^noise: got jitter3 twice, expected each once; remove it\.$"):
        noises(["jitter3", "jitter3"], 2)


def test_a_word_without_a_seed_is_refused():
    with pytest.raises(
        OptionError, match=r"^noise: got 'jitter3', expected a kind \(jitter, side, expand\), an amount"
    ):
        Noise.of("jitter3")
