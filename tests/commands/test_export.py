"""`medsam-core export`: a run as files for other programs, and in MLflow."""

from __future__ import annotations

import csv
import html
import io
import math
import sys
from xml.etree import ElementTree

import pytest

from medsam_core.errors import OptionError
from medsam_core.metrics.overlap import Counts

GATES = 'version = 1\n[[gate]]\nmetric = "dice"\ncase_minimum = 0.5\nmean_minimum = 0.8\n'
HOSTILE = '=cmd|"/c calc"!A1<b>[x](y)`'
PLAN = [f"{name}/t1ce/WT/box" for name in ("good", HOSTILE, "absent", "nan", "gone")]


@pytest.fixture
def stored(make_record, make_run, tmp_path):
    """A run with a good, a bad and hostile, an absent, an undefined and a missing case; and a gates file."""
    records = [
        make_record("good", dice=0.95, seconds=1.5, counts={"volume": Counts(9, 1, 0, 90)}, spacing_mm=(3.0, 1.0, 1.0)),
        make_record(HOSTILE, dice=0.25, diagnosis="leak: <340> voxels"),
        make_record("absent", dice=1.0, slices=()),
        make_record("nan", dice=math.nan),
    ]
    gates = tmp_path / "gates.toml"
    gates.write_text(GATES)
    return make_run(records, plan=PLAN).directory, "--gates", gates


def read_csv(text):
    return {row["subject"]: row for row in csv.DictReader(io.StringIO(text))}


def test_csv_is_the_default_and_has_a_row_per_case(stored, command, capsys):
    assert command("export", *stored) == 0
    rows = read_csv(capsys.readouterr().out)
    assert list(rows) == ["good", f"'{HOSTILE}", "absent", "nan", "gone"]
    good = rows["good"]
    assert (good["dice@volume"], good["status"], good["outcome"]) == ("0.95", "scored", "PASS")
    assert (good["fp_voxels@volume"], good["spacing_z_mm"], good["seconds"]) == ("1", "3.0", "1.5")
    assert rows[f"'{HOSTILE}"]["case"] == f"'{HOSTILE}/t1ce/WT/box"
    assert rows[f"'{HOSTILE}"]["outcome"] == "FAIL"
    assert "0.250 < 0.500" in rows[f"'{HOSTILE}"]["reasons"]
    assert (rows["absent"]["status"], rows["absent"]["dice@volume"]) == ("absent", "1.0")
    assert (rows["nan"]["status"], rows["nan"]["dice@volume"]) == ("scored", "NaN")
    gone = rows["gone"]
    assert (gone["status"], gone["dice@volume"], gone["outcome"]) == ("missing", "", "INCONCLUSIVE")


def test_no_cell_starts_a_formula(stored, command, capsys):
    command("export", *stored)
    cells = [cell for row in csv.reader(io.StringIO(capsys.readouterr().out)) for cell in row]
    assert [cell for cell in cells if cell and cell[0] in "=+-@" and not is_number(cell)] == []


def is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_the_ending_chooses_the_format(stored, command, capsys, tmp_path):
    for name, start in (("a.csv", "run,case,"), ("a.xml", "<?xml "), ("a.md", "### MedSAM-2 gate: FAIL")):
        assert command("export", *stored, "-o", tmp_path / name) == 0
        assert (tmp_path / name).read_text().startswith(start)
        assert capsys.readouterr().out == f"wrote {tmp_path / name}: 5 cases, FAIL\n"
    with pytest.raises(OptionError) as caught:
        command("export", *stored, "-o", "a.txt")
    assert str(caught.value) == (
        "-o a.txt: got the ending .txt, expected one of .csv, .parquet, .xml, .md; name the format with --format."
    )


def test_columns_are_explained_with_units(stored, command, capsys):
    assert command("export", *stored, "--columns", "--format", "parquet") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "truth_volume_ml@volume [ml]: volume of the truth, over the whole volume" in lines
    assert "seconds [s]: the subject's wall time divided equally among its cases" in lines
    assert any(line.startswith("status: scored; absent: ") for line in lines)


