"""The run's header as names and values."""

from medsam_core.page.configuration import configuration
from tests.headers import made_header


def test_what_is_long_is_folded_and_the_plan_is_a_number():
    found = configuration(made_header(["S1/t1ce/WT/box"]))
    assert list(found) == ["", "settings", "decided", "environment", "command"]
    assert ("cases", "1") in found[""]
    assert ("checkpoint name", "embedded") in found[""]
    assert ("torch", "2.13.0") in found["environment"]
    assert ("command", "pytest") in found["command"]


def test_a_long_list_is_cut_and_counted_and_nothing_is_said_of_what_is_unknown():
    found = configuration(made_header([f"S{number:02}/t1ce/WT/box" for number in range(20)]))
    (subjects,) = [value for key, value in found[""] if key == "cohort subjects"]
    assert subjects.startswith("20: S00, S01")
    assert subjects.endswith("and 8 more")
    assert "gates" not in dict(found[""])


def test_shards_have_a_line_each():
    shards = [{"number": 2, "created": "2026-01-02", "device": "cuda", "environment": {"host": "h", "gpu": "H200"}}]
    assert configuration(made_header(shards=shards))["shards"] == [("shard 2", "2026-01-02, h, cuda, H200")]
