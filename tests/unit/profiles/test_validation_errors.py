"""What is reported of the mistakes in a profile, and what loading one costs."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import pytest

from remote_runtime import profiles
from remote_runtime.core.errors import ProfileError, UsageError
from remote_runtime.core.profile import AttachSettings, ExtraForward, GceTarget, Profile, SshTarget

LOCAL = "version: 1\ntarget: {kind: local}\n"


def complaints(folder: Path, text: str | bytes) -> list[str]:
    """The complaints about a profile with this text, without the file's name."""
    path = folder / "p.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UsageError) as caught:
        profiles.load(str(path))
    assert caught.value.code == "profile-invalid"
    lines = caught.value.why.splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


def read(folder: Path, text: str) -> Profile:
    path = folder / "p.yaml"
    path.write_text(text)
    return profiles.load(str(path))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("version: 1\ntarget: {kind: gce, instanc: a}\n", "target.instanc"),
        ("version: 1\ntarget: {kind: gce, lables: {a: b}}\n", "target.lables"),
        ("version: 1\ntarget: {kind: ssh, hots: a}\n", "target.hots"),
        ("vrsion: 1\ntarget: {kind: local}\n", "vrsion"),
    ],
)
def test_a_misspelt_key_is_one_mistake(tmp_path: Path, text: str, meant: str) -> None:
    (told,) = complaints(tmp_path, text)
    assert f" {meant}: unknown key, did you mean" in told


def test_all_mistakes_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    text = (
        "version: 1\ntarget:\n  kind: gce\n  instnce: x\n  instance: Bad_Name\nssh:\n  port: '22'\n  host_key: off\n"
        "on_down: {instance: erase}\n"
    )
    told = complaints(tmp_path, text)
    assert [line.split(": ")[0] + ":" + line.split(": ")[1] for line in told] == [
        "4:target.instnce", "5:target.instance", "7:ssh.port", "8:ssh.host_key", "9:on_down.instance",
    ]  # fmt: skip
    assert "did you mean `instance`?" in told[0]
    assert "in quotes" in told[2]
    assert "YAML boolean" in told[3]
    assert told[4].endswith("expected `keep`, `stop`, `suspend` or `delete`, got `erase`")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: expected `version` and `target`, got an empty file"),
        ("# only a comment\n", "1: expected `version` and `target`, got an empty file"),
        ("version: 1\ntarget: [\n", "3: not valid YAML: "),
        ("version: 1\n\ttarget: x\n", "2: not valid YAML: "),
        ("version: 1\nssh: {user: *nobody}\n", "2: not valid YAML: found undefined alias"),
        ("version: 1\n---\nversion: 1\n", "2: not valid YAML: but found another document"),
        ("version: 1\nssh:\n  user: a\x07b\n", "3: not valid YAML: a control character"),
        ("- a\n", "1: expected `key: value` lines, got a list"),
        ("just words\n", "1: expected `key: value` lines, got text"),
        ("[" * 5000, "1: expected three levels of keys, got many more"),
        (b"version: 1\nssh: {user: \xff}\n", "2: expected UTF-8, got other bytes"),
        (b"#" * (1 << 20) + b"#", "1: expected a file of at most 1 MiB"),
        (
            "version: 1\ntarget: !!python/object:os.system {kind: local}\n",
            "2: target: expected `key: value` lines, got a",
        ),
        (
            "version: 1\ntarget: &a {kind: local, b: *a}\n",
            "1: expected three levels of keys, got more, or an alias",
        ),
    ],
)
def test_a_broken_file_is_one_complaint_with_its_line(tmp_path: Path, text: str | bytes, expected: str) -> None:
    (told,) = complaints(tmp_path, text)
    assert told.startswith(expected)


def test_a_bomb_of_aliases_is_refused_quickly(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))
    started = time.monotonic()
    (told,) = complaints(tmp_path, bomb)
    assert "at most 10000 values" in told
    assert time.monotonic() - started < 20


