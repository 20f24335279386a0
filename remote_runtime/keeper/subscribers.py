"""Those who watch a keeper work: every attached `up` is told what happens, and asked what only a person knows."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from dataclasses import dataclass

from ..core.deadline import Deadline
from ..core.errors import RemoteRuntimeError, from_code
from ..state.ipc import ControlChannel, Message
from .requests import ControlRequest

ANSWER_TIMEOUT_S = 120.0
MAX_HISTORY_EVENTS = 500


@dataclass(eq=False)
class Subscriber:
    """One attached command. ``interactive``: a person sits there. ``ties``: when it leaves, the runtime goes down.
    ``order``: what it asked for; None for the runtime's first `up` and those who joined it with the same wishes.
    ``wants``: it has not asked to be let go; one that has still hears the end of the story."""

    channel: ControlChannel
    interactive: bool
    owns_runtime: bool
    request: ControlRequest | None = None
    waiting: bool = True


class Subscribers:
    """Keeps the events of the present piece of work, so that who comes late has seen everything."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: list[Subscriber] = []
        self._history: deque[Message] = deque(maxlen=MAX_HISTORY_EVENTS)
        self._question_ids = itertools.count(1)
        self._question: Message | None = None
        self._answer: str | None = None
        self._answered = threading.Event()
        self.subscribed = threading.Event()

    # ── how the story is told (``story.Telling``) ──

    def __call__(self, text: str) -> None:
        self.send({"event": "detail", "text": text})

    def step(self, text: str) -> None:
        self.send({"event": "step", "text": text})

    def note(self, text: str) -> None:
        self.send({"event": "note", "text": text})

    def clear_history(self) -> None:
        """A new piece of work: what was told before is history of another one."""
        with self._lock:
            self._history.clear()

    def send(self, event: Message) -> None:
        with self._lock:
            self._history.append(event)
            members = list(self._subscribers)
        for member in members:
            self._send_to(member, event)

    def send_result(self, event: Message, request: ControlRequest | None) -> None:
        """Tell how it ended those who wait for this order; others wait for theirs. None: the first `up`."""
        with self._lock:
            if request is None:
                self._history.append(event)
            members = [member for member in self._subscribers if member.request is request]
        for member in members:
            self._send_to(member, event)

    def add(self, subscriber: Subscriber) -> None:
        with self._lock:
            self._subscribers.append(subscriber)
            for event in self._history:
                self._send_to(subscriber, event)
            if self._question is not None and subscriber.interactive:
                self._send_to(subscriber, self._question)
        self.subscribed.set()

    def cancel(self, subscriber: Subscriber) -> bool:
        """It does not want the work any more. Returns whether nobody else does."""
        with self._lock:
            subscriber.waiting = False
            return not any(other.waiting for other in self._subscribers)

    def remove(self, subscriber: Subscriber) -> None:
        with self._lock:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

    def prompt(self, text: str, *, secret: bool, code: str, deadline: Deadline) -> str:
        """The answer of the first who gives one. Raises the error of that code when nobody can, or ``Interrupted``."""
        with self._lock:
            self._answer = None
            self._answered.clear()
            question = {"event": "ask", "id": next(self._question_ids), "prompt": text, "secret": secret}
            self._question = question
            recipients = [member for member in self._subscribers if member.interactive and member.waiting]
            for member in recipients:
                self._send_to(member, question)
        try:
            limit = deadline.within(ANSWER_TIMEOUT_S)
            while recipients and not limit.passed():
                if self._answered.wait(0.2):
                    break
                deadline.check()
            if self._answer is None:
                raise _unanswered_error(code, text, asked=bool(recipients))
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

    def _send_to(self, subscriber: Subscriber, event: Message) -> None:
        try:
            subscriber.channel.send(event)
        except OSError:
            # It is leaving: its own thread sees the end of the connection and takes it off the list.
            return


def _unanswered_error(code: str, prompt: str, *, asked: bool) -> RemoteRuntimeError:
    """The error for a question that nobody answered."""
    why = "the question was not answered" if asked else "no terminal is there to ask on"
    return from_code(
        code, f"An answer is needed: {prompt}", why, "Run `remote-runtime up` in a terminal, or use an ssh-agent"
    )
