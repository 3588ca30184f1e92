"""Programs as predictors: real ones, that read and write the challenge's files."""

import hashlib
import json
import os
import shlex
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from medsam_core.errors import CheckpointError, PredictorError
from medsam_core.inference.preprocessing import to_uint8
from medsam_core.predictors.checked import Checked
from medsam_core.predictors.choosing import PredictorRequest
from medsam_core.predictors.command import CommandPredictor, from_request, program_sha256
from medsam_core.prompts.prompt import Prompt
from tests.predictors.toys import BOX, POINT, SHAPE, volume

# fills every box on the slices z_min to z_max, and the voxel of every click; it reads nothing but the npz
FILLER = """\
import sys
import numpy as np
case = np.load(sys.argv[1], allow_pickle=True)
segs = np.zeros(case["imgs"].shape, np.uint8)
for number, box in enumerate(case["boxes"] if "boxes" in case else (), 1):
    rows = slice(box["z_mid_y_min"], box["z_mid_y_max"] + 1)
    segs[box["z_min"] : box["z_max"] + 1, rows, box["z_mid_x_min"] : box["z_mid_x_max"] + 1] = number
for number, clicks in enumerate(case["clicks"] if "clicks" in case else (), 1):
    for z, y, x in clicks["fg"]:
        segs[z, y, x] = number
np.savez_compressed(sys.argv[2], segs=segs)
"""
MASK = np.zeros(SHAPE[1:], bool)
MASK[4, 5] = True


@pytest.fixture(autouse=True)
def programs_without_warnings(monkeypatch):
    """Warnings that the tests' environment turns on would be lines of a program's stderr."""
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)


@pytest.fixture
def program(tmp_path):
    """A command line for a Python program, by its text."""

    def write(text, arguments="{input} {output}", **settings):
        path = tmp_path / "segment.py"
        path.write_text(text)
        return CommandPredictor(f"{shlex.quote(sys.executable)} {shlex.quote(str(path))} {arguments}", **settings)

    return write


def ask(predictor, prompts=(BOX,), protocol="bidirectional"):
    checked = Checked(predictor)
    return checked.predict(checked.encode(volume()), prompts, protocol=protocol)


@pytest.mark.parametrize(("protocol", "slices"), [("bidirectional", 5), ("forward", 3), ("slicewise", 1)])
def test_a_program_fills_boxes_and_clicks(protocol, slices, program):
    boxed, pointed = ask(program(FILLER), [BOX, POINT], protocol)
    assert boxed.mask.sum() == 16 * slices
    assert boxed.mask[2, 3:7, 1:5].all()
    assert np.argwhere(pointed.mask).tolist() == [[1, 8, 2]]
    assert np.isnan(boxed.predicted_iou).all()


def test_objects_that_overlap_are_kept_apart_by_one_call_each(program):
    first, second = ask(program(FILLER), [BOX, Prompt("box", 2, box=(2.0, 4.0, 6.0, 6.0))])
    assert first.mask.sum() == 80
    assert second.mask.sum() == 75


def test_one_call_for_all_prompts_of_a_mode(program):
    counting = FILLER + "open(sys.argv[3], 'a').write('x')\n"
    calls = Path(program(counting).arguments[1]).with_name("calls")
    found = ask(program(counting, f"{{input}} {{output}} {calls}", together=True), [BOX, POINT, BOX, POINT])
    assert calls.read_text() == "xx"
    # of two objects in one place the program's last one wins
    assert [one.mask.sum() for one in found] == [0, 0, 80, 1]


