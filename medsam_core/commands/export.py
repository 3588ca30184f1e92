"""`medsam-core export RUN`: a run's cases as CSV or Parquet, its verdict as JUnit or Markdown, all of it in MLflow."""

from __future__ import annotations

import argparse
from pathlib import Path

ENDINGS = {".csv": "csv", ".parquet": "parquet", ".xml": "junit", ".md": "markdown"}
"""The format of a file that -o names, by its ending."""
FORMATS = (*ENDINGS.values(), "mlflow")

DESCRIPTION = """\
Write a stored run for other programs. The run is judged again, as `medsam-core judge` does; the exit code is 0 for any
verdict, because nothing but writing is asked.

  medsam-core export RUN                             a table with a row per case, as CSV on the terminal
  medsam-core export RUN -o cases.parquet            the same as Parquet, with units in the fields' metadata
  medsam-core export RUN --columns                   what each column means, and its unit
  medsam-core export RUN -o run.xml                  JUnit, for a build server
  medsam-core export RUN --format markdown           verdict and tables, for a pull request
  medsam-core export RUN --format mlflow -o URI      means, settings and files, to an MLflow server or folder

An unknown value is an empty cell, an undefined score is NaN. The column `status` says scored, absent (the truth has no
such region, so the score is the profile's rule) or missing (planned but not scored).
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "export",
        help="write a run as CSV, Parquet, JUnit or Markdown, or to MLflow",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="a run directory or an fsspec URL")
    kind = f"{', '.join(FORMATS)} (default: by the ending of -o, else csv)"
    parser.add_argument("--format", choices=FORMATS, metavar="FORMAT", help=kind)
    output = "the file (default: the terminal); of mlflow its tracking URI or folder (default: as MLflow is set up)"
    parser.add_argument("-o", "--output", metavar="FILE", help=output)
    parser.add_argument(
        "--columns", action="store_true", help="list the columns of the table with their units, and end"
    )
    experiment = "of mlflow: where the run belongs (default: %(default)s)"
    parser.add_argument("--experiment", default="medsam-core", metavar="NAME", help=experiment)
    parser.add_argument("--gates", type=Path, metavar="FILE", help="default: the gates that the run was judged by")


def run(arguments: argparse.Namespace) -> int:
    """Write the file or print the text. Raises RunError, GateError or OptionError."""
    from medsam_core.errors import OptionError
    from medsam_core.files import write_whole
    from medsam_core.gates.gates_file import gates_of
    from medsam_core.gates.reference import reference_of
    from medsam_core.gates.remote import local
    from medsam_core.gates.verdict import judge_run
    from medsam_core.reports.case_files import columns_text, csv_text, judged_table, write_parquet
    from medsam_core.reports.mlflow_log import log_run
    from medsam_core.reports.run_junit import junit
    from medsam_core.reports.run_markdown import markdown
    from medsam_core.runs import read_run

    kind = arguments.format or _by_ending(arguments.output)
    if kind == "parquet" and arguments.output is None and not arguments.columns:
        raise OptionError("--format parquet: got no file, expected one, because it is not text; give -o FILE.parquet.")
    with local(arguments.run) as directory:
        stored = read_run(directory)
        gates = gates_of(stored, arguments.gates)
        verdict = judge_run(stored, gates, baseline=reference_of(stored, gates))
        if arguments.columns:
            print("\n".join(columns_text(judged_table(stored, verdict))))
            return 0
        if kind == "mlflow":
            made, new = log_run(stored, verdict, tracking=arguments.output, experiment=arguments.experiment)
            print(f"{'logged as' if new else 'was logged before as'} run {made} of {arguments.experiment}")
            return 0
        if kind == "parquet":
            write_parquet(judged_table(stored, verdict), Path(arguments.output))
            text = ""
        elif kind == "csv":
            text = csv_text(judged_table(stored, verdict))
        else:
            text = junit(stored, verdict) if kind == "junit" else markdown(stored, verdict)
    if arguments.output is None:
        print(text, end="")
        return 0
    if text:
        write_whole(arguments.output, text, error=OptionError, fix="choose another place for -o")
    print(f"wrote {arguments.output}: {len(verdict.cases)} cases, {verdict.outcome.value}")
    return 0


def _by_ending(output: str | None) -> str:
    """The format that a file's ending says. Raises OptionError for an ending that says none."""
    from medsam_core.errors import OptionError

    if output is None:
        return "csv"
    ending = Path(output).suffix.lower()
    if ending not in ENDINGS:
        raise OptionError(
            f"-o {output}: got the ending {ending or '(none)'}, expected one of {', '.join(ENDINGS)}; name the format "
            "with --format."
        )
    return ENDINGS[ending]
