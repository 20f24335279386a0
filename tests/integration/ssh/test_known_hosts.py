"""known_hosts: the same files before this program and before OpenSSH's client, in front of a real sshd."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from remote_runtime import ssh
from remote_runtime.core.errors import LocalError, SshError
from remote_runtime.core.profile import SshSettings, SshTarget
from tests.support.clients.ssh_client import Visitor
from tests.support.servers.sshd import Sshd, make_key, running_sshd

OPENSSH = "/usr/bin:/bin"


class Place:
    """A server whose host certificate can be changed, and what known_hosts files are made of."""

    def __init__(self, server: Sshd, folder: Path) -> None:
        self.server = server
        self.folder = folder
        for name in ("authority", "stranger"):
            make_key(folder / name)
        self.words = {
            "KEY": server.host_keys[0],
            "ECDSA": server.host_keys[1],
            "CA": self.public("authority"),
            "OTHER": self.public("stranger"),
            "PORT": str(server.port),
        }

    def public(self, name: str) -> str:
        return " ".join((self.folder / f"{name}.pub").read_text().split()[:2])

    def certify(self, *options: str, by: str = "authority") -> None:
        """Sign the server's ED25519 host key; no ``options``: show the plain key again."""
        certificate = self.server.directory / "host_ed25519-cert.pub"
        certificate.unlink(missing_ok=True)
        if options:
            words = ["ssh-keygen", "-q", "-s", str(self.folder / by), "-I", "host", *options]
            subprocess.run([*words, str(certificate).replace("-cert", "")], check=True, capture_output=True)

    def hosts(self, template: str) -> str:
        """A line with a tab has tabs only: OpenSSH takes ``@revoked<TAB>host key`` with a space for nothing."""
        lines = [line.format(**self.words) for line in template.split("\n")]
        return "".join((line.replace(" ", "\t") if "\t" in line else line) + "\n" for line in lines)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    certificate = folder / "sshd" / "host_ed25519-cert.pub"
    with running_sshd(folder, config=[f"HostCertificate {certificate}"]) as server:
        yield Place(server, folder)


@pytest.fixture
def visitor(place: Place, tmp_path: Path) -> Visitor:
    place.certify()
    visitor = Visitor(place.server, tmp_path / "visitor")
    visitor.settings = SshSettings(identity_file=str(place.server.key_path), user=place.server.user)
    return visitor


def prepare(visitor: Visitor, place: Place, hosts: str, *config: str) -> None:
    folder = visitor.home / ".ssh"
    (folder / "known_hosts").write_text(place.hosts(hosts))
    lines = ["Host box", "HostName 127.0.0.1", f"Port {place.server.port}", "GlobalKnownHostsFile none", *config]
    (folder / "config").write_text("\n".join(lines) + "\n")


def openssh_trusts(visitor: Visitor) -> bool:
    """Whether OpenSSH comes as far as to the login, for which it has no key."""
    folder = visitor.home / ".ssh"
    options = ["BatchMode=yes", "StrictHostKeyChecking=yes", "PubkeyAuthentication=no", "UpdateHostKeys=no"]
    words = ["ssh", "-F", str(folder / "config"), *(f"-o{option}" for option in options)]
    if "UserKnownHostsFile" not in (folder / "config").read_text():
        words.append(f"-oUserKnownHostsFile={folder}/known_hosts")
    done = subprocess.run([*words, "box", "true"], capture_output=True, text=True, check=False)
    assert "Permission denied" in done.stderr or "Host key verification failed" in done.stderr, done.stderr
    return "Permission denied" in done.stderr


def ours(visitor: Visitor) -> SshError | None:
    """What this program says; None where it logs in."""
    visitor.instance, visitor.settings = ssh.resolve(SshTarget("box"), visitor.settings, environ=visitor.environ)
    try:
        visitor.enter().close()
    except SshError as error:
        return error
    return None


UNKNOWN, CHANGED = "host-key-unknown", "host-key-changed"