def test_what_the_program_gets(program):
    keep = (
        "import sys, shutil, numpy as np\nshutil.copytree(sys.argv[1], sys.argv[4])\n"
        "np.savez(sys.argv[2] + '/case.npz', segs=np.zeros((5, 12, 9), int))\nassert open(sys.argv[3]).read()\n"
    )
    kept = Path(program(keep).arguments[1]).with_name("kept")
    both = Prompt("box+point", 2, box=(1.2, 2.6, 4.4, 6.0), points=((3.0, 4.0), (2.0, 5.0)), point_labels=(1, 0))
    ask(program(keep, f"{{input_dir}} {{output_dir}} {{prompts}} {kept}"), [both], "forward")
    assert sorted(path.name for path in kept.iterdir()) == ["case.json", "case.npz"]
    with np.load(kept / "case.npz", allow_pickle=True) as case:
        assert np.array_equal(case["imgs"], to_uint8(volume().voxels))
        assert case["imgs"].dtype == np.uint8
        assert case["spacing"].tolist() == [1.0, 2.0, 3.0]
        assert str(case["protocol"]) == "forward"
        assert case["boxes"].tolist() == [
            {"z_min": 2, "z_max": 4, "z_mid": 2}
            | {"z_mid_x_min": 1, "z_mid_y_min": 3, "z_mid_x_max": 4, "z_mid_y_max": 6}
        ]
        assert case["clicks"].tolist() == [{"fg": [[2, 4, 3]], "bg": [[2, 5, 2]]}]
        assert case["clicks_order"].tolist() == [["fg", "bg"]]
    stored = json.loads((kept / "case.json").read_text())
    assert stored["shape"] == [5, 12, 9]
    assert stored["spacing"] == [1.0, 2.0, 3.0]
    assert stored["protocol"] == "forward"
    assert [Prompt.from_json(one) for one in stored["prompts"]] == [both]


def test_a_mask_prompt_is_in_the_json_alone(program):
    text = (
        "import sys, json, numpy as np\ncase = np.load(sys.argv[1])\n"
        "assert sorted(case.files) == ['imgs', 'protocol', 'spacing']\n"
        "mask = json.load(open(sys.argv[3]))['prompts'][0]['mask']\n"
        "segs = np.zeros(case['imgs'].shape, int)\nsegs[0].flat[mask['starts'][0]] = 1\n"
        "np.savez(sys.argv[2], segs=segs)\n"
    )
    (found,) = ask(program(text, "{input} {output} {prompts}"), [Prompt("mask", 0, mask=MASK)])
    assert np.argwhere(found.mask).tolist() == [[0, 4, 5]]


SAVE = "import sys, numpy as np\nnp.savez(sys.argv[2], {})\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "import sys\nprint('one\\ntwo\\nthree\\nfour', file=sys.stderr)\nsys.exit(3)",
            r"exit code 3 \(two / three / four\)",
        ),
        ("print('on stdout')\nraise SystemExit(1)", r"exit code 1 \(on stdout\), expected 0"),
        ("import os\nos.kill(os.getpid(), 9)", "got the end by signal 9, expected exit code 0"),
        ("pass", "got no output file, expected an npz with 'segs'"),
        ("import sys\nopen(sys.argv[2], 'w').write('hello')", r"got an unreadable npz \(.*\), expected an npz"),
        ("import sys\nopen(sys.argv[2], 'w')", "got an unreadable npz"),
        (
            "import sys, numpy as np\nnp.save(open(sys.argv[2], 'wb'), np.zeros(3))",
            "got a single array, expected an npz",
        ),
        (SAVE.format("masks=np.zeros(3)"), r"got an npz without 'segs' \(it has masks\)"),
        (SAVE.format("segs=np.zeros((5, 9, 12), int)"), r"segs of shape \(5, 9, 12\), expected \(5, 12, 9\)"),
        (SAVE.format("segs=np.zeros((5, 12, 9))"), "segs of float64, expected integers"),
        (SAVE.format("segs=np.full((5, 12, 9), 2)"), "segs with the value 2, expected 0 to 1"),
        (SAVE.format("segs=np.full((5, 12, 9), -1)"), "segs with the value -1"),
    ],
)
def test_a_program_that_fails_is_one_sentence(text, said, program):
    with pytest.raises(PredictorError, match=said) as caught:
        ask(program(text))
    assert str(caught.value).startswith("predictor command: got ")
    assert "\n" not in str(caught.value)


def test_a_pickle_is_never_loaded(program, tmp_path):
    ran = tmp_path / "ran"
    text = (
        "import sys, os, numpy as np\nclass Bad:\n    def __reduce__(self):\n"
        f"        return os.mkdir, ({str(ran)!r},)\nnp.savez(sys.argv[2], segs=np.array([Bad()], object))\n"
    )
    with pytest.raises(PredictorError, match=r"got an unreadable npz .*allow_pickle"):
        ask(program(text))
    assert not ran.exists()


