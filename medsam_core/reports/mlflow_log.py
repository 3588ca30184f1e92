"""A stored run in MLflow: means as metrics, settings as parameters, the verdict as a tag, its files as artifacts."""

from __future__ import annotations

import hashlib
import math
import re
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from medsam_core.case_table import ABSENT, MISSING
from medsam_core.errors import OptionError
from medsam_core.gates.bounds import mean
from medsam_core.gates.verdict import Verdict
from medsam_core.gates.wording import group_name
from medsam_core.reports.case_files import csv_text, judged_table
from medsam_core.runs import CASES, HEADER, VERDICT, Run
from medsam_core.text import shown

_FILES = (HEADER, CASES, VERDICT, "gates.toml", "page.html")
_LONGEST = 500
"""Characters of a parameter's value; MLflow has refused longer ones."""
_IDENTITY = "medsam_core.run"
"""The tag with the digest of the run's records, by which a second export is recognised."""


def log_run(run: Run, verdict: Verdict, *, tracking: str | None, experiment: str) -> tuple[str, bool]:
    """Log a run and return MLflow's id of it, and whether it is new: the same records are logged once.

    tracking: MLflow's tracking URI or a folder; None for what MLflow is set to (MLFLOW_TRACKING_URI).
    experiment: its name; it is made if it does not exist.
    MLflow calls the run FINISHED if every planned case was scored, else FAILED; the verdict is the tag `verdict`.
    Raises OptionError without MLflow, or with MLflow's own words if it refuses.
    """
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError:
        fix = 'pip install "medsam-core[mlflow]"'
        raise OptionError(f"--format mlflow: mlflow is not installed, expected it to log the run; {fix}.") from None

    where = tracking if tracking is None or "://" in tracking else Path(tracking).resolve().as_uri()
    try:
        return _log(MlflowClient(tracking_uri=where), run, verdict, experiment)
    except (MlflowException, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise OptionError(
            f"MLflow at {tracking or 'its default'}: got a refusal ({reason}), expected to log the run; correct -o or "
            "MLflow's settings."
        ) from None


def _log(client: Any, run: Run, verdict: Verdict, experiment: str) -> tuple[str, bool]:
    found = client.get_experiment_by_name(experiment)
    home = found.experiment_id if found is not None else client.create_experiment(experiment)
    identity = _digest(run)
    known = client.search_runs([home], filter_string=f"tags.`{_IDENTITY}` = '{identity}'", max_results=1)
    if known:
        return str(known[0].info.run_id), False

    from mlflow.entities import Metric, Param, RunTag

    began = _milliseconds(run.header.created)
    made = client.create_run(home, start_time=began, run_name=run.directory.resolve().name)
    numbers = [Metric(name, value, began, 0) for name, value in _metrics(run, verdict).items()]
    words = [Param(name, value[:_LONGEST]) for name, value in _parameters(run).items()]
    tags = {"verdict": verdict.outcome.value, "mlflow.source.git.commit": run.header.environment.commit or ""}
    labels = [RunTag(name, text) for name, text in tags.items() if text]
    client.log_batch(made.info.run_id, metrics=numbers, params=words, tags=labels)
    with TemporaryDirectory() as temporary:
        table = Path(temporary) / "cases.csv"
        table.write_text(csv_text(judged_table(run, verdict)), encoding="utf-8")
        for path in (table, *(path for name in _FILES if (path := run.directory / name).is_file())):
            client.log_artifact(made.info.run_id, str(path))
    # last, so that a run that was logged in part is logged again
    client.set_tag(made.info.run_id, _IDENTITY, identity)
    client.set_terminated(made.info.run_id, "FAILED" if verdict.counts.get("missing", 0) else "FINISHED")
    return str(made.info.run_id), True


def _metrics(run: Run, verdict: Verdict) -> dict[str, float]:
    """Means over the prompted cases with a finite score, by score and group; how many cases are not in them."""
    own = f"{run.header.settings.profile}/"
    values: dict[str, list[float]] = {}
    undefined = 0
    for record in sorted(run.records, key=lambda record: record.id):
        for key, value in record.scores.items() if record.prompted else ():
            if math.isfinite(value):
                name = f"{key.removeprefix(own).replace('@', '/')}/{group_name(record.case)}"
                values.setdefault(re.sub(r"[^\w\-. /]", "_", name), []).append(value)
            else:
                undefined += 1
    table = judged_table(run, verdict).column("status")
    times = [record.seconds for record in run.records if record.seconds is not None and math.isfinite(record.seconds)]
    return {
        **{name: mean(scores) for name, scores in values.items()},
        "cases/planned": len(run.plan),
        "cases/absent": table.count(ABSENT),
        "cases/missing": table.count(MISSING),
        "cases/failing": verdict.counts.get("failing", 0),
        "scores/undefined": undefined,
        **({"seconds/case": mean(times)} if times else {}),
    }


def _parameters(run: Run) -> dict[str, str]:
    header, settings = run.header, run.header.settings
    found = {
        "predictor": str(header.predictor),
        "checkpoint": header.checkpoint.name,
        "checkpoint_sha256": header.checkpoint.sha256,
        "device": header.device,
        "precision": header.precision,
        "cohort": Path(header.cohort.root).name,
        "cohort_fingerprint": header.cohort.fingerprint,
        "subjects": str(len(header.cohort.subjects)),
        "dirty": str(header.environment.dirty),
        **{name: str(value) for name, value in vars(settings).items() if not isinstance(value, tuple)},
        **{name: ", ".join(value) for name, value in vars(settings).items() if isinstance(value, tuple)},
    }
    return {name: shown(value) for name, value in found.items() if value}


def _digest(run: Run) -> str:
    """Of the header and the records: a run that was resumed since is another one."""
    digest = hashlib.sha256(repr(run.header).encode("utf-8", "backslashreplace"))
    for record in sorted(run.records, key=lambda record: record.id):
        digest.update(repr(sorted(record.to_json().items())).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def _milliseconds(created: str) -> int:
    """Since 1970; 0 for a date that cannot be read."""
    try:
        return int(datetime.fromisoformat(created).timestamp() * 1000)
    except ValueError:
        return 0
