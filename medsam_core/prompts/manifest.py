"""The prompts of a run on disk, by case: recorded once, replayed exactly. No torch."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medsam_core.decoding import read_json
from medsam_core.errors import PromptError
from medsam_core.files import write_whole
from medsam_core.prompts.prompt import Prompt, StoredPrompt

SCHEMA = "medsam-core/prompts/1"


@dataclass(frozen=True)
class _Stored:
    """The file's content."""

    cohort: str
    """The cohort's fingerprint, "" if unknown."""
    prompts: dict[str, list[StoredPrompt]]
    """By case id."""


class Manifest(Mapping[str, tuple[Prompt, ...]]):
    """Every prompt of a run by case id, read-only. A case whose region is absent has (); it is not missing."""

    cohort: str
    """The fingerprint of the cohort that the prompts were made on; "" if unknown."""
    source: str
    """The file, for the texts of errors."""

    def __init__(self, prompts: Mapping[str, Sequence[Prompt]], cohort: str = "", source: str = "prompts") -> None:
        """Copy the prompts. The arguments are described by the attributes."""
        self._prompts = {case: tuple(given) for case, given in prompts.items()}
        self.cohort = cohort
        self.source = source

    def __getitem__(self, case: str) -> tuple[Prompt, ...]:
        """The prompts of a case. Raises PromptError (not KeyError) if the manifest lacks it."""
        if case not in self._prompts:
            raise PromptError(
                f"{self.source}: got no prompts for {case}, expected every case of this run; "
                "record the manifest with the same options, or run without it."
            )
        return self._prompts[case]

    def __contains__(self, case: object) -> bool:
        return case in self._prompts

    def __iter__(self) -> Iterator[str]:
        return iter(self._prompts)

    def __len__(self) -> int:
        return len(self._prompts)


def write_manifest(path: str | Path, prompts: Mapping[str, Sequence[Prompt]], *, cohort: str = "") -> None:
    """Write the prompts of every case as JSON, whole or not at all.

    prompts: by case id. cohort: the cohort's fingerprint. Raises PromptError if the file cannot be written.
    """
    cases = {case: [prompt.to_json() for prompt in prompts[case]] for case in sorted(prompts)}
    text = json.dumps({"schema": SCHEMA, "cohort": cohort, "prompts": cases}, separators=(",", ":"))
    write_whole(path, text + "\n", error=PromptError, fix="name a file in a folder that can be written")


def read_manifest(path: str | Path, *, cohort: str | None = None, subjects: Collection[str] = ()) -> Manifest:
    """The manifest that `write_manifest` wrote.

    cohort: this run's fingerprint; if given, a manifest of another cohort is refused.
    subjects: this run's subjects. A fingerprint covers all subjects of a run, so it cannot show whether this run has a
        part of the manifest's cohort. A run with some, but not all of the manifest's subjects is therefore accepted,
        and each case is checked against its own labels when it is read.
    Raises PromptError if the file is missing, is not a manifest or is of another cohort.
    """
    path = Path(path)
    stored = read_json(
        path,
        _Stored,
        version=SCHEMA,
        what="a prompt manifest",
        error=PromptError,
        fix="name the prompts.json of a run, or record the prompts again",
    )
    manifest = Manifest(
        {case: _read(path, case, given) for case, given in stored.prompts.items()}, stored.cohort, str(path)
    )
    if cohort is not None and manifest.cohort != cohort and not _is_part(subjects, manifest):
        raise PromptError(
            f"{path}: got prompts for cohort {manifest.cohort[:12] or 'unknown'}, expected {cohort[:12]} as found "
            "here; use the cohort that they were recorded on, or record them again."
        )
    return manifest


def _read(path: Path, case: str, given: list[StoredPrompt]) -> tuple[Prompt, ...]:
    try:
        return tuple(map(Prompt.from_json, given))
    except PromptError as error:
        raise PromptError(f"{path}: {case}: {error}") from None


def _is_part(subjects: Collection[str], manifest: Manifest) -> bool:
    """Whether the subjects are some, but not all, of the manifest's."""
    return bool(subjects) and set(subjects) < {case.split("/")[0] for case in manifest}
