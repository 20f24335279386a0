"""What a hostile or confused machine answers, given to the front door by a connection that is no machine at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from remote_runtime.core.callbacks import CommandResult
from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import MachineError
from remote_runtime.core.model import Server
from remote_runtime.core.profile import COLAB_ORIGIN, JupyterSettings
from remote_runtime.jupyter import server as jupyter
from tests.support.fakes import request_of

WANTED = jupyter.ServerSpec("work", "laptop1", JupyterSettings(), (COLAB_ORIGIN,))
BRIDGE = jupyter.Bridge("0.1.0", {"remote_runtime_bridge/__init__.py": ""})
GOOD: dict[str, object] = {
    "port": 4242, "socket": None, "pid": 77, "token": "ab" * 24, "directory": "/home/me/servers/work-laptop1",
    "started_by_us": True, "jupyter_server": "2.14.0", "bridge": "0.1.0", "python": "3.12.3",
    "interpreter": "/opt/conda/bin/python", "notes": [], "needs_restart": [], "gpus": [], "kernelspecs": [],
}  # fmt: skip


ENDED = CommandResult(0)


class Machine:
    """Answers the launcher's question with ``lines``; ``{marker}`` stands for the marker that the orders name."""

    def __init__(self, *lines: str, outcome: CommandResult = ENDED, without: Sequence[str] = ()) -> None:
        self.lines = lines
        self.outcome = outcome
        self.without = without
        self.commands: list[tuple[str, ...]] = []
        self.orders: dict[str, Any] = {}

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes,
        on_line: Callable[[str], bool | None],
        deadline: Deadline,
        reply: Callable[[], bytes | None] | None = None,
    ) -> CommandResult:
        self.commands.append(tuple(command))
        if command[0] in self.without:
            return CommandResult(127, f"{command[0]}: command not found")
        assert stdin == b"", "nothing is sent before Python has answered"
        self.orders = request_of(command, on_line, reply)
        for line in self.lines:
            on_line(line.replace("{marker}", self.orders["marker"]))
        return self.outcome


def ensure(machine: Machine, told: list[str] | None = None) -> Server:
    heard = [] if told is None else told
    return jupyter.ensure(
        machine.run, WANTED, progress=lambda text: heard.append(text), deadline=Deadline(30), bridge=BRIDGE
    )


def result(**changes: object) -> str:
    return "{marker}" + json.dumps({"result": {**GOOD, **changes}})


def test_the_command_is_the_documented_one_and_carries_no_secret() -> None:
    machine = Machine(result())
    ensure(machine)
    ((*python, program),) = machine.commands
    assert python == ["python3", "-E", "-S", "-c"]
    assert machine.orders["marker"].strip(":") not in program
    assert not set("'\\!\n") & set(program), "some shell would read it otherwise in single quotes"


def test_lines_that_login_files_print_are_ignored() -> None:
    server = ensure(Machine("Welcome", '{"result": {"port": 1}}', "rr-guess:{}", result(), "bye"))
    assert (server.port, server.pid, server.token.reveal()) == (4242, 77, "ab" * 24)


def test_progress_is_told_without_what_a_terminal_would_obey() -> None:
    told: list[str] = []
    ensure(
        Machine("{marker}" + json.dumps({"say": "\x1b]0;pwned\x07Installing\r\nJupyter" + "x" * 999}), result()), told
    )
    assert told[0].startswith("Installing Jupyterxxx")
    assert len(told[0]) <= 200


