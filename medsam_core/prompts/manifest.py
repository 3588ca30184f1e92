"""The prompts of a run on disk, by case: recorded once, replayed exactly. No torch."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medsam_core.decoding import read_json
from medsam_core.errors import PromptError
from medsam_core.files import write_whole
from medsam_core.prompts.prompt import Prompt, StoredPrompt, objects_of

SCHEMA = "medsam-core/prompts/1"


@dataclass(frozen=True)
class _Stored:
    cohort: str
    """The fingerprint of the cohort that the prompts were made on, "" if unknown."""
    prompts: dict[str, list[StoredPrompt]]
    """By case id."""


def write_manifest(path: str | Path, prompts: Mapping[str, Sequence[Prompt]], *, cohort: str = "") -> None:
    """Write the prompts of every case as JSON, whole or not at all.

    prompts: by case id. cohort: the cohort's fingerprint. Raises PromptError if the file cannot be written.
    """
    cases = {case: [prompt.to_json() for prompt in prompts[case]] for case in sorted(prompts)}
    text = json.dumps({"schema": SCHEMA, "cohort": cohort, "prompts": cases}, separators=(",", ":"))
    write_whole(path, text + "\n", error=PromptError, fix="name a file in a folder that can be written")


def read_manifest(
    path: str | Path, *, cohort: str | None = None, subjects: Collection[str] = ()
) -> dict[str, tuple[Prompt, ...]]:
    """The prompts that `write_manifest` wrote, by case id; () for a case whose region is absent.

    cohort: this run's fingerprint; if given, a manifest of another cohort is refused.
    subjects: this run's subjects. If they are some, but not all, of the manifest's, another fingerprint is accepted: it
        covers all subjects of a run, so it cannot show whether this run has a part of the manifest's cohort. Each case
        is checked against its own labels when it is read.
    Raises PromptError if the file is missing, is not a manifest, is of another cohort, or has two prompts of one object
    on one slice.
    """
    path, fix = Path(path), "name the prompts.json of a run, or record the prompts again"
    stored = read_json(path, _Stored, version=SCHEMA, what="a prompt manifest", error=PromptError, fix=fix)
    prompts = {}
    for case, given in stored.prompts.items():
        try:
            prompts[case] = tuple(map(Prompt.from_json, given))
            objects_of(prompts[case])
        except PromptError as error:
            raise PromptError(f"{path}: {case}: {error}") from None
    is_part = bool(subjects) and set(subjects) < {case.split("/")[0] for case in prompts}
    if cohort is not None and stored.cohort != cohort and not is_part:
        raise PromptError(
            f"{path}: got prompts for cohort {stored.cohort[:12] or 'unknown'}, expected {cohort[:12]} as found here; "
            "use the cohort that they were recorded on, or record them again."
        )
    return prompts
