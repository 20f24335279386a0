"""Which key is offered, what is asked of the person, and how refusals are explained."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paramiko
import pytest

from remote_runtime import ssh
from remote_runtime.core.errors import SshError
from remote_runtime.core.profile import SshSettings
from tests.support.clients.ssh_client import Person, Visitor
from tests.support.servers.second_factor import CODE, QUESTION, asks_for_a_code
from tests.support.servers.sshd import Sshd, make_key, running_sshd


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("machine")) as server:
        yield server


@pytest.fixture
def visitor(server: Sshd, tmp_path: Path) -> Visitor:
    return Visitor(server, tmp_path / "visitor")


@pytest.fixture
def agent(visitor: Visitor, tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment with a real ssh-agent."""
    path = tmp_path / "agent"
    said = subprocess.run(["ssh-agent", "-s", "-a", str(path)], check=True, capture_output=True, text=True).stdout
    pid = int(re.search(r"SSH_AGENT_PID=(\d+)", said)[1])  # type: ignore[index]  # ssh-agent always says it
    visitor.environ = {**visitor.environ, "SSH_AUTH_SOCK": str(path)}
    yield {**os.environ, "SSH_AUTH_SOCK": str(path)}
    os.kill(pid, signal.SIGTERM)


def locked_key(server: Sshd, path: Path, passphrase: str, *, known: bool = True) -> str:
    make_key(path, passphrase=passphrase)
    if known:
        server.authorize(path.with_name(path.name + ".pub").read_text())
    return str(path)


def refused(visitor: Visitor, **settings: Any) -> SshError:
    with pytest.raises(SshError) as caught:
        visitor.enter(**settings).close()
    return caught.value


def test_a_locked_key_asks_for_its_passphrase_until_it_fits(server: Sshd, visitor: Visitor) -> None:
    path = locked_key(server, visitor.home / ".ssh" / "id_ed25519", "open sesame")
    visitor.person = Person(["wrong", "open sesame"])
    visitor.enter(identity_file=None).close()
    assert [code for _, _, code in visitor.person.asked] == ["passphrase-needed"] * 2
    assert all(secret and "id_ed25519" in prompt for prompt, secret, _ in visitor.person.asked)
    assert "open sesame" not in repr(vars(visitor.keys)) + path


def test_an_unlocked_key_is_remembered_for_a_reconnect(server: Sshd, visitor: Visitor) -> None:
    path = locked_key(server, visitor.home / "work", "secret")
    visitor.person = Person(["secret"])
    visitor.enter(identity_file=path).close()
    visitor.enter(identity_file=path).close()
    assert len(visitor.person.asked) == 1


def test_a_locked_key_with_nobody_there_is_refused_by_its_code(server: Sshd, visitor: Visitor) -> None:
    path = locked_key(server, visitor.home / "work", "secret")
    assert refused(visitor, identity_file=path).code == "passphrase-needed"


def test_three_wrong_passphrases_end_it(server: Sshd, visitor: Visitor) -> None:
    path = locked_key(server, visitor.home / "work", "secret")
    visitor.person = Person(["a", "b", "c", "secret"])
    assert refused(visitor, identity_file=path).code == "passphrase-needed"
    assert len(visitor.person.asked) == 3


@pytest.mark.parametrize("with_public_file", [True, False])
def test_nobody_is_asked_for_a_key_that_the_machine_does_not_know(
    server: Sshd, visitor: Visitor, *, with_public_file: bool
) -> None:
    path = locked_key(server, visitor.home / "work", "secret", known=False)
    if not with_public_file:
        Path(path + ".pub").unlink()
    visitor.person = Person(["secret"])
    error = refused(visitor, identity_file=path)
    assert error.code == "no-usable-key"
    assert path in error.why
    assert not visitor.person.asked


def test_a_key_that_needs_no_passphrase_is_tried_before_a_locked_one(server: Sshd, visitor: Visitor) -> None:
    locked_key(server, visitor.home / ".ssh" / "google_compute_engine", "secret")
    make_key(visitor.home / ".ssh" / "id_ecdsa", "ecdsa")
    server.authorize((visitor.home / ".ssh" / "id_ecdsa.pub").read_text())
    visitor.enter(identity_file=None).close()
    assert not visitor.person.asked


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_every_usual_kind_of_key_works(server: Sshd, visitor: Visitor, kind: str) -> None:
    path = visitor.home / ".ssh" / f"id_{kind}"
    make_key(path, kind)
    server.authorize(path.with_suffix(".pub").read_text())
    visitor.enter(identity_file=None).close()


