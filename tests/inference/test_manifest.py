"""A run's prompts written down and replayed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from medsam_core.errors import PromptError
from medsam_core.inference.manifest import read_manifest, write_manifest
from medsam_core.inference.prompts import MODES, simulate

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
    assert dict(manifest) == prompts
    assert list(path.parent.iterdir()) == [path]
    first = path.read_bytes()
    write_manifest(path, manifest, cohort="abc")
    assert path.read_bytes() == first


def test_a_missing_case_says_so(tmp_path):
    write_manifest(tmp_path / "p.json", {"a": ()})
    with pytest.raises(PromptError, match=r"p\.json: got no prompts for b, expected every case of this run; record"):
        read_manifest(tmp_path / "p.json")["b"]


def test_a_manifest_of_another_cohort_or_none_at_all_is_refused(tmp_path):
    path = tmp_path / "p.json"
    write_manifest(path, {}, cohort="one")
    assert read_manifest(path, cohort="one").cohort == "one"
    message = (
        r"p\.json: got prompts for cohort one, expected another as found here; use the cohort they were recorded on"
    )
    with pytest.raises(PromptError, match=message):
        read_manifest(path, cohort="another")
    with pytest.raises(PromptError, match="No such file"):
        read_manifest(tmp_path / "none.json")
    for text, said in (("{", "not JSON"), ("[]", "schema 'list'"), ('{"schema": "x"}', "schema 'x'")):
        path.write_text(text)
        with pytest.raises(PromptError, match=said):
            read_manifest(path)
    path.write_text('{"schema": "medsam-core/prompts/1", "cohort": "", "prompts": {"a": [{"mode": "box"}]}}')
    with pytest.raises(PromptError, match="a prompt in JSON"):
        read_manifest(path)
    with pytest.raises(PromptError, match="expected to write the prompt manifest"):
        write_manifest(tmp_path / "no" / "p.json", {})


def test_a_part_of_the_manifests_subjects_has_a_fingerprint_of_its_own(tmp_path):
    path = tmp_path / "p.json"
    write_manifest(path, {"S1/t1ce/WT/box": (), "S2/t1ce/WT/box": (), "S2/t1ce/TC/box/forward": ()}, cohort="whole")
    assert read_manifest(path, cohort="whole", subjects=["S1", "S2"]).cohort == "whole"
    assert read_manifest(path, cohort="part", subjects=["S2"]).cohort == "whole"
    for subjects in ([], ["S1", "S2"], ["S2", "S3"], ["S3"], ["S1", "S2", "S3"]):
        with pytest.raises(PromptError, match="got prompts for cohort whole, expected another as found here"):
            read_manifest(path, cohort="another", subjects=subjects)


def test_a_manifest_that_names_no_cohort_is_of_no_known_one(tmp_path):
    write_manifest(tmp_path / "p.json", {})
    assert read_manifest(tmp_path / "p.json").cohort == ""
    with pytest.raises(PromptError, match="got prompts for cohort unknown, expected one as found here"):
        read_manifest(tmp_path / "p.json", cohort="one")
