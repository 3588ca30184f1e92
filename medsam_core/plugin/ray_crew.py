"""The actors of a session on Ray: made, compared with the session, replaced and ended."""

from __future__ import annotations

import contextlib
import pickle
import platform
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medsam_core.errors import RunError
from medsam_core.plugin.ray_actor import Order, Ready, SubjectActor, code_of_this_process, sendable
from medsam_core.plugin.ray_cluster import Cluster
from medsam_core.predictors.checked import described
from medsam_core.text import counted

if TYPE_CHECKING:
    from medsam_core.plugin.configuration import Configuration
    from medsam_core.plugin.placement import Placement
    from medsam_core.plugin.ray_options import RayOptions

FIRST_SECONDS, OTHERS_SECONDS = 600.0, 60.0
"""How long a session waits for its first actor, and then for the others before it begins without them."""
CLOSING_SECONDS = 5.0
"""How long idle actors may take to delete their files."""


@dataclass(eq=False)
class Hand:
    """An actor, as the session sees it."""

    actor: Any
    waiting: Any
    """Reference to what it was last asked for; None if it is idle."""
    ready: Ready | None = None
    """None while its predictor is being made."""
    running: Any = None
    """What it has under way; None if it is idle."""
    reserved: Any = None
    """What it gets next."""
    ahead: bool = False
    """Whether it may have begun with what is reserved."""


