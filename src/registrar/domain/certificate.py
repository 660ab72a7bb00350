"""Certificates of clients (RFC 5280, RFC 8705): what one says, whose name it bears, and whether it can be trusted.

Parsing and path validation are cryptography's. What is ours is what OAuth asks: thumbprints, names compared as names
and not as text, and what counts as an answer about revocation. Nothing here looks at a clock; times are seconds since
1970.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import re
import stringprep
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.x509 import verification

CHAIN: Final = 8
"""Certificates of a chain at the most, without its anchor."""

_ATTRIBUTES: Final = {
    "2.5.4.5": "serialNumber",
    "2.5.4.15": "businessCategory",
    "2.5.4.97": "organizationIdentifier",
    "1.2.840.113549.1.9.1": "emailAddress",
    "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionLocality",
    "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionStateOrProvince",
    "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionCountry",
}
"""Attribute type -> its name, beside those of RFC 4514 §3 (CN, L, ST, O, OU, C, STREET, DC, UID)."""

_TYPES: Final = {name.lower(): oid for oid, name in _ATTRIBUTES.items()} | {
    "cn": "2.5.4.3",
    "l": "2.5.4.7",
    "st": "2.5.4.8",
    "o": "2.5.4.10",
    "ou": "2.5.4.11",
    "c": "2.5.4.6",
    "street": "2.5.4.9",
    "dc": "0.9.2342.19200300.100.1.25",
    "uid": "0.9.2342.19200300.100.1.1",
}
_ATTRIBUTE: Final = re.compile(
    r"\\.|(?P<before>^|[,+])(?P<type>[A-Za-z][A-Za-z0-9-]*|[0-9.]+)=(?P<hex>#[0-9A-Fa-f]*(?=[,+]|\Z))?"
)
_ENCOUNTERED: Final = re.compile(r" \(encountered processing .*", re.DOTALL)


class Unreadable(ValueError):  # noqa: N818 (a verdict, as Untrusted)
    """Bytes that are not a certificate, or one of which a part cannot be read."""


class Untrusted(Exception):  # noqa: N818 (a verdict)
    """A certificate that is well-formed and not to be relied on; the text says why."""


class Certificate(msgspec.Struct, frozen=True):
    """What a certificate says. That it could be read says nothing of whether it can be trusted."""

    thumbprint: str
    """base64url of the SHA-256 of the DER (RFC 8705 §3.1), as in `x5t#S256`."""
    public_key_thumbprint: str
    """base64url of the SHA-256 of the SubjectPublicKeyInfo: the same for every certificate of a key."""
    subject: str
    """RFC 4514, as in `tls_client_auth_subject_dn`; compare it with `names_match` alone."""
    issuer: str
    serial: int
    not_before: int
    not_after: int
    """The last second of its validity."""
    dns: tuple[str, ...]
    uri: tuple[str, ...]
    ip: tuple[str, ...]
    email: tuple[str, ...]
    attributes: Mapping[str, tuple[str, ...]]
    """The subject by short name (`UID`, `organizationIdentifier`, …), or dotted where there is none."""
    der: bytes

    def __repr__(self) -> str:
        """Without names, which may be a person's."""
        return f"Certificate({self.thumbprint!r})"

    def valid_at(self, now: int) -> bool:
        """Whether a time lies in its validity (RFC 5280 §4.1.2.5)."""
        return self.not_before <= now <= self.not_after


@contextmanager
def _quietly() -> Iterator[None]:
    """Without cryptography's warnings of oddities, such as a country of three letters: they are not the operator's."""
    with warnings.catch_warnings(action="ignore"):
        yield


