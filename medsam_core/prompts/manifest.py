"""The prompts of a run on disk, by case: written down once, replayed exactly. No torch."""

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
    """Every prompt of a run by case id: a read-only mapping whose lookup says what is wrong.

    A case whose region was absent has (), which is not the same as a case that is missing.
    cohort: the fingerprint of the cohort that the prompts were made on, "" if unknown.
    """

    def __init__(self, prompts: Mapping[str, Sequence[Prompt]], cohort: str = "", source: str = "prompts") -> None:
        self._prompts = {case: tuple(given) for case, given in prompts.items()}
        self.cohort = cohort
        self.source = source

    def __getitem__(self, case: str) -> tuple[Prompt, ...]:
        """The prompts of a case. Raises PromptError (not KeyError) if the manifest lacks it."""
        if case not in self._prompts:
            raise PromptError(
                f"{self.source}: got no prompts for {case}, expected every case of this run; "
                "record the manifest with the same options or run without it."
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

    cohort: the cohort's fingerprint. Raises PromptError if the file cannot be written.
    """
    cases = {case: [prompt.to_json() for prompt in prompts[case]] for case in sorted(prompts)}
    text = json.dumps({"schema": SCHEMA, "cohort": cohort, "prompts": cases}, separators=(",", ":"))
    write_whole(path, text + "\n", error=PromptError, fix="name a file in a folder that can be written")


def read_manifest(path: str | Path, *, cohort: str | None = None, subjects: Collection[str] = ()) -> Manifest:
    """The manifest that `write_manifest` wrote.

    cohort: this run's fingerprint; if given, a manifest of another cohort is refused. subjects: this run's. A
    fingerprint is of all subjects of a run together, so that of a part of the manifest's subjects cannot be told from
    it; such a part is let through, and each of its cases is held against its own labels when it is read.
    Raises PromptError if the file is missing, is no manifest or is of another cohort.
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
            "here; use the cohort they were recorded on, or record them anew."
        )
    return manifest


def _read(path: Path, case: str, given: list[StoredPrompt]) -> tuple[Prompt, ...]:
    try:
        return tuple(map(Prompt.from_json, given))
    except PromptError as error:
        raise PromptError(f"{path}: {case}: {error}") from None


def _is_part(subjects: Collection[str], manifest: Manifest) -> bool:
    """Whether these are some, but not all, of the manifest's subjects."""
    return bool(subjects) and set(subjects) < {case.split("/")[0] for case in manifest}