class Crew:
    """The actors of a session."""

    def __init__(
        self, configuration: Configuration, options: RayOptions, kind: type[SubjectActor] = SubjectActor
    ) -> None:
        """Join or start Ray and make the actors. Raises MedsamError if that fails or an actor has another code.

        kind: what runs in the actors.
        """
        self.configuration = configuration
        self._kind = kind
        self.hands: list[Hand] = []
        self.notes: list[str] = []
        self.problem = ""
        """Why the last actor that could not score cannot."""
        self._folders: list[Path] = []  # of actors on this machine
        self._made = 0
        self._first: Ready | None = None
        if configuration.choice.runs_here:  # a wrong checkpoint is an error before Ray starts
            _ = configuration.predictor_identity
        self._cluster = Cluster(options)
        self.ray = self._cluster.ray
        try:
            self._share = self._cluster.share(configuration.device, len(configuration.cohort))
            self._order = self._put_order(ship=options.ship_data)
            for _ in range(self._share.actors):
                self.hire()
            self._wait_for_all()
        except BaseException:
            self.close()
            raise

    @property
    def placement(self) -> Placement:
        """Where the actors score, for the run's header."""
        assert self._first is not None
        at, each = self._first.placement, self._share
        words = f"{each.threads} in each of {counted(each.actors, 'Ray actor')}"
        if each.gpus:
            words += f", {each.gpus:g} GPU each"
        return replace(at, decided=replace(at.decided, threads=words))

    def hire(self) -> None:
        """Make another actor; it joins when its predictor is made."""
        self._made += 1
        made = self.ray.remote(self._kind).options(
            name=f"medsam actor {self._made}",
            num_cpus=1,
            num_gpus=self._share.gpus,
            max_restarts=0,
            max_task_retries=0,
        )
        actor = made.remote()
        self.hands.append(Hand(actor, actor.start.options(name="medsam start").remote(*self._order)))

    def next_ready(self, seconds: float | None = None) -> Hand | None:
        """The next hand that has something to say; None if the seconds pass before."""
        waiting = {hand.waiting: hand for hand in self.hands if hand.waiting is not None}
        found, _ = self.ray.wait(list(waiting), num_returns=1, timeout=seconds)
        return waiting[found[0]] if found else None

    def hear(self, hand: Hand) -> Any:
        """What an actor says: its answer, a `Failure` if it failed, None if it died. A new actor joins or is let go."""
        errors = self.ray.exceptions
        said: Any
        try:
            said = self.ray.get(hand.waiting)
        except errors.RayTaskError as error:
            said = Failure(described(error.cause if error.cause is not None else error))
        except errors.RayError as error:
            said = Failure(_last_line(error), died=True)
        hand.waiting = None
        if hand.ready is None:
            self._join(hand, said)
        elif isinstance(said, Failure) and said.died:
            self._let_go(hand)
        return said

    def close(self) -> None:
        """End the actors, and the Ray that was started for them."""
        closing = [hand.actor.close.remote() for hand in self.hands if hand.waiting is None]
        if closing:
            self.ray.wait(closing, num_returns=len(closing), timeout=CLOSING_SECONDS)
        for hand in [*self.hands]:
            self._let_go(hand)
        self._cluster.close()
        for folder in self._folders:  # of those that were busy or had died
            shutil.rmtree(folder, ignore_errors=True)

    def _put_order(self, *, ship: bool) -> tuple[Any, ...]:
        """References to the arguments of `SubjectActor.start`."""
        from medsam_core.inference.ambient import process_settings

        configuration, checkpoint = sendable(self.configuration), None
        if ship and configuration.checkpoint and Path(configuration.checkpoint).is_file():
            path = Path(configuration.checkpoint)
            checkpoint = {path.name: np.fromfile(path, np.uint8)}
        order = pickle.dumps(Order(configuration, process_settings(), self._share.threads))
        return tuple(map(self.ray.put, (code_of_this_process(), sys.path, order, checkpoint)))

    def _wait_for_all(self) -> None:
        """Let the actors join until all have, or the time is over; one that cannot score is an error."""
        begun = time.monotonic()
        while any(hand.ready is None for hand in self.hands):
            limit = OTHERS_SECONDS if self._first else FIRST_SECONDS
            hand = self.next_ready(max(0.0, limit - (time.monotonic() - begun)))
            if hand is None:
                break
            self.hear(hand)
            if self.problem:
                raise RunError(self.problem)
        if self._first is None:
            raise RunError(
                f"--medsam-ray: got no actor with 1 CPU and {self._share.gpus:g} GPU within {FIRST_SECONDS:g} s, "
                "expected one; free some, or ask for less with --medsam-ray-gpus."
            )

    def _join(self, hand: Hand, said: Ready | str | Failure) -> None:
        """Take in an actor whose predictor is made, if it is the session's and runs as in the other actors."""
        if isinstance(said, Failure):
            problem = f"Ray: an actor could not be made ({said.words}), expected one; install the same environment on "
            problem += "every node, and look into Ray's logs."
        else:
            problem = said if isinstance(said, str) else self._unlike(said)
        if problem:
            self.problem = problem
            self.notes.append(f"a Ray actor was not used: {problem}")
            self._let_go(hand)
            return
        assert isinstance(said, Ready)
        hand.ready = said
        if self._first is None:
            self._first = said
            self.configuration.adopt(said.identity, said.source)
        if said.node == platform.node():
            self._folders.append(said.folder)

    def _unlike(self, said: Ready) -> str:
        """How an actor differs from the session, or from the first actor, in a sentence; "" if it does not."""
        pairs: list[tuple[str, Any, Any, str]] = []
        if self.configuration.choice.runs_here:
            own = self.configuration
            pairs += [
                ("predictor", said.identity, own.predictor_identity, "in the session"),
                ("source of the predictor", said.source, own.predictor_source, "in the session"),
            ]
        if self._first is not None:
            other, where = self._first, f"on {self._first.node}"
            pairs += [
                ("predictor", said.identity, other.identity, where),
                ("source of the predictor", said.source, other.source, where),
                ("device", said.placement.device, other.placement.device, where),
                ("precision", said.placement.precision, other.placement.precision, where),
                ("GPU", said.placement.environment.gpu, other.placement.environment.gpu, where),
            ]
        for what, got, expected, where in pairs:
            if got != expected:
                return (
                    f"Ray node {said.node}: got the {what} {got}, expected {expected} as {where}; use nodes of one "
                    "kind with the same files."
                )
        return ""

    def _let_go(self, hand: Hand) -> None:
        self.hands.remove(hand)
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.kill(hand.actor)


@dataclass(frozen=True)
class Failure:
    """An actor's call without an answer."""

    words: str
    """Why."""
    died: bool = False
    """Whether the actor is gone, or out of reach."""


def _last_line(error: Exception) -> str:
    """The last line of what Ray says, without its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1].partition(" Some common causes")[0].partition(" There are some potential")[0].rstrip(".")