@pytest.mark.parametrize(
    ("hosts", "config", "code"),
    [
        ("127.0.0.1 {KEY}", (), ""),
        ("[127.0.0.1]:{PORT}\t{KEY}", (), ""),
        ("127.0.0.1 {OTHER}", (), UNKNOWN),
        ("[127.0.0.1]:{PORT} {OTHER}", (), CHANGED),
        ("[127.0.0.1]:{PORT} {OTHER}\n127.0.0.1 {KEY}", (), CHANGED),
        ("127.0.0.1 {OTHER}\n127.0.0.1 {KEY}", (), ""),
        ("  127.0.?.* {KEY}", (), ""),
        ("*,!*127.0.0.1* {KEY}", (), UNKNOWN),
        ("[127.0.0.*]:*,!127.* {KEY}", (), ""),
        ("127.0.0.1:{PORT} {KEY}", (), UNKNOWN),
        ("[127.0.0.1]:{PORT},!!127.0.0.1 {KEY}", (), ""),
        ("# 127.0.0.1\u2028127.0.0.1 {KEY}", (), UNKNOWN),
        ("127.0.0.1 {KEY}", ("HostKeyAlias Other",), UNKNOWN),
        ("OTHER {KEY}", ("HostKeyAlias Other",), ""),
        ("[other]:{PORT} {KEY}", ("HostKeyAlias other",), UNKNOWN),
        ("@revoked\t*\t{KEY}\n127.0.0.1 {KEY}", (), UNKNOWN),
        ("@revoked\t\t127.0.0.1\t\t{OTHER}\n127.0.0.1 {KEY}", (), ""),
        ("@other\t127.0.0.1 {KEY}", (), UNKNOWN),
        ("@cert-authority\t*\t{KEY}", (), UNKNOWN),
        ("127.0.0.1 {KEY}\n127.0.0.1 {ECDSA}", ("HostKeyAlgorithms ecdsa-sha2-nistp256",), ""),
        ("127.0.0.1 {KEY}", ("HostKeyAlgorithms ecdsa-sha2-nistp256",), UNKNOWN),
        ("127.0.0.1 {KEY}", ("Ciphers aes256-ctr", "MACs hmac-sha2-512", "KexAlgorithms ecdh-sha2-nistp384"), ""),
    ],
)
def test_the_same_known_hosts_means_the_same_as_to_openssh(
    place: Place, visitor: Visitor, hosts: str, config: tuple[str, ...], code: str
) -> None:
    prepare(visitor, place, hosts, *config)
    error = ours(visitor)
    assert (error.code if error else "") == code
    # A host that is known by another type of key is changed for us, and unknown for OpenSSH: refused by both.
    assert openssh_trusts(visitor) is (error is None)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("KexAlgorithms", "sntrup761x25519-sha512@openssh.com"),
        ("Ciphers", "chacha20-poly1305@openssh.com"),
        ("HostKeyAlgorithms", "sk-ssh-ed25519@openssh.com"),
    ],
)
def test_a_list_without_anything_that_is_supported_is_refused_by_name(
    place: Place, visitor: Visitor, option: str, value: str
) -> None:
    prepare(visitor, place, "127.0.0.1 {KEY}", f"{option} {value}")
    error = ours(visitor)
    assert error is not None
    assert error.code == "ssh-config-unsupported"
    assert option in error.what
    assert value in error.why
    assert option in error.hint


def test_what_is_revoked_for_the_bare_name_or_with_mixed_blanks_is_revoked_here(place: Place, visitor: Visitor) -> None:
    """OpenSSH passes over both: the mistake of a person must not make a stolen key good."""
    for line in ("@revoked 127.0.0.1 {KEY}", "@revoked \t* {KEY}"):
        prepare(visitor, place, line)
        file = visitor.home / ".ssh" / "known_hosts"
        file.write_text(file.read_text().replace("*\t", "* ") + place.hosts("[127.0.0.1]:{PORT} {KEY}"))
        error = ours(visitor)
        assert error is not None
        assert "revoked" in error.what


@pytest.mark.parametrize("name", ["127.0.0.1", "[127.0.0.1]:{PORT}"])
def test_hashed_names_are_found_with_and_without_their_port(place: Place, visitor: Visitor, name: str) -> None:
    prepare(visitor, place, name + " {KEY}")
    file = visitor.home / ".ssh" / "known_hosts"
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert file.read_text().startswith("|1|")
    assert ours(visitor) is None
    assert openssh_trusts(visitor)


GOOD = ("-h", "-n", "127.0.0.1,other")


@pytest.mark.parametrize(
    ("certificate", "hosts", "why"),
    [
        (GOOD, "@cert-authority\t127.0.0.*\t{CA}", ""),
        (GOOD, "@cert-authority [127.0.0.1]:{PORT} {CA}\n127.0.0.1 {OTHER}", ""),
        (("-h", "-n", "127.0.*"), "@cert-authority * {CA}", "127.0.*"),
        (("-h",), "@cert-authority * {CA}", ""),
        (("-h", "-n", "elsewhere"), "@cert-authority * {CA}", "elsewhere"),
        ((*GOOD, "-V", "-2d:-1d"), "@cert-authority * {CA}", "expired on 20"),
        ((*GOOD, "-V", "+1d:+2d"), "@cert-authority * {CA}", "not valid before 20"),
        (("-n", "127.0.0.1"), "@cert-authority * {CA}", "user's certificate"),
        (GOOD, "@cert-authority * {OTHER}", "no certificate by it"),
        (GOOD, "@cert-authority elsewhere {CA}", "no trusted source"),
        (GOOD, "@cert-authority * {CA}\n@revoked * {CA}", "revoked"),
        (GOOD, "@cert-authority * {CA}\n@revoked * {KEY}", "revoked"),
        (GOOD, "@cert-authority * {OTHER}\n127.0.0.1 {KEY}", ""),
        ((), "@cert-authority * {CA}\n127.0.0.1 {KEY}", ""),
        ((), "@cert-authority * {CA}", "no certificate by it"),
    ],
)
def test_a_host_certificate_counts_where_openssh_counts_it(
    place: Place, visitor: Visitor, certificate: tuple[str, ...], hosts: str, why: str
) -> None:
    place.certify(*certificate)
    prepare(visitor, place, hosts)
    error = ours(visitor)
    assert openssh_trusts(visitor) is (error is None)
    if why:
        assert error is not None
        assert error.code == UNKNOWN
        assert why in error.what + error.why
    else:
        assert error is None
        assert not visitor.pins.exists()


