"""The prompts of a run on disk, by case: recorded once, replayed exactly. No torch."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from medsam_core.errors import PromptError
from medsam_core.prompts.prompt import Prompt

SCHEMA = "medsam-core/prompts/1"


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
    path = Path(path)
    cases = {case: [prompt.to_json() for prompt in prompts[case]] for case in sorted(prompts)}
    text = json.dumps({"schema": SCHEMA, "cohort": cohort, "prompts": cases}, separators=(",", ":"))
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise PromptError(
            f"{path}: got {error.strerror or error}, expected to write the prompt manifest; "
            "name a file in a folder with write permission."
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def read_manifest(path: str | Path, *, cohort: str | None = None, subjects: Collection[str] = ()) -> Manifest:
    """The manifest that `write_manifest` wrote.

    cohort: this run's fingerprint; if given, a manifest of another cohort is refused.
    subjects: this run's subjects. A fingerprint covers all subjects of a run, so it cannot show whether this run has a
        part of the manifest's cohort. A run with some, but not all of the manifest's subjects is therefore accepted,
        and each case is checked against its own labels when it is read.
    Raises PromptError if the file is missing, is not a manifest or is of another cohort.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PromptError(
            f"{path}: got {error.strerror or error}, expected a prompt manifest; name the prompts.json of a run."
        ) from None
    except ValueError as error:
        raise PromptError(
            f"{path}: got text that is not JSON ({error}), expected a prompt manifest; copy it again."
        ) from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or not isinstance(data.get("prompts"), dict):
        found = data.get("schema") if isinstance(data, dict) else type(data).__name__
        raise PromptError(
            f"{path}: got schema {found!r}, expected {SCHEMA!r}; name the prompts.json of a run of this version."
        )
    fingerprint = data.get("cohort")
    if not isinstance(fingerprint, str):
        raise PromptError(
            f'{path}: cohort: got {fingerprint!r}, expected its fingerprint, or "" if unknown; copy the manifest again.'
        )
    manifest = Manifest(
        {case: _read(path, case, given) for case, given in data["prompts"].items()}, fingerprint, str(path)
    )
    if cohort is not None and manifest.cohort != cohort and not _is_part(subjects, manifest):
        raise PromptError(
            f"{path}: got prompts for cohort {manifest.cohort[:12] or 'unknown'}, expected {cohort[:12]} as found "
            "here; use the cohort that they were recorded on, or record them again."
        )
    return manifest


def _read(path: Path, case: str, given: object) -> tuple[Prompt, ...]:
    """The prompts of one case of the file."""
    if not isinstance(given, list):
        raise PromptError(
            f"{path}: {case}: got {type(given).__name__}, expected a list of prompts; record the manifest again."
        )
    try:
        return tuple(map(Prompt.from_json, given))
    except PromptError as error:
        raise PromptError(f"{path}: {case}: {error}") from None


def _is_part(subjects: Collection[str], manifest: Manifest) -> bool:
    """Whether the subjects are some, but not all, of the manifest's."""
    return bool(subjects) and set(subjects) < {case.split("/")[0] for case in manifest}
