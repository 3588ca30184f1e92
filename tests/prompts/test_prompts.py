import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from medsam_core.errors import OptionError, PromptError
from medsam_core.prompts.prompt import MODES, Prompt
from medsam_core.prompts.simulation import key_slice_of, key_slices_of, simulate

truths = npst.arrays(bool, st.tuples(*[st.integers(1, 9)] * 3)).filter(lambda truth: truth.any())
modes = st.sampled_from(MODES)


def volume(*slices):
    return np.array([[[c == "#" for c in row] for row in rows] for rows in slices])


SQUARE_AND_TAIL = volume(
    ["......", "......", "......", "......"],
    [".#....", "......", "......", "......"],
    [".###..", ".###..", ".####.", "......"],
    ["......", ".##...", "......", "......"],
)


def test_key_slices_by_hand():
    assert key_slice_of(SQUARE_AND_TAIL, "largest") == 2
    assert key_slice_of(SQUARE_AND_TAIL, "middle") == 2
    assert key_slice_of(SQUARE_AND_TAIL, "first") == 1
    assert key_slice_of(SQUARE_AND_TAIL[:3], "middle") == 1
    with pytest.raises(OptionError, match="'last', expected one of largest, middle, first"):
        key_slice_of(SQUARE_AND_TAIL, "last")


def test_box_and_point_by_hand():
    (box,) = simulate(SQUARE_AND_TAIL, "box")
    assert box == Prompt("box", 2, box=(1, 0, 4, 2))
    (point,) = simulate(SQUARE_AND_TAIL, "point")
    assert point.points == ((2.0, 1.0),)
    assert point.point_labels == (1,)
    (both,) = simulate(SQUARE_AND_TAIL, "box+point")
    assert (both.box, both.points) == (box.box, point.points)


def test_the_image_border_counts_as_outside():
    (point,) = simulate(np.ones((1, 5, 5), bool), "point")
    assert point.points == ((2.0, 2.0),)


def test_equally_deep_voxels_give_the_first_in_row_order():
    (point,) = simulate(volume(["#..#", "....", "#..."]), "point")
    assert point.points == ((0.0, 0.0),)


def test_three_points_in_a_bar_are_its_middle_and_its_ends():
    bar = np.zeros((1, 5, 23), bool)
    bar[0, 1:4, 1:22] = True
    (prompt,) = simulate(bar, "points3")
    (first, second, third) = prompt.points
    # every voxel of the middle row but its ends is equally deep; edge voxels are half as deep and count
    assert first == (2.0, 2.0)
    assert second == (21.0, 1.0)
    assert third[0] in (11.0, 12.0)


def test_two_voxels_give_two_of_three_points():
    (prompt,) = simulate(volume(["#.#"]), "points3")
    assert prompt.points == ((0.0, 0.0), (2.0, 0.0))


def test_empty_truth_gives_no_prompt():
    assert simulate(np.zeros((2, 3, 4), bool), "box") == ()


def test_forward_starts_at_the_first_slice_and_slicewise_prompts_each():
    assert [p.key_slice for p in simulate(SQUARE_AND_TAIL, "box", protocol="forward")] == [1]
    assert [p.key_slice for p in simulate(SQUARE_AND_TAIL, "box", protocol="slicewise")] == [1, 2, 3]


def growing(areas, first=2):
    """A truth with so many voxels on each slice, from slice `first` on."""
    truth = np.zeros((first + len(areas) + 1, 1, max(areas)), bool)
    for index, area in enumerate(areas, first):
        truth[index, 0, :area] = True
    return truth


@pytest.mark.parametrize(
    ("count", "slices"),
    [(1, [9]), (2, [9, 4]), (3, [9, 3, 7]), (5, [9, 3, 5, 7, 11]), (10, [9, 2, 3, 4, 5, 6, 7, 8, 10, 11])],
)
def test_key_slices_are_the_middles_of_equal_parts_with_the_largest_in_place_of_the_nearest(count, slices):
    truth = growing([1, 2, 3, 4, 4, 5, 6, 9, 5, 1])  # slices 2 to 11, the largest is 9
    assert key_slices_of(truth, "largest", count) == slices
    assert key_slices_of(truth, "largest", 99) == key_slices_of(truth, "largest", 10)


def test_the_other_words_for_the_key_slice_choose_the_start_of_several():
    truth = growing([1, 2, 3, 4, 4, 5, 6, 9, 5, 1])
    assert key_slices_of(truth, "middle", 3) == [6, 3, 10]
    assert key_slices_of(truth, "first", 3) == [2, 7, 10]


@given(truths, st.integers(1, 12), st.sampled_from(["largest", "middle", "first"]))
def test_several_key_slices_are_different_slices_of_the_region(truth, count, word):
    found = key_slices_of(truth, word, count)
    occupied = np.flatnonzero(truth.any((1, 2))).tolist()
    assert len(found) == len(set(found)) == min(count, len(occupied))
    assert set(found) <= set(occupied)
    assert found[0] == key_slice_of(truth, word)
    assert found[1:] == sorted(found[1:])


