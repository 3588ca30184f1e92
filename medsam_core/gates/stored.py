"""What a stored run was judged by: its gates, which are found by their hash, and its baseline."""

from __future__ import annotations

import hashlib
from pathlib import Path

from medsam_core.errors import GateError
from medsam_core.files import shipped_folders
from medsam_core.gates.baseline import FOLDER, Baseline, find_reference, refuse_itself
from medsam_core.gates.gates_file import Gates, load_gates
from medsam_core.runs import Run

FOLDERS = (Path("benchmarks/gates"), *shipped_folders("gates"))
"""In the working directory, in an installed wheel, in the checkout."""
IN_RUN = "gates.toml"


def gates_of(run: Run, path: Path | None = None, *, folders: tuple[Path, ...] = FOLDERS) -> Gates | None:
    """The gates to judge a run by: `path`, or the file that its header names, or None if it had none.

    The file is searched in the run's own directory (gates.toml) and in `folders`, and must still have the hash that
    the header gives. Raises GateError if it is not found.
    """
    if path is not None:
        return load_gates(path)
    named = run.header.gates
    if named is None:
        return None
    for candidate in (run.directory / IN_RUN, *(folder / named.file for folder in folders)):
        if candidate.is_file() and hashlib.sha256(candidate.read_bytes()).hexdigest() == named.sha256:
            return load_gates(candidate)
    raise GateError(
        f"{run.directory}: was judged by {named.file} (sha256 {named.sha256[:12]}), which is not in "
        f"{' or '.join(map(str, folders))} or has changed since; give --gates FILE."
    )


def reference_of(run: Run, gates: Gates | None, named: str | None = None, *, folder: Path = FOLDER) -> Baseline | None:
    """The baseline for relative bounds of a stored run: `named`, or its session's, or the one that the gates name.

    None if nothing is named, or if only the gates name one and it is not there. Raises GateError or RunError if
    `named` or the session's cannot be found or is the run itself.
    """
    named = named or run.header.baseline
    if named:
        refuse_itself(named, run.directory)
        return find_reference(named, folder)
    return gates.reference(folder) if gates is not None else None