def test_an_authoritys_signature_has_to_be_one_that_the_configuration_allows(place: Place, visitor: Visitor) -> None:
    make_key(place.folder / "rsa-authority", "rsa")
    place.words["RSA_CA"] = place.public("rsa-authority")
    place.certify("-t", "rsa-sha2-256", *GOOD, by="rsa-authority")
    for allowed, trusted in (("rsa-sha2-256", True), ("rsa-sha2-512,ssh-ed25519", False)):
        prepare(visitor, place, "@cert-authority * {RSA_CA}", f"CASignatureAlgorithms {allowed}")
        error = ours(visitor)
        assert (error is None) is openssh_trusts(visitor) is trusted
        assert error is None or "rsa-sha2-256" in error.why


def test_a_certificate_by_the_alias_and_a_forged_one(place: Place, visitor: Visitor) -> None:
    place.certify(*GOOD)
    prepare(visitor, place, "@cert-authority other {CA}", "HostKeyAlias other")
    assert ours(visitor) is None
    file = place.server.directory / "host_ed25519-cert.pub"
    kind, data, *rest = file.read_text().split()
    # Two names of the same length: the signature is over the first.
    forged = base64.b64encode(base64.b64decode(data).replace(b"other", b"ether")).decode()
    file.write_text(" ".join([kind, forged, *rest]) + "\n")
    prepare(visitor, place, "@cert-authority ether {CA}", "HostKeyAlias ether")
    error = ours(visitor)
    assert error is not None
    assert error.code == UNKNOWN
    assert not openssh_trusts(visitor)


def test_a_revoked_key_is_refused_for_a_vm_too_whatever_vouches_for_it(place: Place, visitor: Visitor) -> None:
    vm = replace(visitor.instance, kind="gce", name="vm", host_key_name="compute.12")
    visitor.instance = replace(vm, host_keys=tuple(place.server.host_keys))
    for line in ("@revoked\t*\t{KEY}", "@revoked 127.0.0.1 {KEY}", "@revoked [127.0.0.1]:{PORT} {KEY}"):
        (visitor.home / ".ssh" / "known_hosts").write_text(place.hosts(line))
        with pytest.raises(SshError, match="revoked") as caught:
            visitor.enter()
        assert "known_hosts" in caught.value.why


@pytest.mark.parametrize(
    "config",
    [
        ("StrictHostKeyChecking no", "UserKnownHostsFile /dev/null"),
        ("UserKnownHostsFile none",),
        ("StrictHostKeyChecking yes",),
        ("NoHostAuthenticationForLocalhost yes",),
    ],
)
def test_ssh_is_not_proposed_where_it_would_write_nothing_down(
    place: Place, visitor: Visitor, config: tuple[str, ...]
) -> None:
    prepare(visitor, place, "", *config)
    error = ours(visitor)
    assert error is not None
    assert error.code == UNKNOWN
    assert "accept-new" in error.hint
    assert "once with" not in error.hint


def test_a_known_hosts_file_that_cannot_be_read_is_named(place: Place, visitor: Visitor) -> None:
    prepare(visitor, place, "127.0.0.1 {KEY}", f"UserKnownHostsFile {visitor.home}/folder")
    (visitor.home / "folder").mkdir()
    error = ours(visitor)
    assert error is not None
    assert f"{visitor.home}/folder can't be read (is a directory)" in error.why
    assert "once with" not in error.hint
    visitor.pins.mkdir()
    with pytest.raises(LocalError) as caught:
        visitor.enter(host_key="accept-new")
    assert caught.value.code == "state-dir-unusable"


def test_the_file_with_another_key_is_named_in_the_command_that_removes_it(place: Place, visitor: Visitor) -> None:
    hosts = visitor.home / "my hosts"
    hosts.write_text(place.hosts("[127.0.0.1]:{PORT} {OTHER}"))
    prepare(visitor, place, "", f'UserKnownHostsFile "{hosts}"')
    error = ours(visitor)
    assert error is not None
    assert error.code == CHANGED
    command = error.hint.split("`")[1]
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)  # as a person would copy it
    assert hosts.read_text() == ""
