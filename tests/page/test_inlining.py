"""What is put into the page: libraries as published, data that cannot end its element, pictures, and the policy."""

import base64
import hashlib
import io
import json

import pytest
from PIL import Image

from medsam_core.page.inlining import ASSETS, LIBRARIES, json_script, policy, scripts, small_picture
from tests.page.conftest import picture


def test_every_library_is_the_one_that_is_recorded_with_its_licence():
    recorded = json.loads((ASSETS / "assets.json").read_text(encoding="utf-8"))
    files = {name: one["sha256"] for name, one in recorded.items()}
    files |= {one["licence_file"]: one["licence_sha256"] for one in recorded.values()}
    assert files.keys() == {path.name for path in ASSETS.iterdir()} - {"assets.json"}
    for name, digest in files.items():
        assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == digest, name
    assert {one["licence"] for one in recorded.values()} == {"MIT"}
    assert all(one["package"] and one["version"] for one in recorded.values())
    assert set(LIBRARIES) <= files.keys()


@pytest.mark.parametrize("text", ["</script><script>", "<!--<script>", "a\u2028b\u2029c", "&lt;", "plain"])
def test_data_survives_and_cannot_end_its_element(text):
    made = json_script({text: [text]})
    assert not set("<>&\u2028\u2029") & set(made)
    assert json.loads(made) == {text: [text]}


def test_a_number_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        json_script([float("nan")])


def test_the_policy_names_the_hash_of_each_script():
    digest = base64.b64encode(hashlib.sha256(b"run()").digest()).decode()
    assert f"script-src 'sha256-{digest}' " in policy(["run()"])


def test_no_script_ends_its_element():
    assert len(scripts()) == 3
    assert not [text for text in scripts() if "</script" in text.lower() or "<!--" in text]


def test_a_small_picture_keeps_the_contour_s_colour(tmp_path):
    picture(tmp_path / "one.png")
    head, _, content = small_picture(tmp_path / "one.png").partition(",")
    assert head == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as small:
        colours = small.convert("RGB").getcolors(1 << 20)
    green = sum(count for count, (red, green, blue) in colours if green > 150 and red < 120 and blue < 120)
    assert green > 300, "three pixels wide, some 240 pixels long"


def test_what_is_no_picture_gives_none(tmp_path):
    (tmp_path / "one.png").write_bytes(b"\x89PNG\r\n")
    assert small_picture(tmp_path / "one.png") is None
    assert small_picture(tmp_path / "nowhere.png") is None
