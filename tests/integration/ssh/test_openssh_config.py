"""~/.ssh/config: the same text before this program, with and without OpenSSH's client, and before that client."""

from __future__ import annotations

import itertools
import json
import os
import pwd
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from remote_runtime import ssh
from remote_runtime.core.errors import SshError
from remote_runtime.core.model import Instance
from remote_runtime.core.profile import SshSettings, SshTarget
from remote_runtime.ssh.files import config_options, openssh_config
from remote_runtime.ssh.files.ssh_config import parse_jump_host
from remote_runtime.ssh.proxy_command import start_proxy_command
from tests.support.environment.mounts import within_mount
from tests.support.environment.waiting import eventually

OPENSSH, OURS = "/usr/bin:/bin", "/nowhere"
PASSWD_HOME = pwd.getpwuid(os.getuid()).pw_dir


class Here:
    """A HOME with a configuration of its own."""

    def __init__(self, home: Path) -> None:
        (home / ".ssh").mkdir(mode=0o700)
        self.home = home
        self.environ = {"HOME": str(home), "PATH": OPENSSH, "WHERE": "some %h where", "EMPTY": ""}

    def write(self, text: str) -> None:
        (self.home / ".ssh" / "config").write_text(text)

    def resolve(self, host: str = "box", path: str = OPENSSH, user: str | None = None) -> tuple[Instance, SshSettings]:
        return ssh.resolve(SshTarget(host), SshSettings(user=user), environ={**self.environ, "PATH": path})

    def refused(self, host: str = "box", path: str = OPENSSH) -> SshError:
        with pytest.raises(SshError) as caught:
            self.resolve(host, path)
        assert caught.value.code == "ssh-config-unsupported"
        return caught.value

    def openssh_says(self, *words: str, host: str = "box") -> list[str]:
        """What ``ssh -v`` tells on the way to a host that it does not reach."""
        command = ["ssh", "-v", "-F", str(self.home / ".ssh" / "config"), "-oBatchMode=yes", *words, host, "true"]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False, timeout=20)
        return done.stderr.replace("\r", "").splitlines()


@pytest.fixture
def here(tmp_path: Path) -> Here:
    home = tmp_path / "home"
    home.mkdir()
    return Here(home)


@pytest.mark.parametrize(
    "value",
    [
        "~/keys/%h",
        "~/%n/%r@%h:%p",
        "%d/%u/%i",
        "/k/%L-%l",
        "/k/%C",
        "/k/%%h%%",
        '"/with blank/${WHERE}/x"',
        "/k/${EMPTY}%n${EMPTY}",
        "/k/%k",
        "/k/$WHERE",
    ],
)
@pytest.mark.parametrize("path", [OPENSSH, OURS])
def test_tokens_and_variables_of_a_path_are_what_openssh_makes_of_them(here: Here, value: str, path: str) -> None:
    text = f"Host box\n  HostName %h.example\n  Port 2201\n  User them\n  HostKeyAlias Known\n  IdentityFile {value}\n"
    here.write(f"{text}  CertificateFile {value}\n")
    _, settings = here.resolve(path=path)
    said = here.openssh_says("-oProxyCommand=false")
    (meant,) = {found[1] for line in said if (found := re.search(r"identity file (.*) type -?\d", line))}
    meant = re.sub(f"^{PASSWD_HOME}", str(here.home), meant)
    assert [name.replace("~", str(here.home), 1) for name in settings.identity_files] == [meant]
    assert settings.certificate_files == settings.identity_files


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("IdentityFile ~/%z", "%z"),
        ("IdentityFile ~/x%", "%"),
        ("IdentityFile ${NOWHERE}/x", "${NOWHERE}"),
        ("IdentityFile ${WHERE", "${WHERE"),
        ("CertificateFile ${NOWHERE}/x", "${NOWHERE}"),
        ("CertificateFile %T", "%T"),
        ("IdentityAgent ${NOWHERE}/x", "${NOWHERE}"),
        ("UserKnownHostsFile ${NOWHERE}/x", "${NOWHERE}"),
        ("ProxyJump %d", "%d"),
    ],
)
@pytest.mark.parametrize("path", [OPENSSH, OURS])
def test_what_has_no_value_is_refused_by_name_as_openssh_ends_then(
    here: Here, line: str, named: str, path: str
) -> None:
    here.write(f"Host box\n  HostName 127.0.0.1\n  Port 9\n  {line}\n")
    error = here.refused(path=path)
    assert named in error.what + error.why
    said = here.openssh_says(*([] if line.startswith("ProxyJump") else ["-oProxyCommand=false"]))
    assert any("expan" in line or "environment variable" in line for line in said), said


