"""Runs a command for an SSH session, as sshd does.

The channel stays open until the command has ended and its output is closed by everyone who inherited it. A client that
goes away takes no process with it: its pipes are closed, its terminal hangs up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

import asyncssh

from .program import CHUNK_BYTES, Child, PipedChild, Program

MAX_DRAIN_S = 0.5


async def run_program(session: asyncssh.SSHServerProcess[bytes], program: Program) -> None:
    """Runs ``program`` until it has ended or the client has gone."""
    try:
        child = await _start(session, program)
    except OSError as error:
        session.stderr.write(f"{program.argv[0]}: {error.strerror}\n".encode())
        session.exit(126)
        return
    pairs = zip(child.outputs, (session.stdout, session.stderr), strict=False)
    output = asyncio.gather(*(_copy(*pair) for pair in pairs))
    feeding = asyncio.ensure_future(_feed(session, child))
    status = asyncio.ensure_future(child.status())
    gone = asyncio.ensure_future(session.channel.wait_closed())
    try:
        if child.output_ends_at_exit:
            await asyncio.wait((status, gone), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((output, gone), return_when=asyncio.FIRST_COMPLETED, timeout=MAX_DRAIN_S)
        else:
            await asyncio.wait((output, gone), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((status, gone), return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            child.hang_up()
        _send_exit_status(session, await asyncio.shield(status))
    except asyncio.CancelledError:
        child.kill()
        await status
        raise
    finally:
        child.hang_up()
        for task in (output, feeding, gone):
            task.cancel()
        await asyncio.gather(output, feeding, gone, return_exceptions=True)


async def _start(session: asyncssh.SSHServerProcess[bytes], program: Program) -> Child:
    if sys.platform != "win32" and session.term_type is not None:
        from .pty import PtyChild

        columns, rows = session.term_size[:2]
        return await PtyChild.start(program, columns, rows)
    return await PipedChild.start(program)


async def _copy(reader: asyncio.StreamReader, writer: asyncssh.SSHWriter[bytes]) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):  # the client has gone: `run_program` sees it too
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()


async def _feed(session: asyncssh.SSHServerProcess[bytes], child: Child) -> None:
    while True:
        try:
            data = await session.stdin.read(CHUNK_BYTES)
        except asyncssh.TerminalSizeChanged as change:
            child.resize(change.width, change.height)
            continue
        except asyncssh.SignalReceived as received:
            _signal(child, received.signal)
            continue
        except asyncssh.BreakReceived:
            continue
        except (OSError, asyncssh.Error):  # the client has gone: `run_program` sees it too
            return
        if not data:
            child.close_stdin()
            return
        with contextlib.suppress(OSError):  # it reads no more; what it writes may still matter
            child.write(data)
            await child.drain()


def _signal(child: Child, name: str) -> None:
    number = getattr(signal, f"SIG{name}", None)
    if number is not None:
        with contextlib.suppress(OSError):
            os.kill(child.pid, number)


def _send_exit_status(session: asyncssh.SSHServerProcess[bytes], status: int) -> None:
    """Does nothing if the client has gone."""
    if status >= 0:
        session.exit(status)
    else:
        session.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