def test_a_late_program_and_its_children_are_ended(program, tmp_path):
    started = tmp_path / "child"
    text = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(started)!r}, 'w').write(str(child.pid))\n"
        "print('loading', file=sys.stderr, flush=True)\ntime.sleep(60)\n"
    )
    before = time.monotonic()
    with pytest.raises(
        PredictorError, match=r"got no answer after 3 s \(loading\), expected one; raise --medsam-predictor"
    ):
        ask(program(text, timeout_s=3))
    assert time.monotonic() - before < 20
    assert ended(int(started.read_text()))


def ended(pid):
    """Whether a process is gone, or dead and waiting for its parent, within some seconds."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


def test_no_shell_reads_the_line(program, tmp_path):
    bad = tmp_path / "made"
    ask(program(FILLER, f"{{input}} {{output}} ; touch {bad} $(touch {bad})"))
    assert not bad.exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("python x.py {output}", r"without \{input\}, expected \{input\} or \{input_dir\} in it"),
        ("python x.py {input_dir}", r"without \{output\}, expected \{output\} or \{output_dir\}"),
        ("python 'x.py {input} {output}", r"cannot be split \(No closing quotation\)"),
        ("no-such-program-here {input} {output}", "got 'no-such-program-here', expected a program on PATH or a file"),
    ],
)
def test_a_command_line_that_cannot_work_is_refused_at_once(command, said):
    with pytest.raises(PredictorError, match=said):
        CommandPredictor(command)


def test_a_file_that_is_no_program(tmp_path):
    file = tmp_path / "segment"
    file.write_text("no program")
    with pytest.raises(PredictorError, match=r"segment: cannot be started \(.*\), expected a program"):
        ask(CommandPredictor(f"{file} {{input}} {{output}}"))


def sha(content):
    return hashlib.sha256(content).hexdigest()


def test_the_identity_is_the_content_of_the_files_in_the_line(tmp_path):
    script, weights = tmp_path / "a.py", tmp_path / "w.onnx"
    script.write_bytes(b"print()")
    weights.write_bytes(b"weights")
    assert program_sha256(["python", str(script), "{input}"]) == sha(b"print()")
    both = sha(f"{sha(b'print()')}\n{sha(b'weights')}".encode())
    assert program_sha256(["python", str(script), f"--model={weights}"]) == both
    weights.write_bytes(b"other weights")
    assert program_sha256(["python", str(script), str(weights)]) != both
    assert program_sha256(["sh", "-c", "x" * 5000]) == sha(Path(shutil.which("sh")).read_bytes())


def test_version_and_name(program):
    plain = CommandPredictor("echo {input} {output}").identity
    assert (plain.name, plain.notes) == ("command", ())
    assert plain.version == sha(b"echo {input} {output}")[:12]
    (note,) = CommandPredictor("echo {input} {output}", together=True).identity.notes
    assert "cannot overlap" in note
    named = program(FILLER, name="my-model", version="2.1").identity
    assert (named.name, named.version) == ("my-model", "2.1")


def test_a_request_with_checkpoint_and_device(small_checkpoint):
    options = {"command": "echo {checkpoint} {device} {input} {output}", "timeout": "2.5", "together": "yes"}
    made = from_request(PredictorRequest(checkpoint=str(small_checkpoint), device="cpu", options=options))
    assert made.arguments == ["echo", str(small_checkpoint), "cpu", "{input}", "{output}"]
    assert made.identity.sha256 == sha(small_checkpoint.read_bytes())
    assert (made.timeout_s, made.together) == (2.5, True)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"checkpoint": "a.pt"}, PredictorError, r"got checkpoint a\.pt, expected none"),
        ({"command": "echo {checkpoint} {input} {output}"}, PredictorError, r"got \{checkpoint\} in the command line"),
        ({"checkpoint": "a.pt", "command": "echo {checkpoint} {input} {output}"}, CheckpointError, "no such file"),
        ({"timeout": "soon"}, PredictorError, "got timeout 'soon', expected a number above 0"),
        ({"timeout": "-1"}, PredictorError, "got timeout '-1'"),
        ({"together": "maybe"}, PredictorError, "got together 'maybe', expected yes or no"),
        ({"compiled": True}, PredictorError, "got compiled True, expected none"),
    ],
)
def test_a_request_that_the_program_cannot_follow(settings, error, said):
    options = {"command": "echo {input} {output}"}
    options.update({name: settings[name] for name in ("command", "timeout", "together") if name in settings})
    fields = {name: value for name, value in settings.items() if name not in options}
    with pytest.raises(error, match=said):
        from_request(PredictorRequest(options=options, **fields))