@_quietly()
def read(der: bytes) -> Certificate:
    """A certificate from its DER.

    Raises:
        Unreadable: it is not one certificate, or its names or its key cannot be read.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    loaded = _load(der)
    try:
        key = loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        subject, issuer = loaded.subject, loaded.issuer
        names: Any = _extension(loaded.extensions, x509.SubjectAlternativeName) or x509.SubjectAlternativeName([])
        return Certificate(
            thumbprint=thumbprint(der),
            public_key_thumbprint=thumbprint(key),
            subject=subject.rfc4514_string(),
            issuer=issuer.rfc4514_string(),
            serial=loaded.serial_number,
            not_before=int(loaded.not_valid_before_utc.timestamp()),
            not_after=int(loaded.not_valid_after_utc.timestamp()),
            dns=tuple(names.get_values_for_type(x509.DNSName)),
            uri=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
            ip=tuple(map(str, names.get_values_for_type(x509.IPAddress))),
            email=tuple(names.get_values_for_type(x509.RFC822Name)),
            attributes=_attributes(subject),
            der=der,
        )
    except _unreadable() as problem:
        raise Unreadable(f"a part of the certificate cannot be read: {problem}") from None


def _load(der: bytes) -> x509.Certificate:
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(der)
    except _unreadable():
        raise Unreadable("this is not the DER of one X.509 certificate") from None


def _unreadable() -> tuple[type[Exception], ...]:
    """What cryptography raises for what it cannot read; much of it only once a part is looked at."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    return (
        ValueError,
        TypeError,
        OverflowError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    )


def _extension(extensions: x509.Extensions, kind: type[x509.ExtensionType]) -> x509.ExtensionType | None:
    return next((one.value for one in extensions if isinstance(one.value, kind)), None)


def thumbprint(octets: bytes) -> str:
    """base64url of the SHA-256 of a DER (RFC 8705 §3.1)."""
    return base64.urlsafe_b64encode(hashlib.sha256(octets).digest()).rstrip(b"=").decode("ascii")


def _attributes(name: x509.Name) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for attribute in name:
        if isinstance(attribute.value, str):
            short = _ATTRIBUTES.get(attribute.oid.dotted_string, attribute.rfc4514_attribute_name)
            found[short] = (*found.get(short, ()), attribute.value)
    return found


# --- names ------------------------------------------------------------------------------------------------------------


def parse_name(text: str) -> x509.Name:
    """A distinguished name from its string (RFC 4514).

    Beside the short names of the RFC those of `Certificate.attributes` are known, and a value may be the hexadecimal
    BER of a string (`2.5.4.97=#0c…`, §2.4), as Open Finance Brasil writes it.

    Raises:
        ValueError: it is not such a string.
    """
    from cryptography import x509

    return x509.Name.from_rfc4514_string(_ATTRIBUTE.sub(_plain, text))


def _plain(found: re.Match[str]) -> str:
    """An attribute as cryptography's parser takes it: its type dotted, its value never in hexadecimal."""
    from cryptography import x509

    kind = found["type"]
    if kind is None:  # an escaped character
        return found[0]
    oid = _TYPES.get(kind.lower(), kind)
    if found["hex"] is None:
        return f"{found['before']}{oid}="
    text = _decoded(bytes.fromhex(found["hex"][1:]))
    return found["before"] + x509.NameAttribute(x509.ObjectIdentifier(oid), text).rfc4514_string({})


def _decoded(ber: bytes) -> str:
    """The text of an ASN.1 string (X.690 §8.23)."""
    from cryptography.hazmat import asn1

    match ber[:1]:
        case b"\x0c":
            return str(asn1.decode_der(str, ber))
        case b"\x13":
            return asn1.decode_der(asn1.PrintableString, ber).as_str()
        case b"\x16":
            return asn1.decode_der(asn1.IA5String, ber).as_str()
    raise ValueError("the hexadecimal form holds no UTF8String, PrintableString or IA5String")


