"""What a stored run was judged by: its gates, found again by their hash, and its baseline."""

from __future__ import annotations

import hashlib
from pathlib import Path

from medsam_core.errors import GateError
from medsam_core.files import shipped_folders
from medsam_core.gates.baseline import FOLDER, Baseline, find_baseline, find_reference, read_baseline, refuse_itself
from medsam_core.gates.gates_file import Gates, load_gates
from medsam_core.runs import Run

FOLDERS = (Path("benchmarks/gates"), *shipped_folders("gates"))
"""Of the working directory, of an installed wheel, of the checkout."""
IN_RUN = "gates.toml"


def gates_of(run: Run, path: Path | None = None, *, folders: tuple[Path, ...] = FOLDERS) -> Gates | None:
    """The gates to judge a run by: `path`, or the file that its header names, or None if it had none.

    The header's file is looked for in the run's own directory (gates.toml) and in `folders`, and must still have the
    hash that the header gives: gates edited since are other gates. Raises GateError if it is not found.
    """
    if path is not None:
        return load_gates(path)
    named = run.header.gates
    if not named:
        return None
    for candidate in (run.directory / IN_RUN, *(folder / named.file for folder in folders)):
        if candidate.is_file() and hashlib.sha256(candidate.read_bytes()).hexdigest() == named.sha256:
            return load_gates(candidate)
    raise GateError(
        f"{run.directory}: was judged by {named.file} (sha256 {named.sha256[:12]}), which is not in "
        f"{' or '.join(str(folder) for folder in folders)} or has changed since; give --gates FILE."
    )


def reference_of(run: Run, gates: Gates | None, named: str | None = None, *, folder: Path = FOLDER) -> Baseline | None:
    """What relative bounds of a stored run refer to: `named`, or what its session was given, or what the gates name.

    None if nothing is named, or the gates alone name a baseline, which is not there. Raises GateError or RunError if
    what was named cannot be found or is the run itself.
    """
    named = named or run.header.baseline
    if named:
        refuse_itself(named, run.directory)
        return find_reference(named, folder)
    path = find_baseline(gates.baseline, folder) if gates is not None and gates.relative and gates.baseline else None
    return None if path is None else read_baseline(path)
