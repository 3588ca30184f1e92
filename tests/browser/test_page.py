"""The page of a run in a real browser: what a person clicks, types and reads, and what the page may not do."""

from __future__ import annotations

import io
import shlex
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from medsam_core.gates.verdict import CaseVerdict, Verdict
from medsam_core.outcome import Outcome
from medsam_core.page.page import write_page
from medsam_core.slices import SliceCounts, append_line
from tests.page.conftest import made, picture

__all__ = ["made"]
TABLE = "#table .tabulator-row"
FIRST = "S2/t1ce/WT/box"
EVIL = "S'\"></script><img src=x onerror=\"document.title='hacked'\">${alert(1)}"


@pytest.fixture
def opened(made, browser_page):
    """The small run's page, opened."""
    path = made.run.directory / "page.html"
    write_page(made.run, made.verdict, path, made.baseline)
    browser_page.goto(path.as_uri())
    browser_page.wait_for_selector(TABLE)
    return browser_page


@pytest.fixture
def many(make_record, made, browser_page):
    """A run of 60 cases of two regions and prompts, opened."""
    records = [
        make_record(f"P{number:02}", region, prompt, dice=0.4 + number / 100, seconds=number % 7)
        for number in range(15)
        for region in ("WT", "ET")
        for prompt in ("box", "point")
    ]
    run = replace(made.run, records=tuple(records), header=replace(made.run.header, plan=()))
    path = made.run.directory / "many.html"
    write_page(run, Verdict(Outcome.PASS), path)
    browser_page.goto(path.as_uri())
    browser_page.wait_for_selector(TABLE)
    return browser_page


def column(page, field):
    """The texts of a column, from the top."""
    return page.locator(f"{TABLE} .tabulator-cell[tabulator-field={field}]").all_inner_texts()


def test_the_table_lists_every_case_failed_ones_first(opened):
    assert column(opened, "id")[0] == FIRST
    assert len(column(opened, "id")) == 5
    assert column(opened, "outcome")[0] == "✖ FAIL"
    assert column(opened, "change")[0] == "−0.350 ▼"
    assert opened.inner_text("#count") == "5 of 5 cases"


def test_verdict_and_pictures_are_on_the_first_screen(opened):
    opened.set_viewport_size({"width": 1366, "height": 768})
    for what in (
        "#verdict-title",
        ".change .line .mean",
        ".tile:first-child img",
        "section[aria-label='Fell most'] .tile",
    ):
        box = opened.locator(what).first.bounding_box()
        assert box, what
        assert box["y"] + box["height"] <= 768, what


def test_pictures_show_the_contour(opened):
    shot = opened.locator(".tile img").first.screenshot()
    assert green_pixels(shot) > 100


def test_a_click_on_a_head_sorts_all_pages_and_another_turns_the_order(many):
    many.click(".tabulator-col[tabulator-field=dice]")
    assert column(many, "dice")[0] == "0.400"
    many.click(".tabulator-col[tabulator-field=dice]")
    assert column(many, "dice")[0] == "0.540"
    assert many.get_attribute(".tabulator-col[tabulator-field=dice]", "aria-sort") == "descending"


def test_the_keyboard_sorts_and_opens(many):
    many.focus(".tabulator-col[tabulator-field=dice]")
    many.keyboard.press("Enter")
    assert column(many, "dice")[0] == "0.400"
    many.locator(f"{TABLE} a").first.focus()
    many.keyboard.press("Enter")
    many.wait_for_selector("#panel[open]")
    many.keyboard.press("Escape")
    many.wait_for_selector("#panel:empty", state="attached")
    assert "#case" not in many.url


def test_filters_hold_together_and_reset(many):
    many.select_option("#filters [name=region]", "ET")
    assert set(column(many, "region")) == {"ET"}
    assert many.inner_text("#count") == "30 of 60 cases"
    many.select_option("#filters [name=prompt]", "point")
    many.fill("#filters [name=words]", "p03")
    assert column(many, "id") == ["P03/t1ce/ET/point"]
    many.fill("#filters [name=words]", "nothing like it")
    assert many.inner_text("#count") == "0 of 60 cases"
    many.click("#filters button[type=reset]")
    many.wait_for_selector("#count:text-is('60 of 60 cases')")


