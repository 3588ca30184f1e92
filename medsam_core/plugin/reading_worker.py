"""What runs in a process that reads and scores for another one, which has the predictor. No torch.

main process                 this process
Reading        ─────────→    read_cases, and keep what was read
Prepared       ←─────────    image, labels and truths in shared memory
encode, segment
Scoring        ─────────→    score_segmented with what was kept, write overlays and masks
records        ←─────────
"""

from __future__ import annotations

import contextlib
import pickle
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from medsam_core.cases import Case
from medsam_core.data.subject import Subject
from medsam_core.errors import MedsamError
from medsam_core.evaluation.shared_memory import receive, send
from medsam_core.evaluation.subject import Prepared, Segmented, read_cases, score_segmented
from medsam_core.plugin.finishing import Finished, Finishing
from medsam_core.prompts.prompt import Prompt
from medsam_core.settings import Settings


@dataclass(frozen=True)
class Part:
    """Cases of one subject in one modality."""

    subject: Subject
    cases: tuple[Case, ...]
    """At least one."""
    settings: Settings
    replay: Mapping[str, tuple[Prompt, ...]] | None
    """As for `read_cases`; only the prompts of these cases are needed."""

    def read(self) -> Prepared:
        """See `read_cases`."""
        return read_cases(self.subject, self.cases[0].modality, self.cases, self.settings, replay=self.replay)

    def score(self, segmented: Segmented, finishing: Finishing) -> list[Finished]:
        """All cases, in their order."""
        return finishing.finish_all(score_segmented(segmented, self.settings), self.subject)


@dataclass(frozen=True)
class Reading:
    """Read a part, and keep it."""

    number: int
    """Names the part until it is scored or dropped."""
    part: Part


@dataclass(frozen=True, eq=False)
class Scoring:
    """Score a part that was read here."""

    number: int
    segmented: Any
    """`Segmented` without loaded files and truths, which are here, and without masks."""
    masks: Mapping[Case, np.ndarray]
    """(D, H, ceil(W / 8)) uint8, packed along the last axis."""
    finishing: Finishing

    @classmethod
    def of(cls, number: int, segmented: Segmented, finishing: Finishing) -> Scoring:
        """The request to score what was segmented."""
        bare: Any = replace(segmented.prepared, loaded=None, truths=None)  # type: ignore[arg-type]
        packed = {case: np.packbits(mask, axis=-1) for case, mask in segmented.masks.items()}
        return cls(number, replace(segmented, prepared=bare, masks={}), packed, finishing.of_cases(packed))

    def whole(self, read: Prepared) -> Segmented:
        """What was segmented, with the files and truths that were kept."""
        width = read.loaded.image.shape[2]
        masks = {case: np.unpackbits(one, axis=-1, count=width).view(bool) for case, one in self.masks.items()}
        prepared = replace(self.segmented.prepared, loaded=read.loaded, truths=read.truths)
        whole: Segmented = replace(self.segmented, prepared=prepared, masks=masks)
        return whole


@dataclass(frozen=True)
class Request:
    """What the main process asks."""

    what: Reading | Scoring
    dropped: tuple[int, ...] = ()
    """Parts that will not be scored."""


@dataclass(frozen=True)
class Failure:
    """An answer: the request ended with an error."""

    error: BaseException


def serve(descriptor: int) -> None:
    """Answer requests until the other end is closed, or its process has ended. descriptor: of a Unix socket."""
    kept: dict[int, tuple[Part, Prepared]] = {}
    # an error while answering means that nobody is there to be answered
    with Connection(descriptor) as connection, contextlib.suppress(EOFError, ConnectionError):
        while True:
            _answer(connection, receive(connection), kept)


def _answer(connection: Connection, request: Request, kept: dict[int, tuple[Part, Prepared]]) -> None:
    for number in request.dropped:
        kept.pop(number, None)
    what = request.what
    try:
        if isinstance(what, Reading):
            answer: Any = what.part.read()
        else:
            part, read = kept.pop(what.number)
            answer = part.score(what.whole(read), what.finishing)
    except Exception as error:
        send(connection, Failure(_sendable(error)))
        return
    sent = send(connection, answer)
    if isinstance(what, Reading):
        kept[what.number] = what.part, sent


def _sendable(error: Exception) -> Exception:
    """The error as it can be pickled; one that is no sentence of this package carries its traceback in a note."""
    if not isinstance(error, MedsamError):
        error.add_note("in the process that reads and scores:\n" + traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