def test_thousands_of_mistakes_are_counted_and_cut_off(tmp_path: Path) -> None:
    told_path = tmp_path / "p.yaml"
    told_path.write_text(LOCAL + "".join(f"key{n}: 1\n" for n in range(3000)))
    with pytest.raises(UsageError, match="3000 problems in") as caught:
        profiles.load(str(told_path))
    assert len(caught.value.why.splitlines()) == 51


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("version: 2", "version: expected `1`, got `2`; upgrade remote-runtime"),
        ("version: '1'", "version: expected `1`, got `1` in quotes"),
        ("target: {kind: gec}", "expected `gce`, `ssh`, `local` or `demo`, got `gec`; did you mean `gce`?"),
        ("ssh: {host_key: verifid}", "expected `verified` or `accept-new`, got `verifid`; did you mean `verified`?"),
        ("jupyter: {pyton: auto}", "jupyter.pyton: unknown key, did you mean `python`?"),
        ("forward: {xyz: 1}", "forward.xyz: unknown key; expected `local_port`, "),
        ("target: {}", "target.kind: required key is missing; expected `gce`, `ssh`, `local` or `demo`"),
        ("target: {kind: local, host: x}", "target.host: requires a target of kind `ssh`"),
        ("target: {kind: ssh}", "target.host: required key is missing: a host name, "),
        ("target: {kind: ssh, host: me@box}", "got `me@box`; set the login name in `ssh.user`"),
        ("target: {kind: ssh, host: 'box:22'}", "got `box:22`; set the port in `target.port`"),
        ("target: {kind: ssh, host: -oProxyCommand=x}", "a Host of ~/.ssh/config, got `-oProxy"),
        ("target: {kind: ssh, host: x, zone: us-central1-a}", "target.zone: requires a target of kind `gce`"),
        ("target: {kind: ssh, host: x, port: 2200}\nssh: {port: 22}", "conflicts with `target.port` 2200"),
        ("target: {kind: gce}", "target.instance: required key is missing; set `instance` or `labels`"),
        ("target: {kind: gce, instance: a, labels: {b: c}}", "target.labels: expected either `instance` or "),
        ("target: {kind: gce, labels: {Team: x}}", "target.labels.Team: expected lowercase letters, digits, "),
        ("target: {kind: gce, labels: {team: 'a) OR (x'}}", "target.labels.team: "),
        ("target: {kind: gce, instance: a, project: 123456}", "target.project: expected text, got a number; put it "),
        ("target: {kind: gce, instance: a, project: My-Project}", "a project ID"),
        ("target: {kind: gce, instance: a, zone: us-central1}", "got the region `us-central1`"),
        ("target: {kind: gce, instance: a, start: yes}", "expected `true` or `false`, got `yes`"),
        ("ssh: {user: }", ""),
        ("ssh: {user: 'a b'}", "ssh.user: expected a login name on the machine, got `a b`"),
        ("ssh: {port: 70000}", "ssh.port: expected a port from 1 to 65535, got `70000`"),
        ("ssh: {port: 0x16}", "expected a port from 1 to 65535, got `0x16`"),
        ("ssh: {port: [22]}", "expected a port from 1 to 65535, got a list"),
        ("ssh: {keepalive: 15}", "expected a duration such as `15s`, `5m`, `2h` or `1d`, got `15` without a unit"),
        ("ssh: {keepalive: 0s}", "expected a duration from `1s` to `1h`, got `0s`"),
        ("ssh: {keepalive: }", "got no value; remove the line to use the default"),
        ("ssh: {key_lifetime: 10s}", "key_lifetime"),
        ("ssh: {host_key: false}", "expected `verified` or `accept-new`, got `false` (a YAML boolean)"),
        ("ssh: {identity_file: keys/id}", "an absolute path or one that starts with `~`"),
        ("ssh: nothing", "ssh: expected `key: value` lines, got text"),
        ("jupyter: {attach: {token_file: ~/t}}", "jupyter.attach.port: required key is missing"),
        ("jupyter: {attach: {port: 8888, token_file: t}}", "jupyter.attach.token_file"),
        ("jupyter: {attach: {port: 8888}, env: {A: b}}", "jupyter.env: has no effect with `jupyter.attach`"),
        ("jupyter: {python: -c}", "the interpreter's path"),
        ("jupyter: {working_dir: \"/a\\nb\"}", "control character or a line break"),
        ("jupyter: {env: {JUPYTER_TOKEN: x}}", "jupyter.env.JUPYTER_TOKEN: `JUPYTER_TOKEN` can't be set"),
        ("jupyter: {env: {A: 1}}", "jupyter.env.A: expected text, got a number; put it in quotes"),
        ("jupyter: {env: [A]}", "jupyter.env: expected `key: value` lines, got a list"),
        ("jupyter: {args: --debug}", "jupyter.args: expected a list such as `[first, second]`, got text"),
        ("jupyter: {args: [--debug, --ip=0.0.0.0]}", "jupyter.args[1]: `--ip` is managed by remote-runtime"),
        ("jupyter: {packages: [--index-url=http://evil]}", "jupyter.packages[0]: "),
        ("forward: {local_port: [9, 8]}", "expected `[8, 9]`, got `[9, 8]`"),
        ("forward: {local_port: [9]}", "expected `auto`, a port, or `[first, last]`, got a list of 1"),
        ("forward: {local_port: any}", "expected `auto` or a port from 1 to 65535, got `any`"),
        ("forward: {engine: slow}", "expected `auto`, `fast` or `sshtunnel`, got `slow`"),
        ("forward: {extra: [22:22]}", "forward.extra[0]: expected text, got a number (in YAML); put it in quotes"),
        ("forward: {extra: ['1:2:3:4']}", "expected `PORT`, `LOCAL:REMOTE`, `LOCAL:HOST:REMOTE` or `LOCAL:/SOCKET`"),
        ("forward: {extra: ['0:80']}", "got `0:80`"),
        ("forward: {extra: ['80:80', '80:81']}", "expected different local ports, got `80` twice"),
        ("forward: {local_port: 80, extra: ['80:81']}", "expected different local ports, got `80` twice"),
        ("colab: {origins: []}", "colab.origins: expected 1 to 16 entries, got 0"),
        ("on_down: {instance: stop}", "on_down: `instance: stop` requires a target of kind `gce`; use `keep`"),
        ("idle: {after: 1s}", "expected a duration from `1m` to `30d`, got `1s`"),
        ("jupyter: {attach: {port: 1}}\nidle: {after: 2h, do: stop-server}", "idle: `after` requires a server that "),
        ("timeouts: {ssh: never}", "got `never`"),
        ("ssh: {user: a, user: b}", "ssh.user: duplicate key, first set in line"),
        ("{a: b}: c", "expected a key, got a mapping"),
        ("on: true", "on: unknown key"),
        ("time-outs: {}", "did you mean `timeouts`?"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_key_and_what_is_allowed(tmp_path: Path, line: str, expected: str) -> None:
    given = line.split(":")[0]
    rest = "".join(f"{part}\n" for part in LOCAL.splitlines() if not part.startswith(f"{given}:"))
    if not expected:
        assert read(tmp_path, rest + line) is not None
        return
    (told,) = complaints(tmp_path, rest + line)
    assert expected in told


@pytest.mark.parametrize(
    "origin",
    [
        "*", "null", "colab.research.google.com", "https://a.com/", "https://a.com/x", "http://a.com", "https://A.com",
        "https://a.com:443", "https://*.a.com", "https://u@a.com", "https://a.com?x", "ftp://a.com", "https://a.com:0",
        "http://localhost.evil.com", "https://a.com,https://b.com", "https://", "http://127.0.0.1.evil.com",
    ],
)  # fmt: skip
def test_an_origin_that_is_not_exact_is_refused(tmp_path: Path, origin: str) -> None:
    (told,) = complaints(tmp_path, f"{LOCAL}colab: {{origins: ['{origin}']}}\n")
    assert told.startswith("3: colab.origins[0]: ")


def test_exact_https_origins_and_loopback_ones_are_accepted(tmp_path: Path) -> None:
    origins = [
        "https://colab.research.google.com",
        "https://a.b:8443",
        "http://localhost:3000",
        "http://127.0.0.1",
        "http://[::1]:1",
    ]
    loaded = read(tmp_path, f"{LOCAL}colab: {{origins: {origins}}}\n")
    assert list(loaded.colab.origins) == origins


def test_complaints_show_no_value_of_a_variable_and_no_value_of_an_option(tmp_path: Path) -> None:
    text = f"{LOCAL}jupyter: {{env: {{JUPYTER_TOKEN: hunter2, B: 4711}}, args: [--ServerApp.token=hunter2]}}\n"
    told = "\n".join(complaints(tmp_path, text))
    assert "hunter2" not in told
    assert "4711" not in told


def test_complaints_carry_no_terminal_sequences_and_no_line_breaks(tmp_path: Path) -> None:
    (told,) = complaints(tmp_path, LOCAL + '"a\\e[31m\\nb": 1\n')
    assert "\x1b" not in told


def test_every_key_is_read_into_its_place(tmp_path: Path) -> None:
    text = """
version: 1
target: {kind: gce, project: "example.com:proj", zone: europe-west12-a, labels: {team: vision}, connect: internal,
  start: false}
ssh: {user: me, port: 2222, identity_file: ~/.ssh/id, host_key: accept-new, key_lifetime: 24h, keepalive: 30s}
jupyter: {python: /opt/py/bin/python, install: never, working_dir: /data, port: 9999, env: {NO: "1"},
  args: [--debug], packages: [numpy==2.*]}
forward: {local_port: [8888, 8898], engine: sshtunnel, extra: ["6006:6006", "1:db.internal:5432", "2:[::1]:3",
  "4:/run/s"]}
on_down: {server: keep, instance: suspend}
idle: {after: never, do: stop-server}
timeouts: {instance: 1d, ssh: 2h, jupyter: 3m, ready: 4s}
"""
    loaded = read(tmp_path, text)
    assert loaded.name == "p"
    assert loaded.path == tmp_path / "p.yaml"
    assert loaded.target == GceTarget(
        labels={"team": "vision"}, project="example.com:proj", zone="europe-west12-a", connect="internal", start=False
    )
    assert (loaded.ssh.user, loaded.ssh.port, loaded.ssh.host_key) == ("me", 2222, "accept-new")
    assert (loaded.ssh.key_lifetime_s, loaded.ssh.keepalive_s) == (86400.0, 30.0)
    assert (loaded.jupyter.port, loaded.jupyter.env, loaded.jupyter.args) == (9999, {"NO": "1"}, ("--debug",))
    assert loaded.forward.local_port == (8888, 8898)
    assert loaded.forward.extra == (
        ExtraForward(6006, 6006), ExtraForward(1, 5432, "db.internal"), ExtraForward(2, 3, "::1"),
        ExtraForward(4, 0, "/run/s"),
    )  # fmt: skip
    assert (loaded.timeouts.instance_s, loaded.timeouts.ssh_s, loaded.timeouts.ready_s) == (86400.0, 7200.0, 4.0)


def test_left_out_and_emptied_sections_mean_the_defaults(tmp_path: Path) -> None:
    emptied = "ssh:\njupyter: {working_dir: ~, env: , args: , attach: null}\nforward:\ncolab:\ntimeouts:\n"
    loaded = read(tmp_path, LOCAL + emptied)
    assert loaded == read(tmp_path, LOCAL)
    assert loaded.jupyter.working_dir == "~"


def test_the_host_of_an_ssh_target_may_be_an_alias_a_name_or_an_address(tmp_path: Path) -> None:
    for host in ("my_box", "vm.example.com", "10.0.0.1", "fe80::1%eth0", "::1"):
        assert read(tmp_path, f"version: 1\ntarget: {{kind: ssh, host: '{host}', port: 22}}\n").target == SshTarget(
            host, 22
        )


def test_a_server_to_attach_to_is_named_by_its_port_alone_or_with_its_token_file(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    for attach, meant in (
        ("{port: 8888}", AttachSettings(8888)),
        ("{port: 8888, token_file: ~/t}", AttachSettings(8888, "~/t")),
    ):
        path.write_text(f"version: 1\ntarget: {{kind: local}}\njupyter: {{attach: {attach}, args: []}}\n")
        profile = profiles.load(str(path))
        assert profile.jupyter.attach == meant
        assert profiles.parse_profile(profile.name, str(path), profiles.to_yaml(profile)).jupyter == profile.jupyter


def test_a_small_profile_loads_within_30_ms_once_yaml_is_imported(tmp_path: Path) -> None:
    read(tmp_path, LOCAL)
    durations_s = []
    for _ in range(5):
        started = time.perf_counter()
        profiles.load(str(tmp_path / "p.yaml"))
        durations_s.append(time.perf_counter() - started)
    assert min(durations_s) < 0.030


@pytest.mark.parametrize(
    "lines",
    [
        "jupyter: {attach: {port: 8888, token_file: hunter2}}",
        "jupyter: {attach: {port: 8888, token_file: 'http://localhost:8888/?token=hunter2'}}",
        "ssh: {identity_file: hunter2}",
        "ssh: {user: 'me:hunter2@host'}",
        "colab: {origins: ['https://me:hunter2@colab.research.google.com']}",
        "jupyter: {env: {'HF_TOKEN=hunter2': 1}}",
        "jupyter: {env: {HF_TOKEN: *hunter2}}",
        "jupyter: {env: {HF_TOKEN: !hunter2}}",
        "jupyter: {env: {HF_TOKEN: !hunter2!x}}",
        "jupyter: {env: {A: &hunter2 a, B: &hunter2 b}}",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_shown(lines: str, tmp_path: Path) -> None:
    said = complaints_of(tmp_path, "version: 1\ntarget: {kind: ssh, host: box}\n" + lines)
    assert "hunter2" not in said


@pytest.mark.parametrize("host", ["ssh://me:hunter2@box", "me:hunter2@box"])
def test_a_password_in_the_host_is_not_shown(host: str, tmp_path: Path) -> None:
    assert "hunter2" not in complaints_of(tmp_path, f"version: 1\ntarget: {{kind: ssh, host: '{host}'}}\n")


def complaints_of(folder: Path, text: str) -> str:
    (folder / "p.yaml").write_text(text)
    with pytest.raises(ProfileError) as caught:
        profiles.load(str(folder / "p.yaml"))
    return str(caught.value.as_dict()) + caught.value.excerpt


def test_each_problem_is_data_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "version: 1\ntarget:\n  kind: gce\n  instance: My_VM\nssh: {port: 70000, usr: me}\n"
    )
    with pytest.raises(ProfileError) as caught:
        profiles.load(str(tmp_path / "p.yaml"))
    problems = caught.value.as_dict()["problems"]
    assert {problem["file"] for problem in problems} == {str(tmp_path / "p.yaml")}
    assert [(problem["line"], problem["column"], problem["key"]) for problem in problems] == [
        (4, 13, "target.instance"), (5, 13, "ssh.port"), (5, 20, "ssh.usr"),
    ]  # fmt: skip
    assert problems[1]["message"] == "expected a port from 1 to 65535, got `70000`"


@pytest.mark.parametrize(
    ("text", "excerpt", "marked"),
    [
        ("version: 1\ntarget:\n  kind: gec\n", "  kind: gec", "gec"),
        ("version: 1\ntarget: {kind: gec}\n", "target: {kind: gec", "gec"),
        (f"{LOCAL}forward:\n  extra:\n  - '6006:'\n", "  - '6006:'", "'6006:'"),
        (f"{LOCAL}shh: {{user: me}}\n", "shh", "shh"),
        ("version: 1\n", "", ""),
        (f"{LOCAL}jupyter: {{env: {{A: hunter2, B: 1}}}}\n", "", ""),
        (f"{LOCAL}jupyter: {{env: {{A: hunter2}}, prt: 1}}\n", "", ""),
    ],
)
def test_the_excerpt_ends_with_what_is_wrong_and_shows_no_other_value(
    tmp_path: Path, text: str, excerpt: str, marked: str
) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ProfileError) as caught:
        profiles.load(str(tmp_path / "p.yaml"))
    (problem,) = caught.value.problems
    assert caught.value.excerpt == excerpt
    assert excerpt[problem.column - 1 : problem.end_column - 1] == marked


@pytest.mark.parametrize("given", ["./a.yaml", "a folder/my.yaml"])
def test_the_fix_names_the_path_as_it_was_given_and_can_be_typed(tmp_path: Path, given: str) -> None:
    (tmp_path / given).parent.mkdir(exist_ok=True)
    (tmp_path / given).write_text("version: 1\n")
    with pytest.raises(ProfileError) as caught:
        profiles.load(given, cwd=tmp_path)
    command = caught.value.hint.split("`")[1]
    assert shlex.split(command) == ["remote-runtime", "profiles", "check", given]
    assert caught.value.what == f"1 problem in {given}"
