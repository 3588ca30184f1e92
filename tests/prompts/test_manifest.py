"""A run's prompts written down and replayed."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from medsam_core.errors import PromptError
from medsam_core.prompts.manifest import read_manifest, write_manifest
from medsam_core.prompts.prompt import MODES, Prompt
from medsam_core.prompts.simulation import simulate

truths = npst.arrays(bool, st.tuples(*[st.integers(1, 9)] * 3)).filter(lambda truth: truth.any())
modes = st.sampled_from(MODES)


@settings(max_examples=20)
@given(cases=st.lists(st.tuples(truths, modes), min_size=1, max_size=4))
def test_a_manifest_replays_exactly(cases, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "prompts.json"
    prompts = {f"s{i}/t1ce/WT/{m}": simulate(t, m, jitter_voxels=1, key=str(i)) for i, (t, m) in enumerate(cases)}
    prompts["absent/t1ce/ET/box"] = ()
    write_manifest(path, prompts, cohort="abc")
    manifest = read_manifest(path, cohort="abc")
    assert manifest == prompts
    assert list(path.parent.iterdir()) == [path]
    first = path.read_bytes()
    write_manifest(path, manifest, cohort="abc")
    assert path.read_bytes() == first


def test_a_manifest_of_another_cohort_or_none_at_all_is_refused(tmp_path):
    path = tmp_path / "p.json"
    write_manifest(path, {}, cohort="one")
    assert read_manifest(path, cohort="one") == {}
    message = r"p\.json: got prompts for cohort one, expected another as found here; use the cohort that they were"
    with pytest.raises(PromptError, match=message):
        read_manifest(path, cohort="another")
    with pytest.raises(PromptError, match="no such file"):
        read_manifest(tmp_path / "none.json")
    for text, said in (
        ("{", "not JSON"),
        ("[]", "got a list, expected a prompt manifest"),
        ('{"schema": "x"}', "schema 'x'"),
    ):
        path.write_text(text)
        with pytest.raises(PromptError, match=said):
            read_manifest(path)
    with pytest.raises(PromptError, match=r"p\.json: cannot be written \(No such file or directory\); name a file"):
        write_manifest(tmp_path / "no" / "p.json", {})


def test_a_part_of_the_manifests_subjects_has_a_fingerprint_of_its_own(tmp_path):
    path = tmp_path / "p.json"
    prompts = {"S1/t1ce/WT/box": (), "S2/t1ce/WT/box": (), "S2/t1ce/TC/box/forward": ()}
    write_manifest(path, prompts, cohort="whole")
    assert read_manifest(path, cohort="whole", subjects=["S1", "S2"]) == prompts
    assert read_manifest(path, cohort="part", subjects=["S2"]) == prompts
    for subjects in ([], ["S1", "S2"], ["S2", "S3"], ["S3"], ["S1", "S2", "S3"]):
        with pytest.raises(PromptError, match="got prompts for cohort whole, expected another as found here"):
            read_manifest(path, cohort="another", subjects=subjects)


def test_a_manifest_that_names_no_cohort_is_of_no_known_one(tmp_path):
    write_manifest(tmp_path / "p.json", {})
    assert read_manifest(tmp_path / "p.json") == {}
    with pytest.raises(PromptError, match="got prompts for cohort unknown, expected one as found here"):
        read_manifest(tmp_path / "p.json", cohort="one")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cohort": None}, r"p\.json: cohort: got null where str belongs, expected a prompt manifest; name the"),
        ({"cohort": 5}, r"p\.json: cohort: got int where str belongs"),
        ({"prompts": {"a": 5}}, r"p\.json: prompts\.a: got int where array belongs"),
        ({"prompts": {"a": None}}, r"p\.json: prompts\.a: got null where array belongs"),
        ({"prompts": {"a": {"mode": "box"}}}, r"p\.json: prompts\.a: got object where array belongs"),
        ({"prompts": {"a": [5]}}, r"p\.json: prompts\.a\[0\]: got int where object belongs"),
        ({"prompts": {"a": [{"mode": "box"}]}}, r"p\.json: lacks the field prompts\.a\[0\]\.key_slice"),
        ({"key_slice": 3.5}, r"p\.json: prompts\.a\[0\]\.key_slice: got float where int belongs"),
        ({"key_slice": True}, r"prompts\.a\[0\]\.key_slice: got bool where int belongs"),
        ({"key_slice": None}, r"prompts\.a\[0\]\.key_slice: got null where int belongs"),
        ({"key_slice": -1}, "on slice -1: got no usable slice, expected a whole number from 0 on"),
        (
            {"box": [0, 0]},
            r"got box \(0\.0, 0\.0\), expected four finite edges with x0 <= x1 and y0 <= y1; give ",
        ),
        ({"box": [0, 0, 1, 1, 1]}, "expected four finite edges"),
        ({"box": [0, 0, 1, "1"]}, r"p\.json: prompts\.a\[0\]\.box\[3\]: got str where float belongs"),
        (
            {"mode": "mask", "box": None, "mask": {"shape": [10**6, 10**6], "starts": [0], "lengths": [1]}},
            r"p\.json: a: a prompt in JSON: mask\.shape: got 1000000 × 1000000 where sides of 1 to 16384 voxels",
        ),
        (
            {"mode": "mask", "box": None, "mask": {"shape": [4, 4], "starts": [15], "lengths": [2]}},
            r"a: a prompt in JSON: mask: got a run of 2 voxels from 15 where 16 voxels are",
        ),
    ],
)
def test_a_damaged_manifest_is_one_sentence(tmp_path, changes, message):
    prompt = Prompt("box", 3, (0.0, 0.0, 1.0, 1.0)).to_json()
    prompt |= {key: value for key, value in changes.items() if key in prompt}
    whole = {"schema": "medsam-core/prompts/1", "cohort": "one", "prompts": {"a": [prompt]}}
    whole |= {key: value for key, value in changes.items() if key in whole}
    (tmp_path / "p.json").write_text(json.dumps(whole))
    with pytest.raises(PromptError, match=message) as caught:
        read_manifest(tmp_path / "p.json", cohort="one")
    assert "\n" not in str(caught.value)


def test_a_manifest_without_the_cohorts_line_is_one_sentence(tmp_path):
    (tmp_path / "p.json").write_text('{"schema": "medsam-core/prompts/1", "prompts": {}}')
    with pytest.raises(PromptError, match=r"p\.json: lacks the field cohort"):
        read_manifest(tmp_path / "p.json")


def test_several_slices_of_one_object_are_replayed_exactly(tmp_path):
    truth = np.zeros((9, 6, 6), bool)
    truth[1:8, 1:5, 2:4] = True
    prompts = {f"S/t1ce/WT/{mode}": simulate(truth, mode, key_slices=3) for mode in MODES}
    write_manifest(tmp_path / "p.json", prompts)
    assert read_manifest(tmp_path / "p.json") == prompts
    assert (tmp_path / "p.json").read_text().count('"object_id":0') == 3 * len(MODES)


def test_a_manifest_of_prompts_on_one_slice_says_nothing_of_objects(tmp_path):
    write_manifest(tmp_path / "p.json", {"a": (Prompt("box", 3, (0.0, 0.0, 1.0, 1.0)),)}, cohort="one")
    assert (tmp_path / "p.json").read_text() == (
        '{"schema":"medsam-core/prompts/1","cohort":"one","prompts":{"a":[{"mode":"box","key_slice":3,'
        '"box":[0.0,0.0,1.0,1.0],"points":[],"point_labels":[],"mask":null}]}}\n'
    )


@pytest.mark.parametrize(
    ("second", "named"),
    [
        (Prompt("box", 3, (0.0, 0.0, 2.0, 2.0), object_id=1), "box and box"),
        (Prompt("mask", 3, mask=np.ones((2, 2), bool), object_id=1), "box and mask"),
        (Prompt("point", 3, points=((1.0, 1.0),), object_id=1), "box and point"),
    ],
)
def test_two_prompts_of_one_object_on_one_slice_are_one_sentence(tmp_path, second, named):
    first = Prompt("box", 3, (0.0, 0.0, 1.0, 1.0), object_id=1)
    write_manifest(tmp_path / "p.json", {"a": (first, Prompt("box", 4, (0.0, 0.0, 1.0, 1.0), object_id=1), second)})
    message = rf"p\.json: a: object 1: got {named} on slice 3, expected one prompt of an object on a slice; delete the"
    with pytest.raises(PromptError, match=message) as caught:
        read_manifest(tmp_path / "p.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("object_id", [-1, 1.5, "a", None])
def test_an_object_in_a_manifest_that_is_no_number_is_one_sentence(tmp_path, object_id):
    stored = {**Prompt("box", 3, (0.0, 0.0, 1.0, 1.0)).to_json(), "object_id": object_id}
    (tmp_path / "p.json").write_text(
        json.dumps({"schema": "medsam-core/prompts/1", "cohort": "", "prompts": {"a": [stored]}})
    )
    with pytest.raises(PromptError, match="object_id"):
        read_manifest(tmp_path / "p.json")