@given(truths, modes)
def test_one_key_slice_gives_the_same_prompt_as_before_there_were_several(truth, mode):
    (prompt,) = simulate(truth, mode, jitter_voxels=2)
    assert prompt.object_id is None
    assert set(prompt.to_json()) == {"mode", "key_slice", "box", "points", "point_labels", "mask"}
    several = simulate(truth, mode, jitter_voxels=2, key_slices=3)
    first = several[0].to_json()
    first.pop("object_id", None)
    assert first == prompt.to_json(), "the jitter of a slice does not depend on the others"


@pytest.mark.parametrize("mode", MODES)
def test_prompts_on_several_slices_are_of_one_object(mode):
    prompts = simulate(SQUARE_AND_TAIL, mode, key_slices=2)
    assert [prompt.key_slice for prompt in prompts] == [2, 3], "1 and 3 are as near to 2: the lower one makes room"
    assert {prompt.object_id for prompt in prompts} == {0}
    assert [Prompt.from_json(prompt.to_json()) for prompt in prompts] == list(prompts)
    assert prompts[0] != simulate(SQUARE_AND_TAIL, mode)[0], "another track is another question"


def test_forward_starts_several_slices_at_the_first_one():
    found = simulate(SQUARE_AND_TAIL, "box", protocol="forward", key_slices=3)
    assert [prompt.key_slice for prompt in found] == [1, 2, 3]


def test_each_component_has_its_own_slices():
    truth = np.zeros((6, 8, 8), bool)
    truth[0:3, 0:3, 0:3] = True
    truth[5, 6:8, 6:8] = True
    found = simulate(truth, "box", per_component=True, min_component_voxels=2, key_slices=2)
    assert [(prompt.key_slice, prompt.object_id) for prompt in found] == [(0, 0), (2, 0), (5, None)]


def test_no_or_too_many_key_slices_are_refused():
    with pytest.raises(OptionError, match="key slices: got 0, expected at least 1; give another number"):
        simulate(SQUARE_AND_TAIL, "box", key_slices=0)
    message = "key slices: got 2, expected 1, because slicewise prompts every slice; give another number or protocol"
    with pytest.raises(OptionError, match=message):
        simulate(SQUARE_AND_TAIL, "box", key_slices=2, protocol="slicewise")
    assert simulate(np.zeros((2, 3, 4), bool), "box", key_slices=3) == ()


@pytest.mark.parametrize("object_id", [-1, True, 1.0, "a"])
def test_an_object_that_is_no_number_is_refused(object_id):
    with pytest.raises(PromptError, match=r"got object_id \S+, expected a whole number from 0 on, or None"):
        Prompt("box", 2, box=(1, 0, 4, 2), object_id=object_id)


def test_one_prompt_per_component_the_largest_first():
    truth = np.zeros((4, 6, 6), bool)
    truth[0, 0, 0] = True
    truth[1, 1, 1] = True  # touches by a corner across slices: the same component
    truth[3, 2:5, 2:5] = True
    prompts = simulate(truth, "box", per_component=True, min_component_voxels=2)
    assert [(p.key_slice, p.box) for p in prompts] == [(3, (2, 2, 4, 4)), (0, (0, 0, 0, 0))]
    assert simulate(truth, "box", per_component=True) == prompts[:1], "none has 50 voxels: the largest alone"


@given(truths, modes, st.floats(0, 20), st.integers(0, 5), st.booleans())
def test_prompts_lie_where_they_should(truth, mode, jitter, seed, per_component):
    prompts = simulate(truth, mode, jitter_voxels=jitter, seed=seed, per_component=per_component)
    assert prompts
    for prompt in prompts:
        region = truth[prompt.key_slice]
        height, width = region.shape
        assert all(region[int(y), int(x)] for x, y in prompt.points)
        if prompt.box is not None:
            x0, y0, x1, y1 = prompt.box
            assert 0 <= x0 <= x1 <= width - 1
            assert 0 <= y0 <= y1 <= height - 1
        if prompt.mask is not None:
            assert not (prompt.mask & ~region).any()


@given(truths)
def test_an_unjittered_box_is_the_tightest_that_contains_the_region(truth):
    (prompt,) = simulate(truth, "box")
    x0, y0, x1, y1 = map(int, prompt.box)
    region = truth[prompt.key_slice]
    assert region[y0 : y1 + 1, x0 : x1 + 1].sum() == region.sum()
    assert all(edge.any() for edge in (region[y0], region[y1], region[:, x0], region[:, x1]))


@given(truths)
def test_the_point_is_as_deep_as_any_by_brute_force(truth):
    (prompt,) = simulate(truth, "point")
    region = np.pad(truth[prompt.key_slice], 1)
    outside = np.argwhere(~region)
    inside = np.argwhere(region)
    depth = {tuple(v): ((outside - v) ** 2).sum(1).min() for v in inside}
    ((x, y),) = prompt.points
    assert depth[int(y) + 1, int(x) + 1] == max(depth.values())


