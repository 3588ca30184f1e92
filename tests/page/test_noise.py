"""The curve of Dice against the noise of the prompt."""

from dataclasses import replace

from medsam_core.page.noise import noise_chart
from medsam_core.page.page import page


def test_a_run_with_noisy_prompts_has_a_curve_of_each_group(made, make_record):
    noisy = make_record("S1", dice=0.6)
    records = (make_record("S1", dice=0.8), replace(noisy, case=replace(noisy.case, noise="jitter3-seed1")))
    run = replace(made.run, records=records)
    drawn = noise_chart(run)
    assert "WT/box jitter 3: 0.600 over 1 subject" in drawn
    assert 'id="noise"' in page(run, made.verdict, links_from=run.directory)


def test_a_run_with_exact_prompts_has_none(made):
    assert noise_chart(made.run) == ""
    assert 'id="noise"' not in page(made.run, made.verdict, links_from=made.run.directory)
