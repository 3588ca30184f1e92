"""`medsam-core view`: a run on the loopback interface, and whatever of its cases can still be shown."""

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from medsam_core.commands.view import chosen
from medsam_core.data.cohort import find_subjects, load
from medsam_core.data.regions import region_mask
from medsam_core.data.volume import write_mask
from medsam_core.errors import OptionError
from medsam_core.evaluation.saved_mask import digest
from medsam_core.evaluation.subject import data_hash
from medsam_core.prompts.simulation import simulate
from medsam_core.viewer.names import case_script, image_script
from medsam_core.viewer.server import RunServer, page_of
from medsam_core.viewer.stored import StoredScripts
from tests.headers import made_header
from tests.viewer.test_encoding import content, decoded_mask


def prompts_of(truth):
    return tuple(one.to_json() for one in simulate(truth, "box"))


@pytest.fixture
def stored(make_run, make_record, small_cohort):
    """A run of two cases of a phantom, one with its mask saved; and the truth of both."""
    subject = find_subjects(small_cohort)[0]
    loaded = load(subject, "t1ce")
    truths = {region: region_mask(loaded.labels.voxels, region, loaded.convention) for region in ("WT", "TC")}
    marks = {"data": data_hash(loaded.image, loaded.labels)}
    records = [
        make_record(
            subject.id, region, dice=dice, prompts=tuple(one.to_json() for one in simulate(truth, "box")), **marks
        )
        for (region, truth), dice in zip(truths.items(), (0.9, 0.8), strict=True)
    ]
    records[0] = replace(records[0], mask="masks/wt.nii.gz")
    cohort = replace(made_header([]).cohort, root=str(small_cohort))
    run = make_run(records, cohort=cohort)
    write_mask(truths["WT"], loaded.image, run.directory / "masks" / "wt.nii.gz")
    return run, truths


