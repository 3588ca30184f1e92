"""The viewer in a browser: what is drawn and where, keys, 3-D, two cases side by side; from files, with no request."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from medsam_core.cases import Case, CaseRecord
from medsam_core.data.volume import Grid, Volume
from medsam_core.evaluation.subject import ScoredCase, score_case
from medsam_core.prompts.simulation import simulate
from medsam_core.reports.overlay import draw_overlay
from medsam_core.settings import Settings
from medsam_core.viewer.names import case_script
from medsam_core.viewer.standalone import standalone_page
from medsam_core.viewer.writing import write_cases, write_programs

SHAPE = (24, 60, 48)
PATIENCE_MS = 120_000
TRUTH, PREDICTION, PROMPT = (64, 230, 64), (255, 64, 220), (255, 225, 40)
AXIAL = (0.0, 0.6)  # the share of the picture's width that the axial plane has
HOSTILE = '<img src=x onerror="window.hacked=1">\');window.hacked=1;//'


def made(*, subject="S1", shift=3, affine=None):
    """A case with a truth that no flip or exchange of axes leaves in its place, and a prediction beside it."""
    voxels = np.zeros(SHAPE, np.float32)
    voxels[2:22, 6:54, 5:43] = 100 + 60 * np.random.default_rng(0).random((20, 48, 38))
    truth = np.zeros(SHAPE, bool)
    truth[7:17, 12:26, 28:38] = True
    prediction = np.roll(truth, shift, axis=1)
    prediction[15:] = False
    prompts = simulate(truth, "box")
    affine = np.diag([-1.0, -1.0, 2.0, 1.0]) if affine is None else affine
    image = Volume(voxels, affine, Grid(SHAPE[::-1], affine, "LPS", None))
    scores = score_case(prediction, truth, image.spacing_mm, prompts, Settings())
    record = CaseRecord(Case(subject, "t1ce", "WT", "box"), scores, (prompts[0].key_slice,))
    return ScoredCase(record, image, prediction, truth, prompts)


@pytest.fixture
def opened(browser_page, tmp_path):
    """`opened(result, …)` writes cases, opens their page from its file, and gives the page when the viewer is there."""

    def go(*results):
        for result in results:
            write_cases([result], tmp_path)
        write_programs(tmp_path)
        sources = {f"run {n}": case_script(result.record.id) for n, result in enumerate(results)}
        (tmp_path / "index.html").write_text(standalone_page("case", sources), encoding="utf-8")
        browser_page.goto((tmp_path / "index.html").as_uri())
        browser_page.wait_for_function("window.viewer", timeout=PATIENCE_MS)
        return browser_page

    return go


def picture(page, *, pane=0):
    """The pixels of a pane, (H, W, 3)."""
    taken = page.locator(".medsam-picture").nth(pane).screenshot(timeout=PATIENCE_MS)
    return np.asarray(Image.open(io.BytesIO(taken)).convert("RGB")).astype(int)


def near(pixels, colour, tolerance=50):
    return (np.abs(pixels - np.array(colour)) <= tolerance).all(axis=-1)


def share(pixels, span=AXIAL):
    width = pixels.shape[1]
    return pixels[:, round(span[0] * width) : round(span[1] * width)]


def middle_in_head(pixels, colour):
    """Where the middle of a contour's extent is in the extent of the grey head: (down, across), 0 … 1."""
    grey = (np.ptp(pixels, axis=-1) < 12) & (pixels.max(axis=-1) > 70)
    places = []
    for axis in (1, 0):
        head = np.flatnonzero(grey.sum(axis=axis) > 0.2 * grey.sum(axis=axis).max())
        line = np.flatnonzero(near(pixels, colour).any(axis=axis))
        places.append(((line[0] + line[-1]) / 2 - head[0]) / (head[-1] - head[0]))
    return np.array(places)


def slices(page):
    return page.evaluate("viewer.panes.map((pane) => pane.voxel()[0])")


