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


def test_all_noises_of_a_subject_share_its_reading_its_encoding_and_one_batch(small_cohort):
    from medsam_core.data.cohort import find_subjects
    from medsam_core.evaluation.subject import prepare, score_segmented, segment
    from medsam_core.settings import Settings
    from tests.plugin.box_filler import BoxFiller

    class Counting(BoxFiller):
        encoded, asked = 0, ()

        def encode(self, image):
            self.encoded += 1
            return super().encode(image)

        def predict(self, image, prompts, protocol):
            self.asked = (*self.asked, len(prompts))
            return super().predict(image, prompts, protocol)

    subject, predictor = find_subjects(small_cohort)[0], Counting()
    settings = Settings(regions=("WT",), noises=("jitter3-seed1", "jitter3-seed2", "expand5-seed1"))
    prepared = prepare(subject, "t1ce", settings.cases(subject.id), predictor, settings)
    scored = list(score_segmented(segment(prepared, predictor), settings))
    assert (predictor.encoded, predictor.asked) == (1, (4 + 3,))
    for one in scored:  # the stand-in fills the box, so the mask shows which prompt it was given
        if one.record.case.prompt == "box":
            x0, y0, x1, y1 = map(int, one.prompts[0].box)
            assert one.prediction.sum() == len(one.truth) * (x1 - x0 + 1) * (y1 - y0 + 1)
