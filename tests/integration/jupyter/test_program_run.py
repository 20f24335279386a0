"""Programs in a kernel of a real Jupyter server, held against Python itself."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import MachineError
from remote_runtime.jupyter import running_kernels as kernels
from remote_runtime.jupyter.health import Endpoint
from remote_runtime.jupyter.kernel_client import KernelConnection
from remote_runtime.jupyter.program import KernelProgram
from remote_runtime.jupyter.program_client import ProgramEnd
from remote_runtime.jupyter.program_run import ProgramRun
from tests.support.clients.output_reader import wait_for_text
from tests.support.environment.waiting import eventually
from tests.support.environment.world import Done
from tests.support.programs.scripts import ARGUMENT, INPUT, SCRIPTS, by_python
from tests.support.servers.jupyter import JupyterServer

LIMIT_S = 60.0


@pytest.fixture(scope="module")
def jupyter(recording_jupyter: JupyterServer) -> JupyterServer:
    return recording_jupyter


@pytest.fixture(scope="module")
def kernel(endpoint: Endpoint) -> str:
    return kernels.named_session_kernel(endpoint, "", Deadline(LIMIT_S)).id


class Reader:
    """Keeps what a program prints. ``delay_s``: before it reads more."""

    def __init__(self, content: bytes = b"") -> None:
        self.output: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self.displays: list[Mapping[str, Any]] = []
        self.notes: list[str] = []
        self.passwords: list[str] = []
        self.is_closed = False
        self._input = content

    def write(self, name: str, content: bytes) -> None:
        if self.is_closed:
            raise BrokenPipeError
        self.output[name] += content

    def display(self, kind: str, content: Mapping[str, Any]) -> None:
        self.displays.append(content)

    def read(self, max_bytes: int) -> bytes:
        content, self._input = self._input[:max_bytes], self._input[max_bytes:]
        return content

    def read_password(self, prompt: str) -> bytes:
        self.passwords.append(prompt)
        return b"secret\n"

    def note(self, text: str) -> None:
        self.notes.append(text)


def run(
    endpoint: Endpoint,
    kernel: str,
    program: KernelProgram | str,
    reader: Reader,
    cancelled: threading.Event | None = None,
) -> ProgramEnd:
    program = KernelProgram(program) if isinstance(program, str) else program
    return ProgramRun(endpoint, kernel, program, reader, cancelled or threading.Event()).run()


def test_scripts_print_fail_and_exit_as_with_python(jupyter: JupyterServer, endpoint: Endpoint, kernel: str) -> None:
    different = {}
    for name, text in SCRIPTS.items():
        path = jupyter.root_dir / "script.py"
        path.write_text(text)
        expected, reader = by_python(path, jupyter.root_dir), Reader(INPUT)
        path.unlink()  # it need not be on the machine
        ended = run(endpoint, kernel, KernelProgram(text, "script.py", arguments=(ARGUMENT,)), reader)
        got = Done(ended.status, *(reader.output[stream].decode("latin-1") for stream in ("stdout", "stderr")))
        if got != expected:
            different[name] = (got, expected)
    assert different == {}
    assert len(SCRIPTS) >= 10


def test_a_greeting_that_is_lost_is_sent_again(endpoint: Endpoint, kernel: str) -> None:
    """Jupyter connects to the channels of a new kernel one after the other."""
    program, connection = KernelProgram("print('here')"), KernelConnection(endpoint, kernel)
    connection.open(Deadline(LIMIT_S))
    try:
        connection.execute(program.request_code(), silent=True, number=program.id)
        greetings = 0
        while greetings < 3:
            message = connection.receive(LIMIT_S)
            assert message is not None
            greetings += message.content.get("op") == "hello"
        leaving = {"value": "", "remote_runtime": {"op": "leave", "run": program.id}}
        connection.send("input_reply", "stdin", leaving)
    finally:
        connection.close()
    reader = Reader()
    run(endpoint, kernel, "print('next')", reader)
    assert reader.output["stdout"] == b"next\n"


def test_state_stays_between_programs_and_nothing_of_ours_does(endpoint: Endpoint, kernel: str) -> None:
    run(endpoint, kernel, "kept = 1\nimport sys; sys.argv.append('lost')", Reader())
    again, reader = kernels.named_session_kernel(endpoint, "", Deadline(LIMIT_S)), Reader()
    assert (again.id, again.is_new) == (kernel, False)
    names = "sorted(name for name in globals() if not name.startswith('_'))"
    run(endpoint, again.id, f"import sys\nprint(kept, sys.argv, '__file__' in globals(), {names})", reader)
    printed = reader.output["stdout"].decode()
    assert printed.startswith("1 ['-c'] False ")
    assert not any(name in printed for name in ("PACKAGE", "SOURCES", "REQUEST", "module"))


def test_much_output_arrives_whole_and_holds_the_program_back(
    jupyter: JupyterServer, endpoint: Endpoint, kernel: str
) -> None:
    class SlowReader(Reader):
        def write(self, name: str, content: bytes) -> None:
            if not self.output[name]:
                time.sleep(1)
                progress.append((jupyter.root_dir / "progress").stat().st_size)
            super().write(name, content)

    progress: list[int] = []
    code = (
        "import subprocess\nwith open('progress', 'w') as file:\n"
        "    for number in range(20):\n        print(str(number % 10) * (1 << 20))\n"
        "        print('.', end='', file=file, flush=True)\n"
        "subprocess.run('head -c 3000000 /dev/zero | tr \"\\\\0\" y', shell=True)"
    )
    reader = SlowReader()
    assert run(endpoint, kernel, code, reader).status == 0
    expected = b"".join(b"%d" % (number % 10) * (1 << 20) + b"\n" for number in range(20)) + b"y" * 3_000_000
    assert hashlib.sha256(reader.output["stdout"]).digest() == hashlib.sha256(expected).digest()
    assert progress[0] < 8  # of 20 MiB, in a second without a reader


def test_a_reset_connection_loses_nothing(endpoint: Endpoint) -> None:
    kernel = kernels.start_kernel(endpoint, "", Deadline(LIMIT_S)).id
    sockets: list[socket.socket] = []

    def connect(timeout_s: float) -> socket.socket:
        sockets.append(socket.create_connection(("127.0.0.1", endpoint.port), timeout_s))
        return sockets[-1]

    class Cutter(Reader):
        def write(self, name: str, content: bytes) -> None:
            super().write(name, content)
            if len(cuts) < 3 and len(self.output[name]) > 20_000 * (len(cuts) + 1):
                cuts.append(len(self.output[name]))
                sockets[-1].shutdown(socket.SHUT_RDWR)

    cuts: list[int] = []
    code = "import time\nfor number in range(20000):\n    print(number)\n    if number % 200 == 0: time.sleep(0.01)"
    reader = Cutter(b"an answer\n")
    program = KernelProgram(code + "\nprint(input())\nraise SystemExit(7)")
    assert run(replace(endpoint, connect=connect), kernel, program, reader).status == 7
    expected = "".join(f"{number}\n" for number in range(20000)) + "an answer\n"
    assert reader.output["stdout"].decode() == expected
    assert len(cuts) == 3
    kernels.end_kernel(endpoint, kernel, Deadline(LIMIT_S))
    assert reader.notes == ["The connection to the kernel was reset: reconnecting"] * 3


def test_an_interrupt_ends_the_code_and_its_processes_or_what_it_does_instead(endpoint: Endpoint, kernel: str) -> None:
    def interrupted(code: str) -> tuple[ProgramEnd, str]:
        class Interrupter(Reader):
            def write(self, name: str, content: bytes) -> None:
                super().write(name, content)
                cancelled.set()

        cancelled, reader = threading.Event(), Interrupter()
        ended = run(endpoint, kernel, code, reader, cancelled)
        return ended, (reader.output["stdout"] + reader.output["stderr"]).decode()

    ended, printed = interrupted("import subprocess\nsubprocess.run('echo begin; sleep 60', shell=True)")
    assert (ended.status, ended.error and ended.error.name) == (130, "KeyboardInterrupt")
    assert printed.endswith("KeyboardInterrupt\n")
    ended, printed = interrupted(
        "try: print(1); __import__('time').sleep(60)\nexcept KeyboardInterrupt: print(2); exit(5)"
    )
    assert (ended.status, printed) == (5, "1\n2\n")
    assert interrupted("print('name?'); input()")[0].status == 130


def test_displays_come_in_order_and_passwords_are_asked_for(endpoint: Endpoint, kernel: str) -> None:
    code = (
        "from IPython.display import HTML, display\nimport getpass\nprint(1)\ndisplay(HTML('<b>2</b>'))\n"
        "print(getpass.getpass('Token: '))"
    )
    reader = Reader()
    run(endpoint, kernel, code, reader)
    assert [each["data"]["text/html"] for each in reader.displays] == ["<b>2</b>"]
    assert reader.passwords == ["Token:"]
    assert reader.output["stdout"] == b"1\nsecret\n"


def test_a_stream_that_is_not_read_is_closed_for_the_program(endpoint: Endpoint, kernel: str) -> None:
    reader = Reader()
    reader.is_closed = True
    ended = run(endpoint, kernel, "while True: print('y' * 1000)", reader)
    assert (ended.status, ended.error and ended.error.name) == (1, "BrokenPipeError")


def test_ipython_syntax_works_where_python_has_none(endpoint: Endpoint, kernel: str) -> None:
    reader = Reader()
    assert run(endpoint, kernel, "found = !echo from the shell\nprint(found)", reader).status == 0
    assert reader.output["stdout"] == b"['from the shell']\n"


def test_code_without_a_client_is_recorded_with_its_exit_status(
    jupyter: JupyterServer, endpoint: Endpoint, kernel: str
) -> None:
    program = KernelProgram("import sys\nprint('left')\nprint(sys.stdin.read() == '')\nsys.exit('failed')")
    ProgramRun(endpoint, kernel, program, Reader(), threading.Event()).detach()
    run(endpoint, kernel, "print('another')", Reader())  # waits for it, and takes nothing of it
    messages = [each for each in wait_for_text(jupyter, kernel, "failed") if each["request"] == program.id]
    assert messages[0]["content"]["code"] == program.code
    assert "".join(each["content"].get("text", "") for each in messages) == "left\nTrue\nfailed\n"
    assert messages[-1]["content"]["remote_runtime"] == {"status": 1, "error": None}


def test_who_leaves_gets_the_rest_in_the_record(jupyter: JupyterServer, endpoint: Endpoint, kernel: str) -> None:
    class Leaver(Reader):
        def write(self, name: str, content: bytes) -> None:
            super().write(name, content)
            has_printed.set()

    has_printed, program = (
        threading.Event(),
        KernelProgram("import time\nprint('seen')\ntime.sleep(1)\nprint('unseen')"),
    )
    left = ProgramRun(endpoint, kernel, program, Leaver(), threading.Event())
    thread = threading.Thread(target=left.run)
    thread.start()
    assert has_printed.wait(LIMIT_S)
    left.leave()
    messages = [each for each in wait_for_text(jupyter, kernel, "unseen") if each["request"] == program.id]
    assert "".join(each["content"].get("text", "") for each in messages) in ("unseen\n", "seen\nunseen\n")
    thread.join(LIMIT_S)


def test_a_kernel_that_ends_is_reported(endpoint: Endpoint) -> None:
    kernel = kernels.start_kernel(endpoint, "", Deadline(LIMIT_S)).id
    with pytest.raises(MachineError, match="ended while"):
        run(endpoint, kernel, "import os; os._exit(3)", Reader())
    kernels.end_kernel(endpoint, kernel, Deadline(LIMIT_S))
    eventually(lambda: not kernels.is_running(endpoint, kernel, Deadline(LIMIT_S)))
    with pytest.raises(MachineError, match="no such-spec"):
        kernels.start_kernel(endpoint, "no such-spec", Deadline(LIMIT_S))
