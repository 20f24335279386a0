"""The `up` commands that follow a keeper: each receives the events, and answers its questions if a user is there."""

from __future__ import annotations

import itertools
import threading
from abc import ABC, abstractmethod
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
    """One `up` command. ``interactive``: a user can answer questions. ``owns_runtime``: the runtime goes down when it
    disconnects. ``request``: None if it only follows the first `up`. ``waiting``: False after it cancelled; it still
    receives events."""

    channel: ControlChannel
    interactive: bool
    owns_runtime: bool
    request: ControlRequest | None = None
    waiting: bool = True


class EventProgress(ABC):
    """A ``ProgressSink`` that sends events to commands."""

    @abstractmethod
    def send(self, event: Message) -> None: ...

    def __call__(self, text: str) -> None:
        self.send({"event": "detail", "text": text})

    def step(self, text: str, done: str = "") -> None:
        self.send({"event": "step", "text": text, "done": done})

    def finish(self, done: str) -> None:
        self.send({"event": "finish", "text": done})

    def fail(self) -> None:
        self.send({"event": "step-failed"})

    def note(self, text: str) -> None:
        self.send({"event": "note", "text": text})


class ReplyProgress(EventProgress):
    """The progress of a `down`, for the client that requested it."""

    def __init__(self, request: ControlRequest) -> None:
        self._request = request

    def send(self, event: Message) -> None:
        self._request.reply(event)


class Subscribers(EventProgress):
    """Keeps the events of the current work for subscribers that join late."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: list[Subscriber] = []
        self._history: deque[Message] = deque(maxlen=MAX_HISTORY_EVENTS)
        self._question_ids = itertools.count(1)
        self._question: Message | None = None
        self._answer: str | None = None
        self._answered = threading.Event()
        self.subscribed = threading.Event()

    def clear_history(self) -> None:
        """Forgets the events of earlier work."""
        with self._lock:
            self._history.clear()

    def send(self, event: Message) -> None:
        with self._lock:
            self._history.append(event)
            subscribers = list(self._subscribers)
        for subscriber in subscribers:
            self._send_to(subscriber, event)

    def send_result(self, event: Message, request: ControlRequest | None) -> None:
        """Sends the end of ``request`` to its subscribers. None: the first `up`."""
        with self._lock:
            if request is None:
                self._history.append(event)
            subscribers = [each for each in self._subscribers if each.request is request]
        for subscriber in subscribers:
            self._send_to(subscriber, event)

    def add(self, subscriber: Subscriber) -> None:
        with self._lock:
            self._subscribers.append(subscriber)
            for event in self._history:
                self._send_to(subscriber, event)
            if self._question is not None and subscriber.interactive:
                self._send_to(subscriber, self._question)
        self.subscribed.set()

    def cancel(self, subscriber: Subscriber) -> bool:
        """Returns whether no other subscriber waits for the work."""
        with self._lock:
            subscriber.waiting = False
            return not any(other.waiting for other in self._subscribers)

    def remove(self, subscriber: Subscriber) -> None:
        with self._lock:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

    def prompt(self, text: str, *, secret: bool, code: str, deadline: Deadline) -> str:
        """Returns the first answer. Raises the error with ``code`` if none comes in time, or ``Interrupted``."""
        with self._lock:
            self._answer = None
            self._answered.clear()
            question = {"event": "ask", "id": next(self._question_ids), "prompt": text, "secret": secret}
            self._question = question
            recipients = [each for each in self._subscribers if each.interactive and each.waiting]
            for subscriber in recipients:
                self._send_to(subscriber, question)
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
        """Takes a subscriber's answer; one to an earlier question is dropped."""
        with self._lock:
            text = message.get("text")
            if self._question is not None and message.get("id") == self._question["id"]:
                self._answer = text if isinstance(text, str) else None
                self._answered.set()

    def _send_to(self, subscriber: Subscriber, event: Message) -> None:
        try:
            subscriber.channel.send(event)
        except OSError:
            # Its own thread sees the end of the connection and removes it.
            return


def _unanswered_error(code: str, prompt: str, *, asked: bool) -> RemoteRuntimeError:
    """``asked``: an interactive subscriber was there."""
    why = "the prompt was not answered" if asked else "stdin is not a terminal"
    return from_code(code, f"Input required: {prompt}", why, "Run `remote-runtime up` in a terminal, or use ssh-agent")