@pytest.mark.parametrize(
    "changes",
    [
        {"port": 0}, {"port": 70000}, {"port": "4242"}, {"pid": 1}, {"pid": -5}, {"pid": 2**40}, {"token": ""},
        {"token": "ab" * 23 + "\n"}, {"token": None}, {"directory": "/x\x1b[2J"}, {"directory": "/" * 5000},
        {"jupyter_server": "2\n"}, {"python": ["3"]}, {"interpreter": ""}, {"started_by_us": "yes"}, {"notes": "x"},
        {"needs_restart": {}},
        {"gpus": {}},
        {"gpus": [{"name": "Tesla T4", "memory_bytes": -1, "driver": "580"}]},
        {"kernelspecs": None},
        {"kernelspecs": [{"name": "python3", "display_name": "Python 3", "language": 3}]},
    ],
)  # fmt: skip
def test_a_server_that_is_not_described_as_ours_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MachineError) as caught:
        ensure(Machine(result(**changes)))
    assert caught.value.code == "machine-answer-invalid"


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("{marker}",),
        ("{marker}not JSON",),
        ("{marker}" + "[" * 100_000,),
        ("{marker}[]",),
        ('{marker}{"say": 5}',),
        ('{marker}{"result": 5}',),
        ('{marker}{"surprise": {}}',),
        ('{marker}{"error": {"code": "rm -rf"}}',),
        ('{marker}{"error": {"code": ["disk-full"]}}',),
        (result(), result()),
        ('{marker}{"tick": 1}',) * 30_000,
    ],
)
def test_an_answer_that_our_launcher_never_gives_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(MachineError) as caught:
        ensure(Machine(*lines))
    assert caught.value.code == "machine-answer-invalid"


def test_a_connection_lost_in_the_middle_is_said_with_what_the_machine_wrote_last() -> None:
    with pytest.raises(MachineError, match=r"connection was lost.*Killed"):
        ensure(Machine('{marker}{"tick": 1}', outcome=CommandResult(None, "\x1b[1mKilled")))


def test_an_error_of_the_launcher_arrives_cleaned_and_bounded() -> None:
    error = {"code": "disk-full", "what": "no\nspace\x1b[5m", "why": "y" * 99_999, "hint": "h" * 999}
    with pytest.raises(MachineError) as caught:
        ensure(Machine("{marker}" + json.dumps({"error": error}), outcome=CommandResult(1)))
    assert (caught.value.code, caught.value.what) == ("disk-full", "no space")
    assert len(caught.value.why) <= 8000
    assert len(caught.value.hint) <= 200
    assert caught.value.hint.startswith("The machine suggests: hhh")


def test_notes_of_the_machine_are_cleaned_and_few() -> None:
    server = ensure(Machine(result(notes=["\x1b[31mred"] * 500, needs_restart=["jupyter.env"])))
    assert server.notes[0] == "red"
    assert len(server.notes) == 21
    assert server.notes[-1].startswith("jupyter.env has changed")


def test_a_path_that_is_only_shown_is_cut() -> None:
    assert len(ensure(Machine(result(interpreter="/" + "x" * 4000))).interpreter) <= 200


def test_other_pythons_are_tried_in_one_more_command_when_python3_does_not_answer() -> None:
    machine = Machine(result(), without=("python3",))
    ensure(machine)
    assert [command[0] for command in machine.commands] == ["python3", "/bin/sh"]
    assert {"python3", "python3.8", "python3.15", "/opt/conda/bin/python3"} <= set(machine.commands[1])


def test_a_name_that_leaves_the_folder_never_reaches_the_machine() -> None:
    machine = Machine(result())
    with pytest.raises(ValueError, match="expected a server directory"):
        jupyter.stop(machine.run, jupyter.ServerSpec("../../x", "y", JupyterSettings(), ()), deadline=Deadline(5))
    assert machine.commands == []


@pytest.mark.parametrize("answer", [{"stopped": "maybe"}, {}, {"text": 5, "offset": 0}, {"text": "x", "offset": -1}])
def test_other_answers_are_checked_as_well(answer: dict[str, object]) -> None:
    machine = Machine("{marker}" + json.dumps({"result": answer}))
    with pytest.raises(MachineError, match="invalid reply"):
        jupyter.stop(machine.run, WANTED, deadline=Deadline(5))
    with pytest.raises(MachineError, match="invalid reply"):
        jupyter.read_log(machine.run, WANTED, offset=0, deadline=Deadline(5))
    with pytest.raises(MachineError, match="invalid reply"):
        jupyter.purge(machine.run, JupyterSettings(), deadline=Deadline(5))


def test_the_orders_carry_no_more_time_than_the_client_has() -> None:
    machine = Machine(result())
    ensure(machine)
    assert 0 < machine.orders["within_s"] < 30