@pytest.mark.parametrize(
    ("name", "value", "ids"),
    [
        ("outcome", "FAIL", [FIRST]),
        ("cause", "leak", [FIRST]),
        ("change", "fell by over 0.05", [FIRST]),
        ("change", "rose", ["S3/t1ce/WT/box"]),
        ("change", "as before", ["S1/t1ce/WT/box"]),
        ("grade", "HGG", ["S1/t1ce/WT/box"]),
    ],
)
def test_cases_are_filtered_by_outcome_cause_change_and_grade(opened, name, value, ids):
    opened.select_option(f"#filters [name={name}]", value)
    assert column(opened, "id") == ids


def test_an_address_opens_its_case_and_what_the_panel_says(opened):
    opened.goto(f"{opened.url}#case={quote(FIRST)}")
    opened.wait_for_selector("#panel[open]")
    text = opened.inner_text("#panel")
    for said in (FIRST, "FAIL", "leak: 340 voxels", "Dice 0.400 < 0.700", "−0.350 ▼", "0.750", "phantom"):
        assert said in text
    assert opened.locator("#curve canvas").count() == 1
    assert opened.evaluate("document.querySelector('#panel img').naturalWidth") == 660
    opened.click("#close")
    assert opened.locator("#panel[open]").count() == 0


def test_an_address_at_the_start_opens_its_case_and_an_unknown_one_does_nothing(made, browser_page):
    path = made.run.directory / "page.html"
    write_page(made.run, made.verdict, path, made.baseline)
    browser_page.goto(f"{path.as_uri()}#case={quote(FIRST)}")
    browser_page.wait_for_selector("#panel[open]")
    for address in ("#case=nobody", "#case=%E0%A4%A"):
        browser_page.goto("about:blank")
        browser_page.goto(path.as_uri() + address)
        browser_page.wait_for_selector(TABLE)
        assert browser_page.locator("#panel[open]").count() == 0


def test_next_and_previous_follow_the_order_of_the_table(many):
    many.click(".tabulator-col[tabulator-field=id]")
    many.locator(f"{TABLE} a").first.click()
    many.wait_for_selector("#panel[open]")
    shown = [many.inner_text("#panel-title")]
    many.click("[aria-label='next case']")
    many.wait_for_selector(f"#panel-title:not(:text-is('{shown[0]}'))")
    shown.append(many.inner_text("#panel-title"))
    many.keyboard.press("ArrowLeft")
    many.wait_for_selector(f"#panel-title:text-is('{shown[0]}')")
    assert shown == ["P00/t1ce/ET/box", "P00/t1ce/ET/point"]
    assert many.is_disabled("[aria-label='previous case']")


def test_the_curve_is_drawn(opened):
    opened.goto(f"{opened.url}#case={quote(FIRST)}")
    shot = opened.locator("#curve canvas").screenshot()
    with Image.open(io.BytesIO(shot)) as image:
        colours = image.convert("RGB").getcolors(1 << 20)
    blue = sum(count for count, (red, green, blue) in colours if blue > 130 and red < 60 and green < 130)
    assert blue > 20


