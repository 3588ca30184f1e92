"""Label conventions and regions, against values written out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medsam_core.data.regions import (
    CONVENTIONS,
    NESTED,
    TISSUE_REGIONS,
    check_labels,
    convention_named,
    region_mask,
    region_masks,
)
from medsam_core.errors import LabelError, MedsamError, OptionError


def labels(*values: int) -> np.ndarray:
    return np.array(values, np.uint8).reshape(1, 1, -1)


def text_of(call: object, *args: object, error: type[MedsamError] = LabelError, **options: object) -> str:
    with pytest.raises(error) as caught:
        call(*args, **options)  # type: ignore[operator]
    return str(caught.value)


@pytest.mark.parametrize(
    ("convention", "values", "whole", "core", "enhancing"),
    [
        ("brats2019", (0, 1, 2, 4), (0, 1, 1, 1), (0, 1, 0, 1), (0, 0, 0, 1)),
        ("brats2023", (0, 1, 2, 3), (0, 1, 1, 1), (0, 1, 0, 1), (0, 0, 0, 1)),
        ("brats2024", (0, 1, 2, 3, 4), (0, 1, 1, 1, 0), (0, 1, 0, 1, 0), (0, 0, 0, 1, 0)),
        ("brats2024-ped", (0, 1, 2, 3, 4), (0, 1, 1, 1, 1), (0, 1, 1, 1, 0), (0, 1, 0, 0, 0)),
        ("msd", (0, 1, 2, 3), (0, 1, 1, 1), (0, 0, 1, 1), (0, 0, 0, 1)),
    ],
)
def test_regions_of_each_convention(
    convention: str, values: tuple[int, ...], whole: tuple[int, ...], core: tuple[int, ...], enhancing: tuple[int, ...]
) -> None:
    masks = region_masks(labels(*values), convention)
    assert list(masks) == ["WT", "TC", "ET"]
    for region, expected in zip(NESTED, (whole, core, enhancing), strict=True):
        assert masks[region].dtype == np.bool_
        assert masks[region].shape == (1, 1, len(values))
        assert masks[region].ravel().astype(int).tolist() == list(expected)
        np.testing.assert_array_equal(region_mask(labels(*values), region, convention), masks[region])


WITHOUT = {"brats-men-rt": {"TC", "ET"}, "hd-glio": {"TC"}}
"""Regions that the labels of a convention cannot give."""


@pytest.mark.parametrize("convention", WITHOUT)
def test_a_region_that_the_labels_cannot_give_is_refused_not_empty(convention: str) -> None:
    masks = region_masks(labels(0, 1), convention)
    assert set(masks) == set(NESTED) - WITHOUT[convention]
    assert masks["WT"].ravel().tolist() == [False, True]
    for region in WITHOUT[convention]:
        text = text_of(region_mask, labels(0, 1), region, convention, error=OptionError)
        assert text.startswith(f"region {region}: not among the labels of {convention}")


def test_every_convention_is_covered_above() -> None:
    assert set(CONVENTIONS) == {"brats2019", "brats2023", "brats2024", "brats2024-ped", "msd"} | set(WITHOUT)


@pytest.mark.parametrize("convention", CONVENTIONS)
@given(data=st.data())
def test_regions_are_nested(convention: str, data: st.DataObject) -> None:
    known = sorted(CONVENTIONS[convention].known)
    drawn = data.draw(hnp.arrays(np.uint8, (2, 3, 4), elements=st.sampled_from(known)))
    masks = region_masks(drawn, convention)
    for inner, outer in itertools.pairwise([region for region in ("ET", "TC", "WT") if region in masks]):
        assert not (masks[inner] & ~masks[outer]).any()
    assert not masks["WT"][drawn == 0].any()


def test_a_map_without_tumour_has_empty_regions() -> None:
    assert not any(mask.any() for mask in region_masks(labels(0, 0, 0), "brats2019").values())


def test_an_unknown_label_names_the_convention_that_knows_it() -> None:
    assert text_of(region_masks, labels(0, 1, 2, 3), "brats2019") == (
        "the segmentation: unknown label 3, expected the values of convention brats2019 "
        "(1 necrotic and non-enhancing core, 2 oedema, 4 enhancing tumour); "
        "if its labels follow brats2023 or msd, give that with --labels (in pytest --medsam-labels)."
    )


@pytest.mark.parametrize(
    ("values", "convention", "offered"),
    [
        ((1, 2, 4), "brats2023", "brats2019"),  # not brats2024, whose 4 is a cavity: ET would vanish
        ((2, 4), "brats2023", "brats2019"),
        ((1, 2, 3), "brats2019", "brats2023 or msd"),
        ((1, 2, 3, 4), "brats2023", "brats2024"),
        ((1, 2, 3, 4), "brats2019", "brats2024"),
        ((1, 4), "msd", "brats2019"),
    ],
)
def test_only_conventions_are_offered_that_fit_and_keep_the_enhancing_tumour(
    values: tuple[int, ...], convention: str, offered: str
) -> None:
    text = text_of(check_labels, labels(0, *values), convention)
    assert text.endswith(f"; if its labels follow {offered}, give that with --labels (in pytest --medsam-labels).")


def test_labels_that_no_convention_knows() -> None:
    assert text_of(check_labels, labels(0, 7, 1, 9), "msd", name="a_seg.nii.gz") == (
        "a_seg.nii.gz: unknown labels 7, 9, expected the values of convention msd "
        "(1 oedema, 2 non-enhancing tumour, 3 enhancing tumour); repair the label map, or check that it is "
        "the segmentation."
    )


@pytest.mark.parametrize("dtype", [np.int16, np.int64])
def test_wide_integers_are_read_and_checked(dtype: type) -> None:
    assert region_mask(labels(0, 4).astype(dtype), "ET", "brats2019").ravel().tolist() == [False, True]
    assert "unknown label -1," in text_of(region_mask, np.array([-1, 4], dtype), "ET", "brats2019")


def test_float_labels_are_refused() -> None:
    assert text_of(region_masks, np.array([0.0, 1.0]), "brats2019") == (
        "the segmentation: labels of dtype float64, expected integers; read the file with read_labels."
    )


def test_an_unknown_region() -> None:
    assert text_of(region_mask, labels(0), "wt", "brats2019", error=OptionError) == (
        "region 'wt': unknown, expected one of WT, TC, ET, NETC, SNFH, RC, CC, ED, GTV; choose one of these."
    )


@pytest.mark.parametrize(
    ("convention", "values", "masks"),
    [
        ("brats2019", (0, 1, 2, 4), {"NETC": (0, 1, 0, 0), "ED": (0, 0, 1, 0)}),
        ("brats2023", (0, 1, 2, 3), {"NETC": (0, 1, 0, 0), "SNFH": (0, 0, 1, 0)}),
        ("brats2024", (0, 1, 2, 3, 4), {"NETC": (0, 1, 0, 0, 0), "SNFH": (0, 0, 1, 0, 0), "RC": (0, 0, 0, 0, 1)}),
        ("brats2024-ped", (0, 1, 2, 3, 4), {"NETC": (0, 0, 1, 0, 0), "CC": (0, 0, 0, 1, 0), "ED": (0, 0, 0, 0, 1)}),
        ("msd", (0, 1, 2, 3), {"NETC": (0, 0, 1, 0), "ED": (0, 1, 0, 0)}),
        ("brats-men-rt", (0, 1), {"GTV": (0, 1)}),
    ],
)
def test_tissues_that_are_regions(convention: str, values: tuple[int, ...], masks: dict[str, tuple[int, ...]]) -> None:
    assert TISSUE_REGIONS[convention].keys() == masks.keys()
    for region, expected in masks.items():
        assert region_mask(labels(*values), region, convention).ravel().astype(int).tolist() == list(expected)


def test_a_region_that_the_labels_do_not_have() -> None:
    assert text_of(region_mask, labels(0), "RC", "brats2019", error=OptionError) == (
        "region RC: not among the labels of brats2019 (1 necrotic and non-enhancing core, 2 oedema, 4 enhancing "
        "tumour), expected WT or TC or ET or NETC or ED; choose these with --medsam-regions."
    )
    assert list(region_masks(labels(0, 1), "brats-men-rt")) == ["WT"]


def test_an_unknown_convention() -> None:
    assert text_of(convention_named, "brats2017", error=OptionError) == (
        "label convention 'brats2017': unknown, expected one of brats2019, brats2023, brats2024, brats2024-ped, msd, "
        "brats-men-rt, hd-glio, or values from 1 to 255 with their tissues (core, oedema, enhancing, cavity, tumour) "
        "such as 1=oedema,2=core,3=enhancing; choose one of these."
    )


@pytest.mark.parametrize(
    "wrong", ["1=", "=core", "1=fat", "0=core", "256=core", "1=core,1=oedema", "x=core", "1=core,"]
)
def test_labels_that_are_written_out_wrongly(wrong: str) -> None:
    assert f"label convention {wrong!r}: unknown" in text_of(convention_named, wrong, error=OptionError)


def test_labels_may_be_written_out() -> None:
    written = convention_named("3=oedema, 2=core,1=enhancing,5=cavity")
    assert dict(written.regions) == {"WT": {1, 2, 3}, "TC": {1, 2}, "ET": {1}}
    assert written.known == {0, 1, 2, 3, 5}
    assert dict(convention_named("1=tumour").regions) == {"WT": {1}}


def test_a_convention_prints_what_its_values_mean() -> None:
    assert str(CONVENTIONS["msd"]) == "msd (1 oedema, 2 non-enhancing tumour, 3 enhancing tumour)"
    assert convention_named(CONVENTIONS["msd"]) is CONVENTIONS["msd"]
