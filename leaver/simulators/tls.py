"""Certificates for stand-ins on loopback: a small authority of our own and a server certificate from it.

Clients verify strictly (Python 3.13 and GnuTLS refuse certificates without subject alternative names and an
authority key identifier, RFC 5280 sections 4.2.1.1 and 4.2.1.6), so simulators are held to the same.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOOPBACK_HOSTS: Final = ("127.0.0.1", "localhost")
_LIFETIME: Final = timedelta(days=30)
_RENEW_BEFORE: Final = timedelta(days=1)
_CLOCK_SKEW: Final = timedelta(hours=1)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class LoopbackTls:
    """PEM files of one loopback set-up: the authority to trust, and the server's certificate and key."""

    ca_file: Path
    cert_file: Path
    key_file: Path


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """PEM files of one application's certificate credential; ``bundle_file`` holds both, as SDKs want it."""

    cert_file: Path
    key_file: Path
    bundle_file: Path


def issue_loopback_tls(directory: Path, *, hosts: tuple[str, ...] = LOOPBACK_HOSTS) -> LoopbackTls:
    """Make, or find again, an authority and a server certificate in ``directory``.

    Files that are there, valid for another day and made for the same hosts are kept, so that a restarted
    simulator is still trusted by the clients of the one before.

    Args:
        directory: created when missing; the server key in it is readable by its owner only.
        hosts: IP addresses and DNS names the server answers on.

    Returns:
        The paths of the PEM files. The authority's own key is thrown away.
    """
    files = LoopbackTls(directory / "ca.pem", directory / "server.pem", directory / "server-key.pem")
    if _still_good(files, hosts):
        return files
    directory.mkdir(parents=True, exist_ok=True)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _authority(ca_key)
    key = ec.generate_private_key(ec.SECP256R1())
    cert = _server_certificate(ca, ca_key, key, hosts)
    _write_private(files.key_file, _pem_key(key))
    files.cert_file.write_bytes(_pem(cert))
    files.ca_file.write_bytes(_pem(ca))
    return files


def issue_client_certificate(directory: Path, *, name: str = "leaver") -> ClientCertificate:
    """Make, or find again, a self-signed RSA certificate such as an app registration accepts.

    Args:
        directory: created when missing; files with the key are readable by their owner only.
        name: common name, for people only; the directory matches by thumbprint.
    """
    files = ClientCertificate(
        directory / "client.pem", directory / "client-key.pem", directory / "client-bundle.pem"
    )
    if files.bundle_file.exists() and _expires(files.cert_file) > datetime.now(UTC) + _RENEW_BEFORE:
        return files
    directory.mkdir(parents=True, exist_ok=True)
    # Entra accepts RSA keys only for certificate credentials (RS256 and PS256 assertions).
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    cert = _builder(_name(name), _name(name)).public_key(key.public_key()).sign(key, hashes.SHA256())
    files.cert_file.write_bytes(_pem(cert))
    _write_private(files.key_file, _pem_key(key))
    _write_private(files.bundle_file, _pem_key(key) + _pem(cert))
    return files


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    usage = _key_usage(key_cert_sign=True, crl_sign=True)
    return (
        _builder(_name("leaver loopback CA"), _name("leaver loopback CA"))
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _server_certificate(
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    hosts: tuple[str, ...],
) -> x509.Certificate:
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        _builder(_name("leaver simulator"), ca.subject)
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _builder(subject: x509.Name, issuer: x509.Name) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFETIME)
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _still_good(files: LoopbackTls, hosts: tuple[str, ...]) -> bool:
    if not (files.ca_file.exists() and files.cert_file.exists() and files.key_file.exists()):
        return False
    cert = x509.load_pem_x509_certificate(files.cert_file.read_bytes())
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    made_for = {_general_name(host) for host in hosts}
    return made_for <= set(names) and cert.not_valid_after_utc > datetime.now(UTC) + _RENEW_BEFORE


def _expires(cert_file: Path) -> datetime:
    return x509.load_pem_x509_certificate(cert_file.read_bytes()).not_valid_after_utc


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_private(path: Path, content: bytes) -> None:
    # Created with its mode, not changed to it later: nobody else ever gets to open it.
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
        handle.write(content)
