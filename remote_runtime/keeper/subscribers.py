"""Those who watch a keeper work: every attached `up` is told what happens, and asked what only a person knows."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from dataclasses import dataclass

from ..core.deadline import Deadline
from ..state.ipc import Channel, Message
from .refusals import unanswered
from .requests import Order

ANSWER_S = 120.0
MOST_HISTORY = 500


@dataclass(eq=False)
class Member:
    """One attached command. ``interactive``: a person sits there. ``ties``: when it leaves, the runtime goes down.
    ``order``: what it asked for; None for the runtime's first `up` and those who joined it with the same wishes.
    ``wants``: it has not asked to be let go; one that has still hears the end of the story."""

    channel: Channel
    interactive: bool
    ties: bool
    order: Order | None = None
    wants: bool = True


class Audience:
    """Keeps the events of the present piece of work, so that who comes late has seen everything."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._members: list[Member] = []
        self._history: deque[Message] = deque(maxlen=MOST_HISTORY)
        self._numbers = itertools.count(1)
        self._question: Message | None = None
        self._answer: str | None = None
        self._answered = threading.Event()
        self.arrived = threading.Event()

    # ── how the story is told (``story.Telling``) ──

    def __call__(self, text: str) -> None:
        self.send({"event": "detail", "text": text})

    def step(self, text: str) -> None:
        self.send({"event": "step", "text": text})

    def note(self, text: str) -> None:
        self.send({"event": "note", "text": text})

    def begin(self) -> None:
        """A new piece of work: what was told before is history of another one."""
        with self._lock:
            self._history.clear()

    def send(self, event: Message) -> None:
        with self._lock:
            self._history.append(event)
            members = list(self._members)
        for member in members:
            self._send_to(member, event)

    def conclude(self, event: Message, order: Order | None) -> None:
        """Tell how it ended those who wait for this order; others wait for theirs. None: the first `up`."""
        with self._lock:
            if order is None:
                self._history.append(event)
            members = [member for member in self._members if member.order is order]
        for member in members:
            self._send_to(member, event)

    def join(self, member: Member) -> None:
        with self._lock:
            self._members.append(member)
            for event in self._history:
                self._send_to(member, event)
            if self._question is not None and member.interactive:
                self._send_to(member, self._question)
        self.arrived.set()

    def renounce(self, member: Member) -> bool:
        """It does not want the work any more. Returns whether nobody else does."""
        with self._lock:
            member.wants = False
            return not any(other.wants for other in self._members)

    def leave(self, member: Member) -> None:
        with self._lock:
            if member in self._members:
                self._members.remove(member)

    def ask(self, prompt: str, *, secret: bool, code: str, deadline: Deadline) -> str:
        """The answer of the first who gives one. Raises the error of that code when nobody can, or ``Interrupted``."""
        with self._lock:
            self._answer = None
            self._answered.clear()
            question = {"event": "ask", "id": next(self._numbers), "prompt": prompt, "secret": secret}
            self._question = question
            someone = [member for member in self._members if member.interactive and member.wants]
            for member in someone:
                self._send_to(member, question)
        try:
            limit = deadline.shorter(ANSWER_S)
            while someone and not limit.passed():
                if self._answered.wait(0.2):
                    break
                deadline.check()
            if self._answer is None:
                raise unanswered(code, prompt, asked=bool(someone))
            return self._answer
        finally:
            with self._lock:
                self._question = self._answer = None

    def answer(self, message: Message) -> None:
        """What a member said to a question; answers to other questions come too late and are dropped."""
        with self._lock:
            text = message.get("text")
            if self._question is not None and message.get("id") == self._question["id"]:
                self._answer = text if isinstance(text, str) else None
                self._answered.set()

    def _send_to(self, member: Member, event: Message) -> None:
        try:
            member.channel.send(event)
        except OSError:
            # It is leaving: its own thread sees the end of the connection and takes it off the list.
            return
