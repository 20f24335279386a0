"""Key files as OpenSSH, openssl and others write them: used where OpenSSH uses them, else named with the reason."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from remote_runtime.core.errors import SshError
from remote_runtime.core.profile import Algorithms
from tests.support.clients.ssh_client import Person, Visitor
from tests.support.servers.sshd import Sshd, make_key, running_sshd

SECRET = "secret"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    folder = tmp_path_factory.mktemp("machine")
    make_key(folder / "authority")
    with running_sshd(folder, config=[f"TrustedUserCAKeys {folder}/authority.pub"]) as server:
        yield server


@pytest.fixture
def visitor(server: Sshd, tmp_path: Path) -> Visitor:
    return Visitor(server, tmp_path / "visitor")


def keygen(*words: str) -> None:
    subprocess.run(["ssh-keygen", "-q", *words], check=True, capture_output=True)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def refused(visitor: Visitor, **settings: Any) -> SshError:
    with pytest.raises(SshError) as caught:
        visitor.enter(**settings).close()
    assert caught.value.code == "no-usable-key"
    return caught.value


KINDS: dict[str, Any] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "ec256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ec521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("passphrase", ["", SECRET])
@pytest.mark.parametrize("kind", KINDS)
def test_pkcs8_is_read_as_openssl_writes_it(server: Sshd, visitor: Visitor, kind: str, passphrase: str) -> None:
    key = KINDS[kind]()
    encryption = form.BestAvailableEncryption(passphrase.encode()) if passphrase else form.NoEncryption()
    path = visitor.home / "k.pem"
    write(path, key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, encryption))
    server.authorize(key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH).decode())
    visitor.person = Person(["wrong", passphrase] if passphrase else [])
    visitor.enter(identity_file=str(path)).close()
    assert len(visitor.person.asked) == (2 if passphrase else 0)


@pytest.mark.parametrize(
    "words",
    [
        ("-t", "rsa", "-b", "2048", "-m", "PEM"),
        ("-t", "ecdsa", "-m", "PEM"),
        ("-t", "rsa", "-b", "2048", "-m", "PKCS8"),
        ("-t", "ed25519", "-Z", "aes256-gcm@openssh.com"),
        ("-t", "ecdsa", "-Z", "aes256-cbc"),
    ],
)
def test_the_right_passphrase_opens_what_openssh_encrypted(
    server: Sshd, visitor: Visitor, words: tuple[str, ...]
) -> None:
    path = visitor.home / "k"
    keygen(*words, "-N", SECRET, "-f", str(path))
    server.authorize(Path(f"{path}.pub").read_text())
    visitor.person = Person([SECRET])
    visitor.enter(identity_file=str(path)).close()
    assert len(visitor.person.asked) == 1


@pytest.mark.parametrize("cipher", ["chacha20-poly1305@openssh.com", "aes128-ctr", "3des-cbc"])
def test_a_cipher_that_is_not_supported_is_named_before_any_question(visitor: Visitor, cipher: str) -> None:
    path = visitor.home / "k"
    keygen("-t", "ed25519", "-Z", cipher, "-N", SECRET, "-f", str(path))
    visitor.person = Person([SECRET])
    error = refused(visitor, identity_file=str(path))
    assert cipher in error.why
    assert not visitor.person.asked
    command = error.hint.split("`")[1].replace("ssh-keygen", f"ssh-keygen -q -P {SECRET} -N {SECRET}")
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)
    assert "rejected" in refused(visitor, identity_file=str(path)).why


def test_another_cipher_of_other_programs_is_no_wrong_passphrase(visitor: Visitor) -> None:
    older, newer = visitor.home / "older", visitor.home / "newer"
    keygen("-t", "ecdsa", "-m", "PEM", "-N", SECRET, "-f", str(older))
    older.write_text(older.read_text().replace("AES-128-CBC", "CAMELLIA-128-CBC"))
    best = form.BestAvailableEncryption(SECRET.encode())
    der = KINDS["ed25519"]().private_bytes(form.Encoding.DER, form.PrivateFormat.PKCS8, best)
    aes_cbc, aes_ofb = (bytes.fromhex(f"60864801650304012{last}") for last in "ab")
    assert aes_cbc in der
    text = base64.encodebytes(der.replace(aes_cbc, aes_ofb)).decode()
    write(newer, f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{text}-----END ENCRYPTED PRIVATE KEY-----\n".encode())
    for path, asked in ((older, 0), (newer, 1)):
        visitor.person = Person([SECRET] * 3)
        error = refused(visitor, identity_file=str(path))
        assert len(visitor.person.asked) == asked
        assert "encrypted" in error.why
        assert "ssh-keygen -p -Z" in error.hint


def pem(key: Any, container: Any) -> bytes:
    content: bytes = key.private_bytes(form.Encoding.PEM, container, form.NoEncryption())
    return content


def fido(path: Path) -> None:
    """The head of what ``ssh-keygen -t ed25519-sk`` writes; nobody reads further."""

    def string(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    public = string(b"sk-ssh-ed25519@openssh.com") + string(bytes(32)) + string(b"ssh:")
    none = string(b"none") + string(b"none") + string(b"")
    raw = b"openssh-key-v1\0" + none + (1).to_bytes(4, "big") + string(public) + string(bytes(64))
    text = base64.encodebytes(raw).decode()
    write(path, f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}-----END OPENSSH PRIVATE KEY-----\n".encode())


def damaged(path: Path) -> None:
    make_key(path)
    lines = path.read_text().splitlines()
    write(path, "\n".join([*lines[:2], *lines[4:]]).encode())


def made(path: Path) -> Path:
    make_key(path)
    return path


def putty(path: Path) -> None:
    write(path, b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: me\n")


FAULTY: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "missing": (lambda path: None, "no such file", ""),
    "folder": (lambda path: path.mkdir(), "can't be read", ""),
    "empty": (lambda path: write(path, b""), "empty", ""),
    "putty": (putty, "PuTTY", "puttygen"),
    "fido": (fido, "FIDO", "ssh-add"),
    "damaged": (damaged, "damaged", ""),
    "text": (lambda path: write(path, b"my key is in the safe\n"), "no private key", ""),
    "x509": (lambda path: write(path, b"-----BEGIN CERTIFICATE-----\nAAAA\n"), "no private key", ""),
    "dsa": (
        lambda path: write(path, pem(dsa.generate_private_key(1024), form.PrivateFormat.PKCS8)),  # noqa: S505  # usual
        "DSA",
        "ed25519",
    ),
    "ed448": (
        lambda path: write(path, pem(ed448.Ed448PrivateKey.generate(), form.PrivateFormat.PKCS8)),
        "Ed448",
        "ed25519",
    ),
    "curve": (
        lambda path: write(path, pem(ec.generate_private_key(ec.SECP256K1()), form.PrivateFormat.PKCS8)),
        "secp256k1",
        "ed25519",
    ),
    "open": (lambda path: made(path).chmod(0o666), "0666", "chmod 600"),
    "group": (lambda path: made(path).chmod(0o620), "0620", "chmod 600"),
}


@pytest.mark.parametrize("case", FAULTY)
def test_a_file_that_cannot_be_used_is_named_with_its_own_reason(visitor: Visitor, case: str) -> None:
    make, why, hint = FAULTY[case]
    path = visitor.home / "k"
    make(path)
    by_profile = refused(visitor, identity_file=str(path))
    by_config = refused(visitor, identity_file=None, identity_files=(str(path),))
    for error in (by_profile, by_config):
        assert why in error.why
        assert hint in error.hint
        assert str(path) in error.what + error.why
    assert "no usable SSH key" in by_config.why
    assert "rejected" not in by_config.why


def test_a_usual_file_that_is_unusable_is_named_and_a_missing_one_is_not(visitor: Visitor) -> None:
    fido(visitor.home / ".ssh" / "id_ed25519")
    why = refused(visitor, identity_file=None).why
    assert "id_ed25519: its private half is on a FIDO token" in why
    assert "id_rsa" not in why


def test_odd_line_ends_and_blanks_around_a_key_do_no_harm(server: Sshd, visitor: Visitor) -> None:
    for kind, change in (("ed25519", "\r\n"), ("ecdsa", "\n")):
        path = visitor.home / kind
        make_key(path, kind)
        server.authorize(Path(f"{path}.pub").read_text())
        write(path, ("\n  " + path.read_text().strip().replace("\n", change)).encode())
        visitor.enter(identity_file=str(path)).close()


def test_that_others_can_read_a_key_is_said_once(server: Sshd, visitor: Visitor) -> None:
    path = visitor.home / "k"
    make_key(path)
    server.authorize(Path(f"{path}.pub").read_text())
    path.chmod(0o644)
    visitor.enter(identity_file=str(path)).close()
    visitor.enter(identity_file=str(path)).close()
    assert len([line for line in visitor.person.told if "chmod 600" in line]) == 1


@pytest.fixture
def agent(visitor: Visitor, tmp_path: Path) -> Iterator[int]:
    """The pid of a real ssh-agent that the visitor uses."""
    said = subprocess.run(
        ["ssh-agent", "-s", "-a", str(tmp_path / "agent")], check=True, capture_output=True, text=True
    ).stdout
    pid = int(re.search(r"SSH_AGENT_PID=(\d+)", said)[1])  # type: ignore[index]  # ssh-agent always says it
    visitor.environ = {**visitor.environ, "SSH_AUTH_SOCK": str(tmp_path / "agent")}
    yield pid
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return


def add(visitor: Visitor, path: Path) -> None:
    subprocess.run(["ssh-add", "-q", str(path)], env=dict(visitor.environ), check=True, capture_output=True)


def test_an_agent_that_is_gone_is_named_with_what_it_held(server: Sshd, visitor: Visitor, agent: int) -> None:
    path = visitor.home / "held"
    keygen("-t", "ed25519", "-N", "", "-C", "my laptop", "-f", str(path))
    server.authorize(Path(f"{path}.pub").read_text())
    add(visitor, path)
    path.unlink()
    visitor.enter(identity_file=None).close()
    os.kill(agent, signal.SIGKILL)
    error = refused(visitor, identity_file=None)
    assert visitor.environ["SSH_AUTH_SOCK"] in error.why
    assert "is gone" in error.why
    assert "my laptop" in error.why
    visitor.keys.close()


def sign(server: Sshd, path: Path, validity: str) -> Path:
    """``path-cert.pub``, for the user of ``server``."""
    authority = server.directory.parent / "authority"
    keygen("-s", str(authority), "-I", "me", "-n", server.user, "-V", validity, f"{path}.pub")
    return path.with_name(path.name + "-cert.pub")


def test_a_certificate_file_counts_for_its_key_wherever_that_is(server: Sshd, visitor: Visitor, agent: int) -> None:
    path = visitor.home / "k"
    make_key(path)
    moved = sign(server, path, "+1h").rename(visitor.home / "signed.pub")
    make_key(visitor.home / "other")
    files: dict[str, Any] = {"identity_files": (str(visitor.home / "other"), str(path)), "identity_file": None}
    visitor.enter(**files, certificate_files=(str(moved),)).close()
    assert "rejected" in refused(visitor, **files).why
    add(visitor, path)
    path.unlink()
    visitor.enter(identity_file=None, certificate_files=(str(moved),)).close()
    error = refused(visitor, **files, certificate_files=(str(visitor.home / "nowhere"),))
    assert "nowhere: it is not a certificate file" in error.why
    visitor.keys.close()


def test_an_expired_certificate_is_named_with_its_date(server: Sshd, visitor: Visitor) -> None:
    path = visitor.home / "k"
    make_key(path)
    sign(server, path, "20200101:20210203")
    error = refused(visitor, identity_file=str(path))
    assert re.search(r"expired on 2021-02-0[23]", error.why)
    assert "certificate" in error.hint


def test_keys_that_the_configuration_does_not_allow_are_not_offered(server: Sshd, visitor: Visitor) -> None:
    path = visitor.home / "k"
    keygen("-t", "rsa", "-b", "2048", "-N", "", "-f", str(path))
    server.authorize(Path(f"{path}.pub").read_text())
    before = len(server.log())
    error = refused(visitor, identity_file=str(path), allowed_algorithms=Algorithms(public_keys=("ssh-ed25519",)))
    assert "PubkeyAcceptedAlgorithms" in error.why
    error = refused(visitor, identity_file=str(path), allowed_algorithms=Algorithms(rsa_bits=3072))
    assert "2048 bits" in error.why
    assert "publickey" not in server.log()[before:]
    with visitor.enter(
        identity_file=str(path), allowed_algorithms=Algorithms(public_keys=("rsa-sha2-256",), rsa_bits=2048)
    ) as session:
        assert session._transport._agreed_pubkey_algorithm == "rsa-sha2-256"


def test_a_key_among_other_blocks_is_found_as_openssh_finds_it(server: Sshd, visitor: Visitor) -> None:
    """What openssl writes before it: parameters of a curve, a certificate, attributes of a bag, its own words."""
    key = KINDS["ec256"]()
    server.authorize(key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH).decode())
    pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, form.NoEncryption())
    before = b"Bag Attributes\n-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    path = visitor.home / "k.pem"
    write(path, before + pem)
    subprocess.run(["ssh-keygen", "-y", "-f", str(path)], check=True, capture_output=True)
    visitor.enter(identity_file=str(path)).close()


def test_the_format_of_ssh_com_and_a_name_that_is_too_long_are_told(visitor: Visitor) -> None:
    path = visitor.home / "k"
    write(path, b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nAAAA\n---- END SSH2 ENCRYPTED PRIVATE KEY ----\n")
    for name, why in ((path, "ssh.com"), (path.with_name("a" * 300), "no such file")):
        with pytest.raises(SshError) as caught:
            visitor.enter(identity_file=str(name)).close()
        assert caught.value.code == "no-usable-key"
        assert why in caught.value.why
        assert caught.value.hint