class Authority:
    """Signs users' keys; a server trusts its ``config``."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "authority"
        make_key(self._path)
        self.config = [f"TrustedUserCAKeys {self._path}.pub"]

    def sign(self, path: Path, user: str, validity: str = "+1h") -> None:
        """``path-cert.pub``."""
        words = ["ssh-keygen", "-q", "-s", str(self._path), "-I", "me", "-n", user, "-V", validity, f"{path}.pub"]
        subprocess.run(words, check=True, capture_output=True)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def certifying(authority: Authority, tmp_path: Path) -> Iterator[Visitor]:
    """A visitor of a server that trusts ``authority`` and knows no key."""
    with running_sshd(tmp_path, config=authority.config) as server:
        yield Visitor(server, tmp_path / "visitor")


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_certificate_beside_a_key_lets_us_in(certifying: Visitor, authority: Authority, kind: str) -> None:
    path = certifying.home / ".ssh" / f"id_{kind}"
    make_key(path, kind)
    authority.sign(path, str(certifying.settings.user))
    certifying.enter(identity_file=None).close()


def test_a_locked_key_with_a_certificate_is_asked_for_once(certifying: Visitor, authority: Authority) -> None:
    path = certifying.home / "work"
    make_key(path, passphrase="secret")
    authority.sign(path, str(certifying.settings.user))
    certifying.person = Person(["secret"])
    certifying.enter(identity_file=str(path)).close()
    certifying.enter(identity_file=str(path)).close()
    assert len(certifying.person.asked) == 1


def test_an_expired_certificate_does_not_hide_its_key(server: Sshd, visitor: Visitor, authority: Authority) -> None:
    path = visitor.home / "work"
    locked_key(server, path, "")
    authority.sign(path, server.user, "-2h:-1h")
    visitor.enter(identity_file=str(path)).close()


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_the_agents_certificate_lets_us_in(
    certifying: Visitor, authority: Authority, agent: dict[str, str], tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "in agent"
    make_key(path, kind)
    authority.sign(path, str(certifying.settings.user))
    subprocess.run(["ssh-add", "-q", str(path)], env=agent, check=True, capture_output=True)
    certifying.environ = {**certifying.environ, "SSH_AUTH_SOCK": agent["SSH_AUTH_SOCK"]}
    certifying.enter(identity_file=None).close()
    certifying.keys.close()


def test_the_agents_key_lets_us_in_without_a_file(
    server: Sshd, visitor: Visitor, agent: dict[str, str], tmp_path: Path
) -> None:
    path = locked_key(server, tmp_path / "in agent", "")
    subprocess.run(["ssh-add", "-q", path], env=agent, check=True, capture_output=True)
    for file in (path, path + ".pub"):
        Path(file).unlink()
    with visitor.enter(identity_file=None) as session:
        assert isinstance(session.key, paramiko.AgentKey)
    visitor.keys.close()


def test_the_agents_copy_of_a_locked_file_is_used_without_a_question(
    server: Sshd, visitor: Visitor, agent: dict[str, str]
) -> None:
    path = locked_key(server, visitor.home / "work", "secret")
    script = visitor.home / "askpass"
    script.write_text("#!/bin/sh\necho secret\n")
    script.chmod(0o700)
    asking = {**agent, "SSH_ASKPASS": str(script), "SSH_ASKPASS_REQUIRE": "force"}
    subprocess.run(["ssh-add", "-q", path], env=asking, check=True, capture_output=True)
    visitor.enter(identity_file=path).close()
    assert not visitor.person.asked
    visitor.keys.close()


def fill(agent: dict[str, str], folder: Path, count: int) -> None:
    """The agent holds ``count`` keys that no machine knows."""
    for number in range(count):
        make_key(folder / f"extra{number}")
        subprocess.run(["ssh-add", "-q", str(folder / f"extra{number}")], env=agent, check=True, capture_output=True)


def test_keys_beyond_the_servers_tries_are_tried_on_another_connection(
    server: Sshd, visitor: Visitor, agent: dict[str, str], tmp_path: Path
) -> None:
    fill(agent, tmp_path, 7)
    before = server.log().count("Too many authentication failures") + server.log().count("maximum authentication")
    visitor.enter().close()
    assert server.log().count("maximum authentication") > before
    visitor.keys.close()


def test_with_identities_only_the_agents_other_keys_are_not_offered(
    server: Sshd, visitor: Visitor, agent: dict[str, str], tmp_path: Path
) -> None:
    fill(agent, tmp_path, 7)
    before = len(server.log())
    visitor.enter(identities_only=True).close()
    assert "Failed publickey" not in server.log()[before:]
    visitor.keys.close()


def test_the_key_that_the_machine_is_known_to_accept_is_offered_first(
    server: Sshd, visitor: Visitor, agent: dict[str, str], tmp_path: Path
) -> None:
    fill(agent, tmp_path, 7)
    path = locked_key(server, tmp_path / "known", "")
    subprocess.run(["ssh-add", "-q", path], env=agent, check=True, capture_output=True)
    before = len(server.log())
    visitor.enter(identity_file=None, wanted=public(path)).close()
    assert "Failed publickey" not in server.log()[before:]
    visitor.keys.close()


def test_more_keys_than_a_server_may_be_asked_about_end_with_what_to_do(
    server: Sshd, visitor: Visitor, agent: dict[str, str], tmp_path: Path
) -> None:
    fill(agent, tmp_path, 26)
    error = refused(visitor, identity_file=None)
    assert error.code == "no-usable-key"
    assert "Too many authentication failures" in error.what
    assert "IdentitiesOnly" in error.hint
    visitor.keys.close()


def public(path: str) -> tuple[str, ...]:
    return (" ".join(Path(path + ".pub").read_text().split()[:2]),)


def test_a_public_key_file_selects_the_agents_key(
    server: Sshd, visitor: Visitor, agent: dict[str, str], tmp_path: Path
) -> None:
    path = locked_key(server, visitor.home / "hardware", "")
    for extra in range(6):
        make_key(tmp_path / f"extra{extra}")
        subprocess.run(["ssh-add", "-q", str(tmp_path / f"extra{extra}")], env=agent, check=True, capture_output=True)
    subprocess.run(["ssh-add", "-q", path], env=agent, check=True, capture_output=True)
    Path(path).unlink()
    visitor.enter(identity_file=path).close()
    visitor.enter(identity_file=path + ".pub", identities_only=True).close()
    visitor.keys.close()


def test_asking_which_key_to_add_leaves_a_login_under_way_its_agent(
    server: Sshd, visitor: Visitor, agent: dict[str, str]
) -> None:
    path = locked_key(server, visitor.home / "hardware", "")
    subprocess.run(["ssh-add", "-q", path], env=agent, check=True, capture_output=True)
    Path(path).unlink()
    settings = SshSettings(identity_file=path)
    (candidate,) = [each for each in visitor.keys.candidates(settings, visitor.environ) if each.key]
    assert (visitor.keys.key_to_install(settings, visitor.environ, visitor.person.tell),) == public(path)
    assert candidate.key is not None
    assert candidate.key.sign_ssh_data(b"what the login signs")
    visitor.keys.close()


def test_a_dead_agent_is_no_reason_to_fail(visitor: Visitor) -> None:
    visitor.environ = {**visitor.environ, "SSH_AUTH_SOCK": str(visitor.home / "gone")}
    visitor.enter().close()


def test_the_refused_keys_are_named(visitor: Visitor) -> None:
    make_key(visitor.home / "stranger")
    error = refused(visitor, identity_file=str(visitor.home / "stranger"))
    assert error.code == "no-usable-key"
    assert "stranger" in error.why
    assert str(visitor.settings.user) in error.what


def test_without_any_key_that_is_said(visitor: Visitor) -> None:
    error = refused(visitor, identity_file=None)
    assert error.code == "no-usable-key"
    assert "no usable SSH key" in error.why


def test_a_key_file_that_is_not_there_is_named(visitor: Visitor) -> None:
    assert "nowhere" in refused(visitor, identity_file="~/nowhere").what


def test_passwords_are_not_supported_and_that_is_said(tmp_path: Path) -> None:
    config = ["PubkeyAuthentication no", "PasswordAuthentication yes"]
    with running_sshd(tmp_path, config=config) as server:
        visitor = Visitor(server, tmp_path / "visitor")
        error = refused(visitor)
        assert error.code == "no-usable-key"
        assert "passwords are not supported" in error.why


def test_a_key_added_a_moment_ago_is_tried_until_the_machine_knows_it(server: Sshd, visitor: Visitor) -> None:
    make_key(visitor.home / "new")
    threading.Timer(0.5, lambda: server.authorize((visitor.home / "new.pub").read_text())).start()
    path = str(visitor.home / "new")
    visitor.enter(identity_file=path, wanted=public(path), key_just_added=True).close()
    assert any("rejects the key" in line for line in visitor.person.told)


def test_a_machine_that_answers_in_time_may_learn_of_our_key_later(server: Sshd, visitor: Visitor) -> None:
    make_key(visitor.home / "new")
    path = str(visitor.home / "new")
    threading.Timer(3.0, lambda: server.authorize((visitor.home / "new.pub").read_text())).start()
    visitor.enter(identity_file=path, wanted=public(path), key_just_added=True, answers_within_s=2.0).close()


def test_a_second_factor_is_asked_for_once_and_answered(tmp_path: Path) -> None:
    with asks_for_a_code(tmp_path) as server:
        visitor = Visitor(server, tmp_path / "visitor")
        visitor.person = Person([CODE])
        visitor.enter().close()
        assert visitor.person.asked == [(QUESTION, True, "two-factor-needed")]


def test_a_second_factor_with_nobody_there_is_refused_by_its_code(tmp_path: Path) -> None:
    with asks_for_a_code(tmp_path) as server:
        assert refused(Visitor(server, tmp_path / "visitor")).code == "two-factor-needed"


def test_a_code_that_is_wrong_again_and_again_ends_the_login(tmp_path: Path) -> None:
    with asks_for_a_code(tmp_path) as server:
        visitor = Visitor(server, tmp_path / "visitor")
        visitor.person = Person(["1", "2", "3", CODE])
        error = refused(visitor)
        assert error.code == "two-factor-needed"
        assert [prompt for prompt, _, _ in visitor.person.asked] == [QUESTION, *[f"Not accepted. {QUESTION}"] * 2]
        assert "keyboard-interactive" in error.why


def test_gclouds_key_is_made_where_it_is_missing_as_openssh_and_gcloud_read_it(visitor: Visitor) -> None:
    path = visitor.home / ".ssh" / "google_compute_engine"
    added = visitor.keys.key_to_install(SshSettings(), visitor.environ, visitor.person.tell)
    assert any("google_compute_engine" in line for line in visitor.person.told)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    derived = subprocess.run(["ssh-keygen", "-y", "-f", str(path)], check=True, capture_output=True, text=True).stdout
    assert derived.split()[:2] == added.split()
    assert path.with_name(path.name + ".pub").read_text().split()[:2] == added.split()
    assert {each.name for each in path.parent.iterdir()} == {"google_compute_engine", "google_compute_engine.pub"}


def test_gclouds_key_stays_as_it_is_and_gets_its_public_half_back(visitor: Visitor) -> None:
    path = visitor.home / ".ssh" / "google_compute_engine"
    make_key(path, "rsa")
    public_path = path.with_name(path.name + ".pub")
    before, was = path.read_bytes(), public_path.read_text().split()[:2]
    public_path.unlink()
    added = visitor.keys.key_to_install(SshSettings(), visitor.environ, visitor.person.tell)
    assert (path.read_bytes(), public_path.read_text().split()[:2]) == (before, was)
    assert added.split() == was
    assert not visitor.person.told


def test_two_that_make_gclouds_key_at_once_agree_on_one(visitor: Visitor) -> None:
    def make() -> str:
        return ssh.Keys().key_to_install(SshSettings(), visitor.environ, lambda text: None)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: make(), range(8)))) == 1


def test_the_profiles_key_is_the_one_to_add_even_if_it_is_locked(visitor: Visitor) -> None:
    path = visitor.home / "work"
    make_key(path, passphrase="secret")
    settings = SshSettings(identity_file=str(path))
    assert (visitor.keys.key_to_install(settings, visitor.environ, visitor.person.tell),) == public(str(path))
    assert not visitor.person.asked


def test_a_public_key_without_its_private_one_is_not_added(visitor: Visitor) -> None:
    path = visitor.home / ".ssh" / "google_compute_engine"
    make_key(path)
    path.unlink()
    with pytest.raises(SshError) as caught:
        visitor.keys.key_to_install(SshSettings(), visitor.environ, visitor.person.tell)
    assert caught.value.code == "no-usable-key"
    assert "private key" in caught.value.what


def test_keys_do_not_show_what_they_hold() -> None:
    assert "secret" not in repr(ssh.Keys())