def test_a_dot_opens_its_case(opened):
    canvas = opened.locator("#dots canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    # the cases of WT/box are in the first line; the one at Dice 0.4 is near no other
    for down in range(10, 38, 3):
        opened.mouse.click(box["x"] + 92 + 0.4 * (box["width"] - 108), box["y"] + down)
        if opened.locator("#panel[open]").count():
            break
    assert opened.inner_text("#panel-title") == FIRST


def test_the_command_is_copied(opened):
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.goto(f"{opened.url}#case={quote(FIRST)}")
    opened.click("#copy")
    opened.wait_for_selector("#copy:text-is('Copied')")
    command = opened.evaluate("navigator.clipboard.readText()")
    assert command == (
        "pytest benchmarks/test_accuracy.py --medsam-subjects=S2 --medsam-modality=t1ce --medsam-regions=WT "
        "--medsam-prompts=box --medsam-protocol=bidirectional"
    )


def test_the_command_is_copied_where_the_clipboard_is_refused(opened):
    opened.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('refused')); }")
    opened.goto(f"{opened.url}#case={quote(FIRST)}")
    opened.click("#copy")
    opened.wait_for_selector("#copy:text-is('Copied')")


VIEWER = """globalThis.MedsamViewer = { open: async (into, sources) => {
  into.textContent = sources.map((one) => `${one.name}: ${one.script}`).join();
  document.title = "open";
  return { close: () => { document.title = "closed"; } };
} };"""


def test_the_viewer_is_loaded_when_it_is_opened_and_closed_with_the_panel(made, browser_page):
    viewer = made.run.directory / "viewer"
    viewer.mkdir()
    (viewer / "viewer.js").write_text(VIEWER)
    (viewer / "S2__t1ce__WT__box.js").touch()
    path = made.run.directory / "page.html"
    write_page(made.run, made.verdict, path)
    browser_page.goto(f"{path.as_uri()}#case=S3/t1ce/WT/box")
    browser_page.wait_for_selector("#panel[open]")
    assert browser_page.locator("#open-viewer").count() == 0, "this case has no file"
    browser_page.goto(f"{path.as_uri()}#case={FIRST}")
    browser_page.click("#open-viewer")
    browser_page.wait_for_selector(".viewer:text-is('prediction: viewer/S2__t1ce__WT__box.js')")
    assert browser_page.title() == "open"
    browser_page.click("#close")
    browser_page.wait_for_selector("#panel:empty", state="attached")
    assert browser_page.title() == "closed"


def test_a_viewer_that_cannot_be_loaded_says_so(made, watched_page):
    viewer = made.run.directory / "viewer"
    viewer.mkdir()
    (viewer / "S2__t1ce__WT__box.js").touch()
    path = made.run.directory / "page.html"
    write_page(made.run, made.verdict, path)
    page = watched_page().page
    page.goto(f"{path.as_uri()}#case={FIRST}")
    page.click("#open-viewer")
    page.wait_for_selector("[role=status]:has-text('The viewer cannot be opened: ')")


def test_a_hostile_name_runs_no_script_and_is_text_everywhere(made, make_record, browser_page):
    record = make_record(
        EVIL, dice=0.3, grade=EVIL, diagnosis=f"{EVIL}: {EVIL}", notes=(EVIL,), overlay="overlays/e.png"
    )
    picture(made.run.directory / "overlays" / "e.png")
    append_line(made.run.directory, SliceCounts(record.id, 0, (1,), (2,), (3,)).line())
    header = replace(made.run.header, plan=(record.id,))
    verdict = Verdict(Outcome.FAIL, reasons=(EVIL,), cases=(CaseVerdict(record.id, Outcome.FAIL, (EVIL,)),))
    path = made.run.directory / "page.html"
    write_page(replace(made.run, header=header, records=(record,)), verdict, path)
    browser_page.goto(path.as_uri())
    browser_page.locator(f"{TABLE} a").first.click()
    browser_page.wait_for_selector("#panel[open]")
    assert EVIL in browser_page.inner_text("#panel-title")
    assert EVIL in browser_page.inner_text(".verdict")
    assert browser_page.title() == "FAIL: run"
    assert browser_page.locator("img[src=x]").count() == 0
    words = shlex.split(browser_page.inner_text("#rerun"))
    assert f"--medsam-subjects={EVIL}" in words, "one word to a shell"