@pytest.fixture
def served(stored):
    """`served(path, **headers)`: status, headers and content of an answer."""
    run, _ = stored
    (run.directory / "page.html").write_text("<title>page</title>")
    (run.directory / "overlays").mkdir()
    (run.directory / "overlays" / "a.png").write_bytes(b"\x89PNG")
    with RunServer(run, StoredScripts(run)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()

        def ask(path, method="GET", **headers):
            connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
            connection.request(method, path, headers={name.replace("_", "-"): one for name, one in headers.items()})
            with contextlib.closing(connection), connection.getresponse() as answer:
                return answer.status, dict(answer.getheaders()), answer.read()

        yield ask
        server.shutdown()
        thread.join()


def test_a_case_is_made_of_the_cohorts_files_and_its_saved_mask(stored):
    run, truths = stored
    scripts = StoredScripts(run)
    record = run.records[0]
    case = content(scripts.text(case_script(record.id)))
    assert (decoded_mask(case["prediction"], truths["WT"].shape) == truths["WT"]).all()
    assert (decoded_mask(case["truth"], truths["WT"].shape) == truths["WT"]).all()
    assert case["missing"] == ""
    image = content(scripts.text(image_script(record.case)))
    assert image["shape"] == list(truths["WT"].shape)
    assert f"viewer/{case['image']}" == image_script(record.case)


def test_a_missing_mask_is_named_with_the_way_to_get_it(stored):
    run, truths = stored
    case = content(StoredScripts(run).text(case_script(run.records[1].id)))
    assert case["prediction"] is None
    assert case["missing"] == "the prediction was not saved; score the case again with --medsam-save-masks"
    assert (decoded_mask(case["truth"], truths["TC"].shape) == truths["TC"]).all()


def test_a_changed_mask_is_not_shown(stored):
    run, _ = stored
    record = replace(run.records[0], mask_sha256=digest(run.directory / "masks" / "wt.nii.gz"))
    run = replace(run, records=(record,))
    assert content(StoredScripts(run).text(case_script(record.id)))["missing"] == ""
    run = replace(run, records=(replace(record, mask_sha256="0" * 64),))
    assert (
        "masks/wt.nii.gz: not the mask that was scored"
        in content(StoredScripts(run).text(case_script(record.id)))["missing"]
    )
    run = replace(run, records=(replace(record, mask="../run.json"),))
    assert "../run.json: no such file in the run" in content(StoredScripts(run).text(case_script(record.id)))["missing"]


def test_changed_data_and_a_lost_cohort_are_named(stored):
    run, _ = stored
    other = replace(run, records=(replace(run.records[0], data="0" * 16),))
    said = content(StoredScripts(other).text(case_script(run.records[0].id)))["error"]
    assert "are not those that were scored; give the folder of the run's cohort with --root" in said
    gone = replace(run, header=replace(run.header, cohort=replace(run.header.cohort, root="/nowhere")))
    said = content(StoredScripts(gone).text(case_script(run.records[0].id)))["error"]
    assert said.startswith("/nowhere: the run's cohort is not there any more")
    assert said.endswith("give the cohort's folder with --root, or score the case again with --medsam-viewer=all.")
    assert StoredScripts(run).text("viewer/other.js") is None


def test_what_the_run_keeps_is_served_as_it_is(stored):
    run, _ = stored
    path = case_script(run.records[0].id)
    (run.directory / "viewer").mkdir()
    (run.directory / path).write_text("MedsamViewer.add({});\n")
    assert StoredScripts(run).text(path) == "MedsamViewer.add({});\n"


def test_pages_programs_and_scripts_are_served(served, stored):
    run, _ = stored
    record = run.records[1]
    status, headers, body = served("/")
    assert status == 200
    assert body.index(run.records[1].id.encode()) < body.index(run.records[0].id.encode()), "the worst first"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert record.id.encode() in served(page_of(record))[2]
    assert b"MedsamViewer" in served("/viewer/viewer.js")[2]
    assert len(served("/viewer/niivue.js")[2]) > 2_000_000
    assert content(served(f"/{case_script(record.id)}")[2].decode())["id"] == record.id
    assert served("/page.html")[2] == b"<title>page</title>"
    assert served("/overlays/a.png")[2] == b"\x89PNG"
    assert served("/favicon.ico")[::2] == (200, b"")
    status, headers, body = served("/page.html", method="HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", "19")


@pytest.mark.parametrize(
    "path",
    [
        "/run.json",
        "/masks/wt.nii.gz",
        "/../run.json",
        "/overlays/../run.json",
        "/overlays/%2e%2e/%2e%2e/x.png",
        "/overlays//etc/passwd.png",
        "//etc/passwd",
        "/page.html%00",
        "/overlays/%00.png",
        "/viewer/../run.json",
        "/viewer/none.js",
        "/case/none",
    ],
)
def test_nothing_else_is_served(served, path):
    assert served(path)[0] == 404


def test_a_link_that_leads_out_of_the_run_is_not_served(served, stored, tmp_path):
    run, _ = stored
    (tmp_path / "secret.png").write_bytes(b"secret")
    (run.directory / "overlays" / "b.png").symlink_to(tmp_path / "secret.png")
    assert served("/overlays/b.png")[0] == 404


@pytest.mark.parametrize(
    "headers", [{"Host": "example.org"}, {"Host": "127.0.0.1.example.org:80"}, {"Sec_Fetch_Site": "cross-site"}]
)
def test_other_sites_are_refused(served, headers):
    assert served("/", **headers)[0] == 403


def test_other_methods_are_refused(served):
    assert served("/", method="POST")[0] == 501


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1"])
def test_both_names_of_this_machine_are_served(served, host):
    assert served("/", Host=host)[0] == 200


def test_a_case_is_found_by_a_part_of_its_id(make_record):
    records = [make_record("S1", "WT"), make_record("S1", "TC"), make_record("S11", "WT")]
    assert chosen(records, "S1/t1ce/WT/box") is records[0]
    assert chosen(records, "TC") is records[1]
    with pytest.raises(OptionError, match=r"^WT: 2 cases have it in their id .*expected one case"):
        chosen(records, "WT")
    with pytest.raises(OptionError, match=r"^ET: no case has it, expected one case"):
        chosen(records, "ET")


def test_a_port_in_use_is_named(stored):
    run, _ = stored
    with RunServer(run, StoredScripts(run)) as server:
        port = server.server_address[1]
        with pytest.raises(OptionError, match=f"^--port {port}: cannot be used .*expected a free port"):
            RunServer(run, StoredScripts(run), port)


def test_the_command_prints_its_address_and_ends_cleanly_on_an_interrupt(stored):
    run, _ = stored
    words = [sys.executable, "-m", "medsam_core", "view", str(run.directory), "TC", "--no-browser"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/case/\S+)  \(Ctrl-C ends it\)\n", line)
        assert found, line
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", found[2])
            with connection.getresponse() as answer:
                assert answer.status == 200
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, rest, errors) == (0, "\n", "")