@_quietly()
def names_match(registered_dn: str, certificate: Certificate) -> bool:
    """Whether a registered name (RFC 8705 §2.1.2) is the subject of a certificate.

    By distinguishedNameMatch (RFC 4517 §4.2.15): as many RDNs in the same order, in each the same attributes in any
    order, values without regard to case and to the amount of white space. A string that is no name matches nothing.
    """
    try:
        registered = parse_name(registered_dn)
    except ValueError:
        return False
    subject = _load(certificate.der).subject
    return bool(registered.rdns) and _comparable(registered) == _comparable(subject)


def _comparable(name: x509.Name) -> list[frozenset[tuple[str, str | bytes]]]:
    return [frozenset((one.oid.dotted_string, _prepared(one.value)) for one in rdn) for rdn in name.rdns]


def _prepared(value: str | bytes) -> str | bytes:
    """A string as caseIgnoreMatch compares it (RFC 4518 §2): mapped, folded, normalized, its spaces insignificant."""
    if isinstance(value, bytes):
        return value
    mapped = "".join(
        " " if character.isspace() else character for character in value if not stringprep.in_table_b1(character)
    )
    folded = unicodedata.normalize("NFKC", "".join(map(stringprep.map_table_b2, mapped)))
    return " ".join(folded.split())


# --- trust ------------------------------------------------------------------------------------------------------------


def chain(presented: Sequence[bytes], anchors: Sequence[bytes], now: int) -> Certificate:
    """The first certificate of a chain that was verified up to an anchor, as in a JWS's `x5c` (RFC 7515 §4.1.6).

    As `path`, of which this is the beginning.
    """
    return path(presented, anchors, now)[0]


@_quietly()
def path(presented: Sequence[bytes], anchors: Sequence[bytes], now: int) -> tuple[Certificate, ...]:
    """The certification path from the first presented certificate to an anchor (RFC 5280 §6), both in it.

    Validity, signatures, basic constraints, path lengths, key usages and name constraints are checked, of the anchor
    too; which extended key usage the certificate has is left to the caller, for it says what the key is used for.
    Revocation is not: ask `revoked` for each certificate and the one after it.

    Args:
        presented: DER, the certificate first; what follows may help to find a path, in any order.
        anchors: DER of the authorities that are trusted.
        now: seconds since 1970.

    Raises:
        Unreadable: one of them is no certificate.
        Untrusted: there is no such path.
    """
    from cryptography.x509 import verification

    if not presented:
        raise Untrusted("there is no certificate")
    if len(presented) > CHAIN:
        raise Untrusted(f"a chain has at most {CHAIN} certificates")
    if not anchors:
        raise Untrusted("no authority is trusted here")
    leaf, *others = [_load(der) for der in presented]
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store([_load(der) for der in anchors]))
        .time(dt.datetime.fromtimestamp(now, dt.UTC))
        .max_chain_depth(CHAIN)
        .extension_policies(ca_policy=_authorities(), ee_policy=_holders())
        .build_client_verifier()
    )
    try:
        found = verifier.verify(leaf, others).chain
    except verification.VerificationError as problem:
        # The text repeats names, and tells its way through cryptography; the last clause is the reason.
        reason = _ENCOUNTERED.sub("", str(problem)).rpartition(": ")[2]
        raise Untrusted(f"the certificate does not lead to a trusted authority: {reason}") from None
    return tuple(read(_der(one)) for one in found)


def _der(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)


def _authorities() -> verification.ExtensionPolicy:
    """What an authority's certificate needs (RFC 5280 §6.1.4): nothing that only the public web demands."""
    from cryptography import x509
    from cryptography.x509.verification import Criticality, ExtensionPolicy

    return (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_authority)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _signs_certificates)
    )


def _holders() -> verification.ExtensionPolicy:
    """What the certificate at the beginning needs: to be nobody's authority, and to be for signatures if it says so."""
    from cryptography import x509
    from cryptography.x509.verification import Criticality, ExtensionPolicy

    return (
        ExtensionPolicy.permit_all()
        .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_no_authority)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _signs)
    )