def test_image_contours_and_prompt_are_drawn_where_the_overlay_has_them(opened):
    result = made()
    page = opened(result)
    page.keyboard.press("-")
    page.keyboard.press("-")  # no fill
    assert near(share(picture(page)), PROMPT).sum() > 300
    page.keyboard.press("o")  # the prompt is where the truth ends
    pixels = share(picture(page))
    assert near(pixels, TRUTH).sum() > 300
    assert near(pixels, PREDICTION).sum() > 300
    assert ((np.ptp(pixels, axis=-1) < 12) & (pixels.max(axis=-1) > 70)).sum() > 50_000, "the image is not blank"
    assert slices(page) == [result.prompts[0].key_slice]
    panel = np.asarray(draw_overlay(result).convert("RGB")).astype(int)[64:-36]
    panel = panel[:, : panel.shape[1] // 2]  # the key slice; the worst is beside it
    for colour in (TRUTH, PREDICTION):
        assert middle_in_head(pixels, colour) == pytest.approx(middle_in_head(panel, colour), abs=0.04)
    down, across = middle_in_head(pixels, TRUTH)
    assert down < 0.4, "anterior is up"
    assert across > 0.6, "the patient's left is on the right"


def test_keys_scroll_and_show_and_hide(opened):
    result = made()
    page = opened(result)
    key = result.prompts[0].key_slice
    moves = (
        ("ArrowUp", key + 1),
        ("ArrowLeft", key),
        ("PageUp", key + 10),
        ("PageDown", key),
        ("PageDown", 0),
        ("k", key),
    )
    for press, expected in moves:
        page.keyboard.press(press)
        assert slices(page) == [expected], press
    assert f"slice {key} of 0–23 · Dice of the slice" in page.inner_text(".medsam-status")
    page.keyboard.press("w")
    assert slices(page) == page.evaluate("viewer.cases.map((data) => data.worstSlice)") == [15]
    assert "Dice of the slice 0.000" in page.inner_text(".medsam-status")
    page.keyboard.press("k")
    before = picture(page)
    for press, colour, button in (("t", TRUTH, "truth"), ("p", PREDICTION, "prediction"), ("o", PROMPT, "prompt")):
        page.keyboard.press(press)
        hidden = picture(page)
        assert near(before, colour).sum() > 300
        assert near(share(hidden), colour).sum() == 0, button
        assert page.get_by_role("button", name=button, exact=True).get_attribute("aria-pressed") == "false"
    page.keyboard.press("?")
    assert page.locator(".medsam-help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator(".medsam-help").is_visible()
    page.keyboard.press("s")
    page.keyboard.press("ArrowUp")
    assert "the keys scroll the sagittal planes" in page.inner_text(".medsam-status")


def test_surfaces_are_drawn_in_3d_without_the_head(opened):
    page = opened(made())
    page.keyboard.press("3")
    pixels = picture(page)[:-150]  # without the cube in the corner
    red, green, blue = np.moveaxis(pixels, -1, 0)
    lit = (green > 60) & (green > red + 30) & (green > blue + 30)
    assert lit.sum() > 15_000
    columns = np.nonzero(lit)[1]
    assert abs(columns.mean() / pixels.shape[1] - 0.5) < 0.15, "it is in the middle"
    assert ((red > green + 20) & (blue > green + 20)).sum() > 1_000, "the prediction, too"
    page.keyboard.press("t")
    page.keyboard.press("p")
    assert picture(page)[:-150].max() == 0, "nothing but the surfaces"
    page.keyboard.press("3")
    assert ((np.ptp(share(picture(page)), axis=-1) < 12) & (share(picture(page)).max(axis=-1) > 70)).sum() > 50_000


def test_two_cases_are_side_by_side_and_move_together(opened):
    old, new = made(), made(subject="S2", shift=9)
    page = opened(old, new)
    key = old.prompts[0].key_slice
    assert slices(page) == [key, key]
    page.keyboard.press("ArrowUp")
    assert slices(page) == [key + 1, key + 1]
    box = page.locator(".medsam-picture").first.bounding_box()
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.3 * box["height"])
    first, second = page.evaluate("viewer.panes.map((pane) => pane.voxel())")
    assert first == second != [key + 1, 18, 32]
    page.mouse.wheel(0, 100)
    page.wait_for_timeout(300)
    first, second = page.evaluate("viewer.panes.map((pane) => pane.voxel())")
    assert first == second
    page.keyboard.press("k")
    # in a pane that is higher than wide the axial plane is above the others
    one, other = (near(pixels[: len(pixels) // 2], PREDICTION) for pixels in (picture(page), picture(page, pane=1)))
    assert one.sum() > 200
    assert other.sum() > 200
    assert np.flatnonzero(other.any(axis=1)).mean() > np.flatnonzero(one.any(axis=1)).mean() + 5
    assert "run 0 Dice of the slice 0.786 · run 1 Dice of the slice 0.357" in page.inner_text(".medsam-status")
    page.evaluate("viewer.panes[0].nv.setRenderAzimuthElevation(33, 44)")
    assert page.evaluate("viewer.panes[1].nv.scene.renderAzimuth") == 33


def test_a_hostile_name_is_shown_and_not_run(opened):
    page = opened(made(subject=HOSTILE))
    assert HOSTILE in page.inner_text(".medsam-name")
    assert page.evaluate("window.hacked") is None


def test_a_case_of_another_orientation_is_shown_alike(opened):
    turn = np.array([[-0.98, -0.2, 0, 30], [0.2, -0.98, 0, 12], [0, 0, 2, -7], [0, 0, 0, 1.0]])
    result = made(affine=turn)
    page = opened(result)
    down, across = middle_in_head(share(picture(page)), TRUTH)
    assert down < 0.4
    assert across > 0.6
    voxel = page.evaluate("viewer.cursor")
    expected = turn @ [voxel[2], voxel[1], voxel[0], 1]
    mm = ", ".join(f"{one:.1f}" for one in expected[:3])
    assert f"{mm} mm (RAS)" in page.inner_text(".medsam-status")


def test_it_can_be_closed_and_opened_again(opened):
    page = opened(made())
    again = """async () => {
        viewer.close();
        const main = document.getElementById("viewer");
        const left = main.children.length;
        window.viewer = await MedsamViewer.open(main, [{ name: "again", script: SCRIPT }]);
        return [left, main.children.length, viewer.panes.length];
    }""".replace("SCRIPT", f'"{case_script("S1/t1ce/WT/box")}"')
    assert page.evaluate(again) == [0, 1, 1]
    assert near(picture(page), TRUTH).sum() > 300


def test_what_cannot_be_shown_is_said_in_a_sentence(watched_page, tmp_path):
    result = made()
    write_cases([replace(result, prediction=result.truth)], tmp_path)
    write_programs(tmp_path)
    (tmp_path / "viewer" / "S1__t1ce.image.js").unlink()
    (tmp_path / "index.html").write_text(standalone_page("case", {"": case_script(result.record.id)}), encoding="utf-8")
    watched = watched_page()
    watched.page.goto((tmp_path / "index.html").as_uri())
    fault = watched.page.locator(".medsam-fault", has_text="cannot be shown")
    fault.wait_for(timeout=PATIENCE_MS)
    assert "S1__t1ce.image.js: cannot be loaded; is the file there?" in fault.inner_text()
    assert watched.faults(), "the page's own script hears of it, too"
