"""Whose host key is trusted, and what is said of the others."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from remote_runtime import ssh
from remote_runtime.core.errors import SshError
from tests.support.clients.ssh_client import Visitor
from tests.support.servers.sshd import Sshd, make_key, running_sshd

ED25519, ECDSA = 0, 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path) as server:
        yield server


@pytest.fixture
def visitor(server: Sshd, tmp_path: Path) -> Visitor:
    visitor = Visitor(server, tmp_path / "visitor")
    visitor.settings = replace(visitor.settings, host_key="verified")
    return visitor


@pytest.fixture
def cloud_visitor(visitor: Visitor) -> Visitor:
    visitor.instance = replace(visitor.instance, kind="gce", name="vm", id="12", host_key_name="compute.12")
    return visitor


def refused(visitor: Visitor, **settings: object) -> SshError:
    with pytest.raises(SshError) as caught:
        visitor.enter(**settings).close()  # type: ignore[arg-type]  # settings of several types
    return caught.value


def test_an_unknown_host_key_is_refused_with_its_fingerprint_before_any_login(server: Sshd, visitor: Visitor) -> None:
    error = refused(visitor)
    assert error.code == "host-key-unknown"
    assert server.fingerprints()[ED25519] in error.why
    assert "accept-new" in error.hint
    assert server.logins() == 0
    assert "Accepted" not in server.log()
    assert not visitor.pins.exists()


def test_a_new_host_key_is_pinned_when_the_profile_accepts_new_ones(server: Sshd, visitor: Visitor) -> None:
    visitor.enter(host_key="accept-new").close()
    assert any(server.fingerprints()[ED25519] in line for line in visitor.person.told)
    assert visitor.pins.stat().st_mode & 0o777 == 0o600
    name = visitor.instance.host_key_name
    assert ssh.pinned_keys(visitor.pins, name) == [("ssh-ed25519", server.fingerprints()[ED25519])]
    visitor.enter().close()
    assert server.logins() == 2


def test_a_changed_host_key_is_refused_with_both_fingerprints(server: Sshd, visitor: Visitor) -> None:
    visitor.enter(host_key="accept-new").close()
    before = server.fingerprints()[ED25519]
    server.rotate_host_keys()
    for policy in ("verified", "accept-new"):
        error = refused(visitor, host_key=policy)
        assert error.code == "host-key-changed"
        assert before in error.why
        assert server.fingerprints()[ED25519] in error.why
        assert "host-key forget" in error.hint
    assert server.logins() == 1


def test_a_forgotten_pin_makes_room_for_the_new_key(server: Sshd, visitor: Visitor) -> None:
    visitor.enter(host_key="accept-new").close()
    server.rotate_host_keys()
    assert ssh.unpin(visitor.pins, visitor.instance.host_key_name) == 1
    assert ssh.unpin(visitor.pins, visitor.instance.host_key_name) == 0
    visitor.enter(host_key="accept-new").close()


def test_a_key_that_the_cloud_vouches_for_is_pinned(server: Sshd, cloud_visitor: Visitor) -> None:
    cloud_visitor.instance = replace(cloud_visitor.instance, host_keys=tuple(server.host_keys))
    cloud_visitor.enter().close()
    cloud_visitor.instance = replace(cloud_visitor.instance, host_keys=())
    cloud_visitor.enter().close()
    assert ssh.pinned_keys(cloud_visitor.pins, "compute.12") == [("ssh-ed25519", server.fingerprints()[ED25519])]


def test_a_key_other_than_the_clouds_is_refused(server: Sshd, cloud_visitor: Visitor) -> None:
    cloud_visitor.instance = replace(cloud_visitor.instance, host_keys=tuple(server.host_keys))
    server.rotate_host_keys()
    assert refused(cloud_visitor, host_key="accept-new").code == "host-key-changed"


def test_a_pinned_machine_made_anew_is_refused_and_the_clouds_word_is_mentioned(
    server: Sshd, cloud_visitor: Visitor
) -> None:
    cloud_visitor.enter(host_key="accept-new").close()
    server.rotate_host_keys()
    cloud_visitor.instance = replace(cloud_visitor.instance, host_keys=tuple(server.host_keys))
    error = refused(cloud_visitor)
    assert error.code == "host-key-changed"
    assert "guest attributes have the new key" in error.why


def test_gclouds_known_hosts_are_matched_by_the_whole_alias(server: Sshd, cloud_visitor: Visitor) -> None:
    file = cloud_visitor.home / ".ssh" / "google_compute_known_hosts"
    file.write_text(f"compute.123 {server.host_keys[ED25519]}\n")
    error = refused(cloud_visitor)
    assert error.code == "host-key-unknown"
    assert "enable-guest-attributes" in error.hint
    before = f"compute.123 {server.host_keys[ED25519]}\ncompute.12 {server.host_keys[ECDSA]}\n"
    file.write_text(before)
    cloud_visitor.enter().close()
    assert file.read_text() == before
    server.rotate_host_keys()
    assert "google_compute_known_hosts" in refused(cloud_visitor).hint


def test_a_host_known_by_one_key_type_is_not_asked_for_another(server: Sshd, visitor: Visitor) -> None:
    name = visitor.instance.host_key_name
    (visitor.home / ".ssh" / "known_hosts").write_text(f"{name} {server.host_keys[ECDSA]}\n")
    with visitor.enter() as session:
        assert session.host_key.kind == "ecdsa-sha2-nistp256"


def test_hashed_known_hosts_are_read_and_never_written(server: Sshd, visitor: Visitor) -> None:
    file = visitor.home / ".ssh" / "known_hosts"
    file.write_text(f"{visitor.instance.host_key_name} {server.host_keys[ED25519]}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    before = file.read_bytes()
    assert b"|1|" in before
    visitor.enter().close()
    assert file.read_bytes() == before
    server.rotate_host_keys()
    assert "ssh-keygen -R" in refused(visitor, host_key="accept-new").hint


def test_a_revoked_key_is_refused_even_when_new_ones_are_accepted(server: Sshd, visitor: Visitor) -> None:
    (visitor.home / ".ssh" / "known_hosts").write_text(f"@revoked * {server.host_keys[ED25519]}\n")
    assert "revoked" in refused(visitor, host_key="accept-new").what


def test_a_certificate_authority_vouches_for_no_plain_key(server: Sshd, visitor: Visitor) -> None:
    (visitor.home / ".ssh" / "known_hosts").write_text(f"@cert-authority * {server.host_keys[ED25519]}\n")
    assert refused(visitor).code == "host-key-unknown"


def test_pins_of_two_machines_live_in_one_file(server: Sshd, visitor: Visitor, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    visitor.pins.write_text(f"compute.7 {(tmp_path / 'other.pub').read_text()}")
    visitor.enter(host_key="accept-new").close()
    assert len(ssh.pinned_keys(visitor.pins, "compute.7")) == 1
    assert ssh.unpin(visitor.pins, "compute.7") == 1
    assert len(ssh.pinned_keys(visitor.pins, visitor.instance.host_key_name)) == 1