def test_a_script_that_got_into_the_page_would_not_run(made, watched_page):
    path = made.run.directory / "page.html"
    write_page(made.run, made.verdict, path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("<main>", "<main><script>document.title = 'hacked'</script>"), encoding="utf-8")
    watched = watched_page()
    watched.page.goto(path.as_uri())
    watched.page.wait_for_selector(TABLE)
    assert watched.page.title() == "FAIL: run"
    assert any("Content Security Policy" in one for one in watched.errors)


def test_the_page_asks_for_nothing_but_itself_until_a_case_with_a_picture_is_opened(made, watched_page):
    path = made.run.directory / "page.html"
    write_page(made.run, made.verdict, path, made.baseline)
    watched = watched_page()
    watched.page.goto(path.as_uri())
    watched.page.wait_for_selector(TABLE)
    asked = [url for url in watched.requests if not url.startswith("data:")]
    assert asked == [path.as_uri()]
    watched.page.goto(f"{path.as_uri()}#case={quote(FIRST)}")
    watched.page.wait_for_selector("#panel img")
    asked = [url for url in watched.requests if not url.startswith("data:")]
    assert [Path(url).name for url in asked] == ["page.html", "S2%20%231.png"]
    assert watched.faults() == []


def test_a_page_sent_without_its_folder_still_shows_the_worst_cases(made, tmp_path, watched_page):
    write_page(made.run, made.verdict, made.run.directory / "page.html", made.baseline)
    alone = tmp_path / "sent" / "page.html"
    alone.parent.mkdir()
    (made.run.directory / "page.html").rename(alone)
    page = watched_page().page
    page.goto(f"{alone.as_uri()}#case={quote(FIRST)}")
    page.wait_for_selector("#panel img[src^='data:']")
    assert green_pixels(page.locator("#panel img").screenshot()) > 100


def test_without_scripts_the_verdict_the_reasons_and_the_gates_are_readable(made, watched_page):
    path = made.run.directory / "page.html"
    write_page(made.run, made.verdict, path, made.baseline)
    page = watched_page(java_script_enabled=False).page
    page.goto(path.as_uri())
    text = page.inner_text("main")
    for said in ("FAIL", "worst Dice 0.400 < 0.700", "1 bound broken", "needs JavaScript", "mean Dice", "Fell most"):
        assert said in text
    assert not page.is_visible("#filters")


def test_the_head_of_the_table_stays_below_the_bar(many):
    many.set_viewport_size({"width": 1000, "height": 500})
    many.locator(TABLE).nth(20).scroll_into_view_if_needed()
    bar = many.locator(".bar").bounding_box()
    head = many.locator(".tabulator-header").bounding_box()
    assert bar["y"] == 0
    assert head["y"] == pytest.approx(bar["height"], abs=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("compared", [True, False])
def test_on_a_telephone_nothing_is_wider_than_the_screen(made, make_record, watched_page, scheme, compared):
    path = made.run.directory / "page.html"
    records = (*made.run.records, make_record("BraTS-GLI-00001-000", dice=0.5))
    write_page(replace(made.run, records=records), made.verdict, path, made.baseline if compared else None)
    page = watched_page(viewport={"width": 390, "height": 800}, color_scheme=scheme).page
    page.goto(path.as_uri())
    page.wait_for_selector(TABLE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert dark == (scheme == "dark")
    page.goto(f"{path.as_uri()}#case={quote(FIRST)}")
    page.wait_for_selector("#panel[open]")
    assert page.evaluate("document.getElementById('panel').scrollWidth") <= 390


def test_in_print_gates_are_unfolded_and_controls_are_left_out(opened):
    opened.emulate_media(media="print")
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.locator("main details:not([open])").count() == 0
    assert not opened.is_visible("#filters")
    assert opened.is_visible(".verdict")


def green_pixels(png: bytes) -> int:
    """How many pixels have the truth's green."""
    with Image.open(io.BytesIO(png)) as image:
        colours = image.convert("RGB").getcolors(1 << 20)
    return sum(count for count, (red, green, blue) in colours if green > 150 and red < 120 and blue < 120)
