"""Sends requests over several connections at once without waiting for the answers.

OpenSSH's server gives each channel 2 MiB of window for what it receives, so a fast upload over a long distance takes
several. What was sent on a connection that is lost, and not answered, is sent again on a new one.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Protocol

from ..core.deadline import Deadline
from ..core.errors import DeadlinePassed, RemoteRuntimeError
from ..launcher.call import invalid_reply
from .agent import lost_error
from .remote.wire import FrameSocket, FrameSocketClosed, InvalidFrame

MAX_CONNECTIONS = 8
MAX_UNANSWERED = 8  # on each connection
MAX_SILENT_S = 600.0
MAX_LOSSES = 5  # of a connection and those that replaced it, while nothing is answered
_POLL_S = 0.1
_JOIN_S = 5.0


class Job(Protocol):
    """A request. It may be sent several times."""

    def send(self, connection: FrameSocket) -> None: ...

    def receive(self, connection: FrameSocket) -> Sequence[Job]:
        """Receive the answer; the jobs that follow from it."""


class Pipeline:
    """Owns its connections, which ``connect`` opens in threads."""

    def __init__(self, connect: Callable[[], FrameSocket], deadline: Deadline) -> None:
        self._connect = connect
        self._deadline = deadline
        self._idle: list[FrameSocket] = []
        self._open: set[FrameSocket] = set()
        self._changed = threading.Condition()
        self._queue: collections.deque[Job] = collections.deque()
        self._source: Iterator[Job] = iter(())
        self._unfinished = 0  # jobs that were taken and not answered
        self._is_exhausted = True
        self._may_begin: Callable[[], bool] = lambda: True
        self._workers = 0
        self._answers = 0
        self._error: Exception | None = None
        self._last_answer_at = 0.0

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in list(self._open):
            connection.shut_down()
            connection.close()

    def run(self, jobs: Iterator[Job], connections: int, may_begin: Callable[[], bool] = lambda: True) -> None:
        """Run ``jobs``, while ``may_begin``, and those that follow from them, which go first. Raises
        ``RemoteRuntimeError`` where no connection is left, and what a job raises."""
        count = max(1, min(connections, MAX_CONNECTIONS))
        self._source, self._is_exhausted, self._workers, self._may_begin = jobs, False, count, may_begin
        self._last_answer_at = time.monotonic()
        threads = [threading.Thread(target=self._work, daemon=True, name="files-send") for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            with self._changed:
                while self._error is None and self._workers:
                    self._changed.wait(_POLL_S)
                    self._deadline.check()
                    if time.monotonic() - self._last_answer_at > MAX_SILENT_S:
                        raise DeadlinePassed(f"The machine did not respond for {MAX_SILENT_S:.0f} s")
        except BaseException as error:
            self._fail(error if isinstance(error, Exception) else InterruptedError())
            raise
        finally:
            until = time.monotonic() + _JOIN_S
            for thread in threads:
                thread.join(max(0.0, until - time.monotonic()))
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        """Serves one connection after the other until there are no jobs."""
        error: Exception | None = None
        losses, answers = 0, self._answers
        try:
            while self._has_jobs():
                try:
                    connection = self._take_connection()
                except RemoteRuntimeError as failure:
                    error = failure
                    break
                _Exchange(self, connection).run()
                losses, answers = (losses + 1 if answers == self._answers else 0), self._answers
                if losses > MAX_LOSSES:
                    raise lost_error("it ends at each attempt")
        except Exception as failure:  # noqa: BLE001  # the caller of run gets it
            self._fail(failure)
        with self._changed:
            self._workers -= 1
            if not self._workers and error is not None and not self._is_done():
                self._error = self._error or error
            self._changed.notify_all()

    def _take_connection(self) -> FrameSocket:
        with self._changed:
            if self._idle:
                return self._idle.pop()
        connection = self._connect()
        with self._changed:
            self._open.add(connection)
            if self._error is not None:
                connection.shut_down()
        return connection

    def release(self, connection: FrameSocket, unanswered: Sequence[Job], *, is_lost: bool) -> None:
        with self._changed:
            self._queue.extendleft(reversed(unanswered))
            self._unfinished -= len(unanswered)
            if is_lost:
                self._open.discard(connection)
                connection.close()
            else:
                self._idle.append(connection)
            self._changed.notify_all()

    def take(self, is_lost: Callable[[], bool]) -> Job | None:
        """The next job. Waits while others may make more; None when there is none, or the connection is lost."""
        with self._changed:
            while not is_lost() and self._error is None:
                if self._queue:
                    self._unfinished += 1
                    return self._queue.popleft()
                if not self._is_exhausted and self._may_begin():
                    job = next(self._source, None)
                    if job is not None:
                        self._unfinished += 1
                        return job
                    self._is_exhausted = True
                if self._is_done():
                    self._changed.notify_all()
                    return None
                self._changed.wait(_POLL_S)
            return None

    def answered(self, follow_ups: Sequence[Job]) -> None:
        self._last_answer_at = time.monotonic()
        with self._changed:
            self._answers += 1
            self._queue.extend(follow_ups)
            self._unfinished -= 1
            self._changed.notify_all()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._error = self._error or error
            for connection in self._open:
                connection.shut_down()
            self._changed.notify_all()

    def _has_jobs(self) -> bool:
        with self._changed:
            return self._error is None and not self._is_done()

    def _is_done(self) -> bool:
        return self._is_exhausted and not self._queue and not self._unfinished

    def fail(self, error: Exception) -> None:
        self._fail(error)


class _Exchange:
    """Sends jobs on one connection in this thread, and receives their answers in another."""

    def __init__(self, pipeline: Pipeline, connection: FrameSocket) -> None:
        self._pipeline = pipeline
        self._connection = connection
        self._sent: collections.deque[Job] = collections.deque()
        self._changed = threading.Condition()
        self._is_lost = False
        self._has_ended = False

    def run(self) -> None:
        """Until there are no jobs, or the connection is lost."""
        receiver = threading.Thread(target=self._receive, daemon=True, name="files-receive")
        receiver.start()
        try:
            while (job := self._pipeline.take(lambda: self._is_lost)) is not None:
                with self._changed:
                    self._sent.append(job)
                    self._changed.notify_all()
                job.send(self._connection)
                with self._changed:
                    while len(self._sent) >= MAX_UNANSWERED and not self._is_lost:
                        self._changed.wait(_POLL_S)
        except FrameSocketClosed:
            self._lose()
        except BaseException:
            self._lose()
            raise
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()
            receiver.join()
            self._pipeline.release(self._connection, list(self._sent), is_lost=self._is_lost)

    def _receive(self) -> None:
        try:
            while (job := self._next_sent()) is not None:
                follow_ups = job.receive(self._connection)
                with self._changed:
                    self._sent.popleft()
                    self._changed.notify_all()
                self._pipeline.answered(follow_ups)
        except FrameSocketClosed:
            self._lose()
        except InvalidFrame as error:
            self._lose()
            self._pipeline.fail(invalid_reply(str(error)))
        except Exception as error:  # noqa: BLE001  # the caller of Pipeline.run gets it
            self._lose()
            self._pipeline.fail(error)

    def _next_sent(self) -> Job | None:
        with self._changed:
            while not self._sent and not self._has_ended and not self._is_lost:
                self._changed.wait(_POLL_S)
            return self._sent[0] if self._sent and not self._is_lost else None

    def _lose(self) -> None:
        self._is_lost = True
        self._connection.shut_down()
        with self._changed:
            self._changed.notify_all()
        self._pipeline.wake()
