"""A certificate authority for tests: roots, intermediates, leaves and revocation lists, made in this process.

Nothing here is for production: keys are made on the spot and written where a test wants them.
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from registrar.domain.certificate import parse_name

__all__ = ["Authority", "Issued"]

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

NOT_BEFORE: Final = 1_577_836_800
"""2020: before any clock of a test."""
NOT_AFTER: Final = 2_493_072_000
"""2049: after any."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate, its private key, and the certificates between it and its root."""

    certificate: x509.Certificate
    key: Key
    intermediates: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key in PEM, without encryption."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The certificate and its intermediates in DER, as they stand in an `x5c`."""
        return tuple(one.public_bytes(Encoding.DER) for one in (self.certificate, *self.intermediates))

    @property
    def client_cert(self) -> str:
        """The value of `Client-Cert` by which a trusted proxy hands the certificate on (RFC 9440 §2.2)."""
        return f":{base64.b64encode(self.der).decode('ascii')}:"

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write `NAME.pem`, with the intermediates, and `NAME.key`, readable by this user alone; give the two paths."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(
            b"".join(one.public_bytes(Encoding.PEM) for one in (self.certificate, *self.intermediates))
        )
        key.touch(mode=0o600)
        key.write_bytes(self.key_pem)
        return certificate, key


class Authority:
    """A certificate authority with a key of its own; a root, unless `intermediate()` of another made it.

    Args:
        name: the common name of the authority, or a whole subject of the form of RFC 4514.
    """

    def __init__(self, name: str = "CN=Test authority") -> None:
        self.own = _issue(name if "=" in name else f"CN={name}", ca=True)

    @property
    def der(self) -> bytes:
        """The authority's own certificate in DER: an anchor, where it is a root."""
        return self.own.der

    @property
    def pem(self) -> bytes:
        """The authority's own certificate in PEM."""
        return self.own.pem

    def write(self, folder: Path, name: str = "authority") -> Path:
        """Write the authority's own certificate as `NAME.pem` and give its path."""
        path = folder / f"{name}.pem"
        path.write_bytes(self.pem)
        return path

    def intermediate(self, name: str = "CN=Test intermediate", *, path_length: int | None = 0) -> Self:
        """An authority under this one."""
        made = object.__new__(type(self))
        made.own = self.issue(name if "=" in name else f"CN={name}", ca=True, path_length=path_length)
        return made

    def issue(
        self,
        subject: str = "CN=client",
        *,
        dns: Iterable[str] = (),
        uri: Iterable[str] = (),
        ip: Iterable[str] = (),
        email: Iterable[str] = (),
        not_before: int = NOT_BEFORE,
        not_after: int = NOT_AFTER,
        ca: bool = False,
        path_length: int | None = None,
        usage: Iterable[ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH),
        key: Literal["EC", "RSA"] | Key = "EC",
    ) -> Issued:
        """Issue a certificate.

        Args:
            subject: its subject (RFC 4514), with `2.5.4.97=…` or the name for attributes beyond the common ones.
            dns: its alternative names, by kind, as all that follow.
            uri: see `dns`.
            ip: see `dns`.
            email: see `dns`.
            not_before: seconds since 1970.
            not_after: seconds since 1970.
            ca: whether it is an authority's.
            path_length: how many authorities may stand under it, where it is an authority's.
            usage: extended key usages; none for a certificate without any.
            key: the kind of a new key, or a key to certify.
        """
        names = [
            *map(x509.DNSName, dns),
            *map(x509.UniformResourceIdentifier, uri),
            *(x509.IPAddress(ipaddress.ip_address(one)) for one in ip),
            *map(x509.RFC822Name, email),
        ]
        return _issue(
            subject,
            by=self.own,
            names=names,
            not_before=not_before,
            not_after=not_after,
            ca=ca,
            path_length=path_length,
            usage=[] if ca else [*usage],
            key=key,
        )

    def crl(
        self,
        *revoked: Issued,
        reason: x509.ReasonFlags = x509.ReasonFlags.key_compromise,
        this_update: int = NOT_BEFORE,
        next_update: int = NOT_AFTER,
        extensions: Iterable[x509.ExtensionType] = (),
    ) -> bytes:
        """A revocation list of this authority in DER (RFC 5280 §5); `extensions` are added as critical ones."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.own.certificate.subject)
            .last_update(_time(this_update))
            .next_update(_time(next_update))
        )
        for one in revoked:
            entry = (
                x509.RevokedCertificateBuilder()
                .serial_number(one.certificate.serial_number)
                .revocation_date(_time(this_update))
                .add_extension(x509.CRLReason(reason), critical=False)
            )
            builder = builder.add_revoked_certificate(entry.build())
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(self.own.key, hashes.SHA256()).public_bytes(Encoding.DER)


def _issue(
    subject: str,
    *,
    by: Issued | None = None,
    names: Iterable[x509.GeneralName] = (),
    not_before: int = NOT_BEFORE,
    not_after: int = NOT_AFTER,
    ca: bool,
    path_length: int | None = None,
    usage: Iterable[ObjectIdentifier] = (),
    key: Literal["EC", "RSA"] | Key = "EC",
) -> Issued:
    made = _key(key) if isinstance(key, str) else key
    name = parse_name(subject)
    signer, issuer = (by.key, by.certificate.subject) if by else (made, name)
    builder = (
        x509.CertificateBuilder(issuer, name, made.public_key(), x509.random_serial_number())
        .not_valid_before(_time(not_before))
        .not_valid_after(_time(not_after))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length if ca else None), critical=True)
        .add_extension(_usage(ca=ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(made.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if known := [*names]:
        builder = builder.add_extension(x509.SubjectAlternativeName(known), critical=False)
    if extended := [*usage]:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    # A root is known to whoever trusts it, so it is never sent along.
    between = (by.certificate, *by.intermediates) if by and by.certificate.issuer != by.certificate.subject else ()
    return Issued(builder.sign(signer, hashes.SHA256()), made, between)


def _key(kind: Literal["EC", "RSA"]) -> Key:
    if kind == "RSA":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _time(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