def test_parquet_keeps_types_units_nan_and_null(stored, command, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert command("export", *stored, "-o", tmp_path / "a.parquet") == 0
    table = parquet.read_table(tmp_path / "a.parquet")
    dice = table.column("dice@volume").to_pylist()
    assert dice[:3] == [0.95, 0.25, 1.0]
    assert math.isnan(dice[3])
    assert dice[4] is None
    assert table.column("subject").to_pylist()[1] == HOSTILE
    assert table.schema.field("truth_volume_ml@volume").metadata[b"unit"] == b"ml"
    assert str(table.schema.field("tp_voxels@volume").type) == "int64"
    with pytest.raises(OptionError, match=r"^--format parquet: got no file, expected one, because it is not text; "):
        command("export", *stored, "--format", "parquet")


def test_without_pyarrow_the_extra_is_named(stored, command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(OptionError) as caught:
        command("export", *stored, "-o", tmp_path / "a.parquet")
    assert str(caught.value) == (
        '--format parquet: pyarrow is not installed, expected it to write it; pip install "medsam-core[frame]".'
    )


def test_junit_is_red_for_what_is_no_pass(stored, command, capsys):
    assert command("export", *stored, "--format", "junit") == 0
    (suite,) = ElementTree.fromstring(capsys.readouterr().out.encode())
    cases = {one.get("name"): one for one in suite if one.get("classname") == "medsam_core.cases"}
    assert sorted(cases) == sorted(PLAN)
    bad = cases[PLAN[1]].find("failure")
    assert "0.250 < 0.500" in bad.get("message")
    assert "leak: <340> voxels" in bad.get("message")
    assert cases["gone/t1ce/WT/box"].find("error").get("message") == "planned but not scored"
    assert cases["nan/t1ce/WT/box"].find("failure") is not None
    assert len(cases["good/t1ce/WT/box"]) == 1
    assert "dice@volume 0.95" in cases["good/t1ce/WT/box"].find("system-out").text
    assert "nothing was prompted" in cases["absent/t1ce/WT/box"].find("system-out").text
    (mean,) = [one for one in suite if one.get("classname") == "medsam_core.gates"]
    assert mean.find("failure") is not None or mean.find("error") is not None
    (verdict,) = [one for one in suite if one.get("classname") == "medsam_core.verdict"]
    assert verdict.find("failure") is not None
    assert int(suite.get("tests")) == len(suite)
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
    assert int(suite.get("errors")) == len(suite.findall("testcase/error"))


def test_markdown_has_verdict_reasons_groups_and_every_case(stored, command, capsys):
    assert command("export", *stored, "--format", "markdown") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "### MedSAM-2 gate: FAIL"
    assert lines[2] == (
        "4 of 5 cases scored on <code>cpu</code>, predictor <code>engine</code>, checkpoint <code>embedded</code> "
        "(cccccccccccc)."
    )
    assert any(line.startswith("| t1ce | WT | box | 4 | 1 | 1 |") for line in lines)
    assert "| <code>good/t1ce/WT/box</code> | 0.950 | PASS | – |" in lines
    assert "| <code>absent/t1ce/WT/box</code> | absent | PASS | – |" in lines
    assert any(line.startswith("| <code>nan/t1ce/WT/box</code> | undefined | FAIL | ") for line in lines)
    assert "| <code>gone/t1ce/WT/box</code> | missing | INCONCLUSIVE | planned but not scored |" in lines
    (bad,) = [line for line in lines if "| 0.250 |" in line]
    assert html.unescape(bad).startswith('| <code>=cmd|"/c calc"!A1<b>[x](y)`/t1ce/WT/box</code> | 0.250 |')
    assert bad.count("|") == 5, "a name ends no cell"
    assert "<b>" not in bad
    assert "&#60;340&#62;" in bad


def test_a_passing_run_is_green_everywhere(make_record, make_run, command, capsys, tmp_path):
    gates = tmp_path / "gates.toml"
    gates.write_text(GATES)
    directory = make_run([make_record("S1")]).directory
    command("export", directory, "--gates", gates, "--format", "junit")
    (suite,) = ElementTree.fromstring(capsys.readouterr().out.encode())
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "0", "0")
    command("export", directory, "--gates", gates, "--format", "markdown")
    assert capsys.readouterr().out.startswith("### MedSAM-2 gate: PASS\n")


@pytest.fixture
def mlflow(monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    pytest.importorskip("mlflow", reason="mlflow-skinny is not installed: pip install medsam-core[mlflow]")
    from mlflow.tracking import MlflowClient

    return MlflowClient


@pytest.mark.filterwarnings("default")
def test_mlflow_gets_means_settings_verdict_and_files_once(stored, command, capsys, tmp_path, mlflow):
    place = ("--format", "mlflow", "-o", tmp_path / "store", "--experiment", "gate")
    assert command("export", *stored, *place) == 0
    said = capsys.readouterr().out
    client = mlflow(tracking_uri=(tmp_path / "store").as_uri())
    (made,) = client.search_runs([client.get_experiment_by_name("gate").experiment_id])
    assert said == f"logged as run {made.info.run_id} of gate\n"
    data = made.data
    assert data.metrics["dice/volume/WT/box"] == pytest.approx(0.6)
    counts = {name: data.metrics[f"cases/{name}"] for name in ("planned", "absent", "missing", "failing")}
    assert counts == {"planned": 5, "absent": 1, "missing": 1, "failing": 2}
    assert data.metrics["scores/undefined"] == 4
    assert data.params["checkpoint_sha256"] == "c" * 64
    assert (data.params["prompts"], data.params["profile"]) == ("box, point", "brats2019")
    assert (data.tags["verdict"], data.tags["mlflow.source.git.commit"]) == ("FAIL", "a" * 40)
    assert (made.info.status, made.info.run_name) == ("FAILED", "run")
    assert {one.path for one in client.list_artifacts(made.info.run_id)} == {"cases.csv", "cases.jsonl", "run.json"}
    assert command("export", *stored, *place) == 0
    assert capsys.readouterr().out == f"was logged before as run {made.info.run_id} of gate\n"


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("mlflow")
def test_what_mlflow_refuses_is_one_sentence(stored, command, tmp_path):
    (tmp_path / "store").write_text("a file")
    with pytest.raises(
        OptionError, match=r"^MLflow at .*store: got a refusal \(.+\), expected to log the run; correct -o or"
    ):
        command("export", *stored, "--format", "mlflow", "-o", tmp_path / "store")


def test_without_mlflow_the_extra_is_named(stored, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)
    with pytest.raises(OptionError) as caught:
        command("export", *stored, "--format", "mlflow")
    assert str(caught.value) == (
        '--format mlflow: mlflow is not installed, expected it to log the run; pip install "medsam-core[mlflow]".'
    )