@given(truths, modes, st.floats(0, 3), st.integers(0, 3))
def test_json_round_trip_is_exact(truth, mode, jitter, seed):
    for prompt in simulate(truth, mode, jitter_voxels=jitter, seed=seed):
        back = Prompt.from_json(json.loads(json.dumps(prompt.to_json())))
        assert back == prompt
        assert hash(back) == hash(prompt)
        assert (back.mask is None) == (prompt.mask is None)
        assert back.mask is None or np.array_equal(back.mask, prompt.mask)


def test_jitter_depends_on_seed_and_key_only_and_not_on_the_process():
    truth = np.zeros((3, 40, 40), bool)
    truth[1, 10:30, 10:30] = True
    wanted = simulate(truth, "box+point", jitter_voxels=4, seed=7, key="a/t1ce/WT/box")
    simulate(truth, "box", jitter_voxels=4, seed=7, key="other")
    assert simulate(truth, "box+point", jitter_voxels=4, seed=7, key="a/t1ce/WT/box") == wanted
    assert simulate(truth, "box+point", jitter_voxels=4, seed=8, key="a/t1ce/WT/box") != wanted
    assert simulate(truth, "box+point", jitter_voxels=4, seed=7, key="b/t1ce/WT/box") != wanted
    code = (
        "import numpy as np, json; from medsam_core.prompts.simulation import simulate\n"
        "t = np.zeros((3, 40, 40), bool); t[1, 10:30, 10:30] = True\n"
        "(p,) = simulate(t, 'box+point', jitter_voxels=4, seed=7, key='a/t1ce/WT/box')\n"
        "print(json.dumps(p.to_json()))\n"
        "import sys; assert 'torch' not in sys.modules\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert Prompt.from_json(json.loads(out)) == wanted[0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"mode": "circle"}, "unknown mode, expected one of box, point"),
        ({"mode": "box"}, "got nothing, expected box as its mode has; give exactly that"),
        ({"mode": "box+point", "box": (0, 0, 1, 1)}, "got box, expected box and points as its mode has"),
        ({"mode": "recist", "box": (0, 0, 1, 1)}, "got box, expected points as its mode has"),
        ({"mode": "box-to-mask", "mask": np.ones((2, 2), bool)}, "got mask, expected box as its mode has"),
        ({"mode": "point", "box": (0, 0, 1, 1)}, "got box, expected points as its mode has"),
        ({"mode": "box", "box": (3, 0, 1, 1)}, "four finite edges with x0 <= x1"),
        ({"mode": "box", "box": (float("nan"), 0, 1, 1)}, "four finite edges with x0 <= x1"),
        ({"mode": "point", "points": ((1, 1),), "point_labels": (2,)}, "expected 0 or 1 for each"),
        ({"mode": "point", "points": ((1, float("inf")),)}, "expected finite coordinates"),
        ({"mode": "mask", "mask": np.zeros((2, 2), bool)}, r"bool \(2, 2\) with 0 voxels"),
        ({"mode": "box", "box": (0, 0, 1, 1), "key_slice": -1}, "slice -1: got no usable slice"),
        ({"mode": "box", "box": (0, 0, 1, 1), "key_slice": 3.0}, "slice 3.0: got no usable slice"),
        ({"mode": "box", "box": (0, 0, 1, 1), "key_slice": True}, "slice True: got no usable slice"),
        ({"mode": "box", "box": (0, 0, 1, 1), "key_slice": np.True_}, "got no usable slice"),
        ({"mode": "box", "box": (0, 0, 1, 1), "key_slice": "3"}, "slice 3: got no usable slice"),
        ({"mode": "box", "box": (0, 0, 1)}, "four finite edges"),
    ],
)
def test_prompts_that_do_not_hold_together(wrong, said):
    with pytest.raises(PromptError, match=said):
        Prompt(**{"key_slice": 0, **wrong})


def test_unknown_words_and_shapes():
    with pytest.raises(PromptError, match=r"got shape \(2, 2\), expected \(D, H, W\)"):
        simulate(np.ones((2, 2), bool), "box")
    with pytest.raises(OptionError, match="prompt mode: got 'circle', expected one of box, point"):
        simulate(np.ones((1, 2, 2), bool), "circle")
    with pytest.raises(OptionError, match="protocol: got 'sideways', expected one of bidirectional"):
        simulate(np.ones((1, 2, 2), bool), "box", protocol="sideways")
    with pytest.raises(OptionError, match="jitter: got -1 voxels"):
        simulate(np.ones((1, 2, 2), bool), "box", jitter_voxels=-1)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.array])
def test_a_numpy_integer_is_a_slice(kind):
    prompt = Prompt("box", kind(3), box=(0, 0, 1, 1))
    assert type(prompt.key_slice) is int
    assert prompt == Prompt("box", 3, box=(0, 0, 1, 1))
    assert hash(prompt) == hash(Prompt("box", 3, box=(0, 0, 1, 1)))
