"""Runs the program of a request in the kernel's namespace, to the exit status that Python would have."""

from __future__ import annotations

import _sitebuiltins
import asyncio
import contextlib
import json
import linecache
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from .pump import Pump
from .run import Run
from .streams import replaced_streams

MAX_ERROR_CHARS = 100_000
INTERRUPTED = 130
_pumps: list[Pump] = []
_last: list[Run] = []  # its items, if the client has not got all of them


def handle(text: str) -> None:
    """Of a request: ``run``, ``detach``, ``tty`` (by stream); ``code``, ``file`` (the name; empty for none) and
    ``argv``; or ``run`` and ``resume``: send the rest of an earlier program's items."""
    from IPython import get_ipython

    request, shell = json.loads(text), get_ipython()
    is_known = bool(_last) and _last[0].id == request["run"]  # a client that has connected again may send it twice
    if not _pumps:
        _pumps.append(Pump(shell.kernel))
        _pumps[0].start()
    if is_known or request.get("resume"):
        _resume(is_known)
        return
    run = Run(request, shell.kernel, _pumps[0])
    _last[:] = [run]
    with _pumps[0].running(run):
        if run.wait_for_client():
            status, error = _run(request, shell, run)
            run.end(status, error)
            with contextlib.suppress(KeyboardInterrupt):
                run.wait_until_received()
        else:
            _last.clear()  # the same request may come again


def _resume(is_known: bool) -> None:
    if is_known and not _last[0].queue.is_empty():
        _last[0].attach()
        with _pumps[0].running(_last[0]):
            _last[0].queue.send_again()
            _last[0].wait_until_received()


def _run(request: dict[str, Any], shell: Any, run: Run) -> tuple[int, dict[str, str] | None]:
    status, error = 0, None
    with replaced_streams(_pumps[0], run), _as_main(request, shell) as (namespace, path), _displays(shell, run):
        try:
            with _without_event_loop():
                _execute(request["code"], path, namespace, shell)
        except SystemExit as exit_:
            status = _status(exit_.code)
        except BaseException as exception:  # noqa: BLE001  # as Python's own last boundary
            error = _report(exception)
            status = INTERRUPTED if isinstance(exception, KeyboardInterrupt) else 1
        for name in ("stdout", "stderr"):
            with contextlib.suppress(Exception):  # the program may have closed it
                getattr(sys, name).flush()
    with contextlib.suppress(Exception):  # Windows has no such library
        import ctypes

        ctypes.CDLL(None).fflush(None)  # what C code has printed
    _pumps[0].drain_all()
    return status, error


def _execute(code: str, path: str, namespace: dict[str, Any], shell: Any) -> None:
    """Where the code is not Python, IPython's own syntax is tried."""
    before = set(threading.enumerate())
    if not path.startswith("<"):
        linecache.cache[path] = len(code), None, code.splitlines(keepends=True), path
    try:
        compiled = compile(code, path, "exec", dont_inherit=True)
    except SyntaxError:
        transformed = shell.transform_cell(code)
        try:
            compiled = compile(transformed, path, "exec", dont_inherit=True)
        except SyntaxError:
            compiled = None
    if compiled is None:
        compiled = compile(code, path, "exec", dont_inherit=True)
    exec(compiled, namespace)  # noqa: S102  # the program
    for thread in threading.enumerate():
        if thread not in before and not thread.daemon:
            thread.join()
    _show_plots()


def _show_plots() -> None:
    """Those that the program has made with the inline backend, and not shown."""
    backend: Any = sys.modules.get("matplotlib_inline.backend_inline")
    if backend is not None:
        with contextlib.suppress(Exception):  # as after a cell: no error of the program's
            getattr(backend, "flush_figures")()  # noqa: B009  # matplotlib's name


def _status(code: object) -> int:
    """Source: the Python documentation of ``sys.exit``."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if -(1 << 63) <= code < 1 << 63 else 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def _report(exception: BaseException) -> dict[str, str]:
    """Print the traceback, or let the program's own hook do it."""
    trace = exception.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__package__") == __package__:
        trace = trace.tb_next
    exception = exception.with_traceback(trace)
    shown = traceback.TracebackException(type(exception), exception, trace)
    text = "".join(_without_our_frames(shown).format())
    try:
        if sys.excepthook is sys.__excepthook__:
            sys.stderr.write(text)
        else:
            sys.excepthook(type(exception), exception, trace)
    except BaseException:  # noqa: BLE001  # the hook's own, or a stream that no one reads
        with contextlib.suppress(Exception):
            traceback.print_exc(file=sys.stderr)
    names = {"ename": type(exception).__name__, "evalue": str(exception)[:MAX_ERROR_CHARS]}
    return {**names, "traceback": text[-MAX_ERROR_CHARS:]}


def _without_our_frames(shown: traceback.TracebackException) -> traceback.TracebackException:
    """Those of a stream's ``write``, for example."""
    todo = [shown]
    while todo:
        each = todo.pop()
        each.stack[:] = [frame for frame in each.stack if not frame.filename.startswith("<remote-runtime ")]
        todo += [other for other in (each.__cause__, each.__context__) if other is not None]
    return shown


@contextlib.contextmanager
def _as_main(request: dict[str, Any], shell: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """The namespace of ``__main__`` and the path of its code, with what Python sets for a program."""
    namespace, file = shell.user_ns, request["file"]
    path = file or request["label"]
    if file and sys.version_info >= (3, 9):
        path = os.path.join(os.getcwd(), file)
    # IPython's own functions of these names end the kernel.
    ends = {name: _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)") for name in ("exit", "quit")}
    changed = {"__name__": "__main__", "__doc__": None, **ends, **({"__file__": path} if file else {})}
    before = {name: namespace[name] for name in (*changed, "__file__") if name in namespace}
    argv, hook, search_path = sys.argv, sys.excepthook, list(sys.path)
    for name in ("__file__", "__warningregistry__"):
        namespace.pop(name, None)
    namespace.update(changed)
    sys.argv, sys.excepthook = list(request["argv"]), sys.__excepthook__
    if file:
        sys.path.insert(0, os.path.dirname(path))
    variables = {name: os.environ.get(name) for name in request["env"]}
    os.environ.update(request["env"])
    try:
        yield namespace, path
    finally:
        sys.argv, sys.excepthook = argv, hook
        if file and sys.path[:1] == [os.path.dirname(path)]:
            sys.path[:] = sys.path[1:] if sys.path[1:] != search_path else search_path
        for name, value in changed.items():
            if namespace.get(name) is value:
                del namespace[name]
        namespace.update({name: value for name, value in before.items() if name not in namespace})
        for name, text in variables.items():
            if text is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = text


@contextlib.contextmanager
def _displays(shell: Any, run: Run) -> Iterator[None]:
    """What the program displays is an item."""

    def take(message: dict[str, Any]) -> None:
        run.display(message)

    shell.display_pub.register_hook(take)
    try:
        yield
    finally:
        shell.display_pub.unregister_hook(take)


@contextlib.contextmanager
def _without_event_loop() -> Iterator[None]:
    """The kernel runs programs in a callback of its event loop; ``asyncio.run`` refuses to run there."""
    loop = asyncio._get_running_loop()
    if loop is None:
        yield
        return
    swap: Callable[..., Any] | None = getattr(asyncio.tasks, "_swap_current_task", None)
    task = None if swap is None else swap(loop, None)
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)
        asyncio.set_event_loop(loop)
        if swap is not None:
            swap(loop, task)