def _is_authority(_policy: object, _certificate: object, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("an issuer in it is no authority")


def _signs_certificates(_policy: object, _certificate: object, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("the key of an issuer in it is not for signing certificates")


def _is_no_authority(_policy: object, _certificate: object, constraints: x509.BasicConstraints | None) -> None:
    if constraints is not None and constraints.ca:
        raise ValueError("it is an authority's own")


def _signs(_policy: object, _certificate: object, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.digital_signature:
        raise ValueError("its key is not for signatures")


# --- revocation -------------------------------------------------------------------------------------------------------


@_quietly()
def revoked(certificate: Certificate, issuer: Certificate, lists: Iterable[bytes], now: int) -> str:
    """Why a certificate was revoked (RFC 5280 §5.3.1), by the revocation lists at hand; empty where it was not.

    A list that a critical extension narrows, to some certificates, reasons or changes, can tell that a certificate was
    revoked and not that it was not.

    Args:
        certificate: the one asked about.
        issuer: its issuer's, from a verified `path`.
        lists: CRLs in DER; those of other issuers are left aside.
        now: seconds since 1970.

    Raises:
        Unreadable: one of the lists is no CRL.
        Untrusted: the certificate is not the issuer's, or no list of the issuer, signed by it, current and whole, is there.
    """
    own, authority = _load(certificate.der), _load(issuer.der)
    try:
        own.verify_directly_issued_by(authority)
    except Exception as problem:  # noqa: BLE001 (whatever is wrong with it, it is not the issuer's)
        raise Untrusted(f"the certificate is not of this issuer: {problem}") from None
    answered = False
    for der in lists:
        found = _load_list(der)
        if not _speaks(found, authority, now):
            continue
        entry = found.get_revoked_certificate_by_serial_number(own.serial_number)
        if entry is not None:
            return _reason(entry)
        answered = answered or not any(extension.critical for extension in found.extensions)
    if not answered:
        raise Untrusted("no current revocation list of its issuer is at hand")
    return ""


def _load_list(der: bytes) -> x509.CertificateRevocationList:
    from cryptography import x509

    try:
        found = x509.load_der_x509_crl(der)
        _ = found.extensions, found.issuer, found.next_update_utc  # what cannot be read shows here
    except _unreadable():
        raise Unreadable("this is not the DER of one revocation list") from None
    return found


def _speaks(found: x509.CertificateRevocationList, authority: x509.Certificate, now: int) -> bool:
    """Whether a list is the authority's, about its own certificates, signed by a key that may, and current."""
    from cryptography import x509

    usage: Any = _extension(authority.extensions, x509.KeyUsage)
    scope: Any = _extension(found.extensions, x509.IssuingDistributionPoint)
    key: Any = authority.public_key()
    return (
        found.issuer == authority.subject
        and (usage is None or usage.crl_sign)
        and not (scope is not None and scope.indirect_crl)
        and found.next_update_utc is not None
        and found.last_update_utc.timestamp() <= now <= found.next_update_utc.timestamp()
        and found.is_signature_valid(key)
    )


def _reason(entry: x509.RevokedCertificate) -> str:
    from cryptography import x509

    given: Any = _extension(entry.extensions, x509.CRLReason)
    return str(given.reason.value) if given is not None else "unspecified"


def read_pem(text: bytes) -> tuple[bytes, ...]:
    """The certificates of a PEM file, as DER.

    Raises:
        ValueError: it holds none, or one that cannot be read.
    """
    from cryptography import x509

    return tuple(map(_der, x509.load_pem_x509_certificates(text)))


def public_jwk(der: bytes) -> dict[str, Any]:
    """The public key of a certificate as a JWK (RFC 7517).

    Raises:
        Unreadable: it is of a kind that JOSE does not know.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    spki = _load(der).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for kty in ("RSA", "EC", "OKP"):
        try:
            return dict(JWKRegistry.import_key(spki, kty).as_dict(private=False))
        except (JoseError, ValueError, TypeError):
            continue
    raise Unreadable("its key is of a kind that JOSE does not know")
