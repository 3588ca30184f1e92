"""Masks of noisy prompts take a bit for each voxel and come back unchanged."""

import numpy as np

from medsam_core.cases import Case
from medsam_core.evaluation.masks import Masks

EXACT = Case("S", "t1ce", "WT", "box")
NOISY = Case("S", "t1ce", "WT", "box", noise="jitter3-seed1")


def test_a_mask_is_the_union_of_what_was_added_whatever_its_width():
    rng = np.random.default_rng(0)
    for width in (1, 7, 8, 13):
        first, second = rng.random((2, 3, 5, width)) < 0.4
        masks = Masks((3, 5, width), [EXACT, NOISY])
        assert not masks[NOISY].any()
        for case in (EXACT, NOISY):
            masks.add(case, first)
            masks.add(case, second)
            assert masks[case].dtype == bool
            assert (masks[case] == (first | second)).all()
    assert list(masks) == [EXACT, NOISY]


def test_a_noisy_case_takes_an_eighth_of_the_memory():
    masks = Masks((4, 16, 16), [EXACT, NOISY])
    assert masks._masks[EXACT].nbytes == 8 * masks._masks[NOISY].nbytes == 1024