@pytest.mark.parametrize(
    "value",
    [
        "bast",
        "alice@corp.example@bast",
        "alice@corp.example@bast:2200",
        "ssh://alice%40corp@bast:2200",
        "me@[::1]:22",
        "%n.gate",
        "%r@gate:22",
        "a@b@first:7,second",
    ],
)
def test_a_jump_host_is_the_one_that_openssh_takes(here: Here, value: str) -> None:
    here.write(f"Host box\n  HostName 127.0.0.1\n  Port 9\n  User them\n  ProxyJump {value}\n")
    said = next(line for line in here.openssh_says() if "Setting implicit ProxyCommand" in line)
    words = shlex.split(said.partition("ProxyJump: ")[2])
    given = dict(itertools.pairwise(words))
    for path in (OPENSSH, OURS):
        *before, last = here.resolve(path=path)[1].proxy_jump
        user, host, port = parse_jump_host(last)
        meant = words[-1].replace("%n", "box").replace("%r", "them")
        assert (user, str(port or "")) == (given.get("-l", "").replace("%r", "them") or None, given.get("-p", ""))
        assert host == meant
        assert ",".join(before) == given.get("-J", "")


def test_a_proxy_command_is_given_what_openssh_gives_it(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", here.environ["WHERE"])
    told = here.home / "told"
    line = f"ProxyCommand sh -c \"echo %n %h %p %r %% '${{WHERE}}' $((1+1)) > {told}\""  # ssh ends what closes stdout
    here.write(f"Host box\n  HostName 10.255.255.1\n  Port 2201\n  User them\n  {line}\n")
    here.openssh_says()
    eventually(lambda: told.read_text().endswith("\n"))
    meant = told.read_text()
    assert meant.split()[:5] == ["box", "10.255.255.1", "2201", "them", "%"]
    for path in (OPENSSH, OURS):
        instance, settings = here.resolve(path=path)
        told.unlink()
        command = start_proxy_command(
            str(settings.proxy_command), instance.address, instance.port, "them", instance.name
        )
        eventually(lambda: told.exists() and told.read_text().endswith("\n"))
        command.close()
        assert told.read_text() == meant


@pytest.mark.parametrize(
    "text",
    [
        "Host box\n  Port 2222  # high\n  User 'a b'\n",
        "Host = box\nPORT=2222\nUser\tthem\n",
        'Host "box" other\n  HostName "%h.lab"\nHost *\n  HostName wrong\n  Port 7\n',
        "Host * !box\n  Port 1\nHost b?x\n  Port 2\nHost box\n  Port 3\n",
        "Match host box\n  Port 4\nMatch all\n  User them\n",
        "Host box\n  HostName real\nMatch host real\n  Port 5\nMatch originalhost box user nobody\n  Port 6\n",
        "Match !host other,box?\n  Port 8\n",
        f"Match localuser {pwd.getpwuid(os.getuid()).pw_name}\n  Port 9\n",
        'Match host other exec "touch made"\n  Port 1\nHost box\n  Port 2\n',
        "Include more other/*\nPort 10\n",
        "Host box\n  Include more\n  Port 11\nHost nobody\n  Include more\n",
        "Host nobody\n  Include more\nHost box\n  Port 12\n",
        'Host box\n  IdentityFile /a\n  IdentityFile "/b c"\n  CertificateFile /c\nHost *\n  IdentityFile /d\n',
        "Host box\n  ProxyJump none\n  ProxyCommand nc %h %p # not a comment\n",
        "Host box\n  ProxyCommand none\n  HostKeyAlias Real\n  AddressFamily inet6\n  IdentitiesOnly yes\n",
        "Host box\n  Ciphers aes256-ctr\n  MACs hmac-sha2-256\n  HostKeyAlgorithms ssh-ed25519,rsa-sha2-512\n",
        'Host box\n  RequiredRSASize 3000\n  SendEnv X Y\n  LocalForward 1 a:2\n  UserKnownHostsFile /a "/b"\n',
        "IgnoreUnknown use*,x\nHost box\n  UseKeychain yes\n  X y\n  Port 13\n",
        "Host box\n  StrictHostKeyChecking yes\n  GlobalKnownHostsFile none\n",
        "Host box\n  ProxyCommand nc %h %p\n  ProxyJump gate\n",
        "Host box\n  ProxyCommand none\n  ProxyJump gate\n",
        "Host box\n  ProxyJump None\nHost *\n  ProxyJump gate\n",
        "Host box\n  IdentityFile /a\n  IdentityFile /a\n  Include .\n",
        "  # a comment\n\n\nHost\tbox\n\tIdentityAgent none\n\tPort 14",
    ],
)
def test_without_openssh_the_same_is_read(here: Here, text: str) -> None:
    (here.home / ".ssh" / "more").write_text("User included\nHost box\n  Port 15\nHost nobody\n  Port 16\n")
    here.write(text.replace("Include more", f"Include {here.home}/.ssh/more"))

    def read(path: str) -> list[object]:
        instance, settings = here.resolve(path=path)
        files = [name for name in settings.known_hosts_files if not name.startswith(("/etc/ssh/", "~/.ssh/"))]
        lists = [
            getattr(settings.allowed_algorithms, name) if name in text else ()
            for name in ("ciphers", "macs", "host_keys", "Ciphers", "MACs", "HostKeyAlgorithms")
            if hasattr(settings.allowed_algorithms, name)
        ]
        own = settings.identity_files, settings.certificate_files, settings.identity_agent, settings.identities_only
        way = settings.proxy_jump, settings.proxy_command, settings.address_family, settings.updates_known_hosts
        bits = settings.allowed_algorithms.rsa_bits if "RequiredRSASize" in text else 0
        return [instance, settings.user, own, way, files, lists, bits]

    assert read(OURS) == read(OPENSSH)
    assert not list(here.home.rglob("made"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Match host box exec true\n", "exec"),
        ('Match host box !exec "false"\n', "exec"),
        ("Match exec true host box\n", "exec"),
        ("Match tagged x\n", "tagged"),
        ("Match localnetwork 10.0.0.0/8\n", "localnetwork"),
        ("Match final host box\n", "final"),
        ("Match canonical all\n", "canonical"),
        ("Match sessiontype shell\n", "sessiontype"),
        ("CanonicalizeHostname yes\n", "canonicalizehostname"),
        ("Porrt 22\n", "porrt"),
        ("Port high\n", "high"),
        ("RequiredRSASize large\n", "large"),
        ("AddressFamily inet5\n", "inet5"),
        ("IdentitiesOnly perhaps\n", "perhaps"),
        ("Port 99999\n", "99999"),
        ("Port\n", "port"),
        ("HostName %z\n", "%z"),
        ("Ciphers -aes256-ctr\n", "ciphers"),
        ("Include ~/.ssh/config\n", "include"),
        ('User "a\n', "user"),
        ("Match final host 10.0.0.1\nHost box\n  HostName 10.0.0.1\n", "final"),
        ("Match all host box\n", "all"),
        ("IdentityFile a b\n", "identityfile"),
        ('HostName ""\n', "hostname"),
        ("Port 22\0\n", "nul"),
        ("\u00a0Port 22\n", "not known"),
    ],
)
def test_without_openssh_nothing_is_guessed(here: Here, text: str, named: str) -> None:
    here.write(f"{text}  User foreign\n")
    error = here.refused(path=OURS)
    assert named in (error.what + error.why).lower()
    assert error.hint


AT = """
import json, sys
from remote_runtime import ssh
from remote_runtime.core.profile import SshSettings, SshTarget
for path in sys.argv[2:]:
    environ = {"HOME": sys.argv[1], "PATH": path}
    found = [ssh.resolve(SshTarget(host), SshSettings(), environ=environ)[0] for host in ("only-there", "box")]
    print(json.dumps([[each.address, each.port] for each in found]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a file that only one process sees is Linux's")
def test_the_systems_file_counts_where_home_is_another(here: Here, tmp_path: Path) -> None:
    (tmp_path / "system").write_text("Host only-there\n  HostName 10.0.0.1\nHost *\n  Port 7\n")
    here.home.rename(tmp_path / "a [b] home")
    here.home = tmp_path / "a [b] home"
    here.write("Host box\n  Port 8\n")
    within = within_mount(f"--bind {tmp_path}/system /etc/ssh/ssh_config")
    words = [*within, sys.executable, "-c", AT, str(here.home), OPENSSH, OURS]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        assert json.loads(line) == [["10.0.0.1", 7], ["box", 8]]


def test_blanks_and_apostrophes_in_a_list_of_files_are_told_apart_by_what_exists(tmp_path: Path) -> None:
    home = tmp_path / "José O'Neil"
    (home / ".ssh").mkdir(parents=True)
    first, second = home / ".ssh" / "known_hosts", home / ".ssh" / "known_hosts2"
    first.touch()
    assert str(first) in openssh_config.split_paths(f"{first} {second}", home)
    second.touch()
    third = tmp_path / "it's  here"
    third.touch()
    assert openssh_config.split_paths(f"{first} {third} {second} none", home) == [
        str(first),
        str(third),
        str(second),
        "none",
    ]
    assert openssh_config.split_paths("none", home) == ["none"]
    assert openssh_config.split_paths("", home) == []


@pytest.mark.parametrize("name", sorted(set(config_options.REFUSED) - {"RefuseConnection"}))
def test_what_is_refused_names_a_way_out_that_works_where_another_file_asks_for_it(here: Here, name: str) -> None:
    refused = config_options.REFUSED[name]
    value = {"PubkeyAuthentication": "no", "ProxyUseFdpass": "yes", "KnownHostsCommand": "/bin/true"}.get(name, "/x")
    everyone = f"Host *\n  {name} {value}\n"
    here.write(everyone)
    error = here.refused()
    assert name in error.why
    assert error.hint
    if found := re.search(rf"`({name} \w+)` under `(Host box)`", error.hint):
        here.write(f"{found[2]}\n  {found[1]}\n{everyone}")
        here.resolve()
    else:
        assert not refused.harmless_values


def test_every_option_that_openssh_prints_has_a_decision() -> None:
    done = subprocess.run(["ssh", "-G", "-F", "none", "box"], check=True, capture_output=True, text=True)
    printed = {line.split(" ")[0].lower() for line in done.stdout.splitlines()} - {"host"}
    assert len(printed) > 60
    assert sorted(printed - config_options.known_options()) == []
    groups = [
        config_options.option_names(config_options.HONOURED),
        config_options.option_names(config_options.NOT_USED),
        {name.lower() for name in config_options.REFUSED},
    ]
    assert sum(map(len, groups)) == len(config_options.known_options()), "one decision an option"


def test_options_that_narrow_are_honoured_and_others_are_of_no_use(here: Here) -> None:
    before = here.resolve()
    here.write(
        "Host box\n  ConnectTimeout 1\n  ServerAliveInterval 1\n  ServerAliveCountMax 1\n  VerifyHostKeyDNS no\n"
        "  ForwardAgent yes\n  SendEnv A\n  SetEnv B=1\n  RemoteCommand x\n  LocalForward 1 a:2\n  ControlMaster auto\n"
        "  ControlPath ~/.ssh/%C\n  Compression yes\n  BatchMode yes\n  PreferredAuthentications password\n"
    )
    assert here.resolve() == before
    here.write(
        "Host box\n  Ciphers aes256-ctr\n  MACs hmac-sha2-256\n  KexAlgorithms curve25519-sha256\n"
        "  HostKeyAlgorithms ssh-ed25519\n  PubkeyAcceptedAlgorithms ssh-ed25519\n  AddressFamily inet\n"
    )
    _, settings = here.resolve()
    only = settings.allowed_algorithms
    assert (only.ciphers, only.macs, only.kex) == (("aes256-ctr",), ("hmac-sha2-256",), ("curve25519-sha256",))
    assert (only.host_keys, only.public_keys) == (("ssh-ed25519",), ("ssh-ed25519",))
    assert settings.address_family == "inet"


def test_a_name_in_capitals_is_the_host_that_openssh_takes(here: Here) -> None:
    here.write("Host box\n  Port 4\n")
    theirs, ours = (here.resolve("BOX", path)[0] for path in (OPENSSH, OURS))
    assert (ours.address, ours.port) == (theirs.address, theirs.port) == ("box", 22)


def test_files_that_include_each_other_are_read_once_to_find_names(tmp_path: Path) -> None:
    folder = tmp_path / ".ssh" / "all"
    folder.mkdir(parents=True)
    (tmp_path / ".ssh" / "config").write_text("Include all/*\n")
    for number in range(12):
        (folder / str(number)).write_text(f"Include all/*\nHost h{number}\n")
    assert len(ssh.host_aliases({"HOME": str(tmp_path)})) == 12
