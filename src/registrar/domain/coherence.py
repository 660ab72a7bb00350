"""What must hold between the members of a registration, judged on the result and never on the request alone.

Each function below states one correspondence from the specifications. They see the members after policy and defaults,
so nothing that a policy or a default writes escapes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from registrar.domain import uri as grammar
from registrar.domain.findings import Finding, listed, rule
from registrar.domain.server_metadata import KEY_METHODS, SECRET_METHODS, SYMMETRIC, UNSIGNED

Members = Mapping[str, Any]
Correspondence = Callable[[Members], Iterator[Finding]]

NO_DOCUMENTS: Final[Mapping[str, Any]] = {}

REDIRECT_GRANTS: Final = frozenset({"authorization_code", "implicit"})
"""Grants that send a person back to the client (RFC 7591 §2.1)."""

GRANTS_OF_RESPONSE_TYPE: Final[Mapping[frozenset[str], frozenset[str]]] = {
    frozenset({"code"}): frozenset({"authorization_code"}),
    frozenset({"token"}): frozenset({"implicit"}),
    frozenset({"id_token"}): frozenset({"implicit"}),
    frozenset({"id_token", "token"}): frozenset({"implicit"}),
    frozenset({"code", "token"}): frozenset({"authorization_code", "implicit"}),
    frozenset({"code", "id_token"}): frozenset({"authorization_code", "implicit"}),
    frozenset({"code", "id_token", "token"}): frozenset({"authorization_code", "implicit"}),
}
"""The grants that a response type, as a set of words, presupposes (RFC 7591 §2.1, OpenID Connect Registration §2)."""

TLS_SUBJECTS: Final = (
    "tls_client_auth_subject_dn",
    "tls_client_auth_san_dns",
    "tls_client_auth_san_uri",
    "tls_client_auth_san_ip",
    "tls_client_auth_san_email",
)
_ENCRYPTED: Final = ("id_token", "userinfo", "introspection", "authorization")
_SYMMETRIC_MEMBERS: Final = frozenset(
    {
        "id_token_signed_response_alg",
        "id_token_encrypted_response_alg",
        "userinfo_signed_response_alg",
        "userinfo_encrypted_response_alg",
        "request_object_signing_alg",
        "request_object_encryption_alg",
        "introspection_encrypted_response_alg",
    }
)

REDIRECTS_NEEDED: Final = rule(
    "coherence.redirect_uris",
    "RFC 7591 §2",
    "is missing, and the grant {grant} sends people back to the client",
    "at least one redirect URI",
    error="invalid_redirect_uri",
)
RESPONSE_TYPES: Final = rule(
    "coherence.response_types",
    "RFC 7591 §2.1",
    "holds {response_type}, which needs grant_types to hold {grants}",
    "response types and grant types that correspond: code with authorization_code",
)
IMPLICIT_WEB: Final = rule(
    "coherence.implicit_web",
    "OpenID Connect Registration §2",
    "is {uri}, and a web client with the grant implicit is answered over https and not at localhost",
    "https at another host than localhost; or the application_type native, or the grant authorization_code alone",
    error="invalid_redirect_uri",
)
NO_RESPONSE_TYPE: Final = rule(
    "coherence.no_response_type",
    "RFC 7591 §2.1",
    "has no response type for the grant {grant}",
    "code, for authorization_code",
)
ONE_KEY_SOURCE: Final = rule(
    "coherence.jwks",
    "RFC 7591 §2",
    "is given together with jwks_uri",
    "one of the two; jwks_uri, where you can, because its keys can change without an update",
)
KEYS_NEEDED: Final = rule(
    "coherence.keys",
    "OpenID Connect Registration §2",
    "is {value}, which needs the client's public keys",
    "jwks_uri or jwks beside it",
)
CERTIFICATE_NEEDED: Final = rule(
    "coherence.self_signed_tls_client_auth",
    "RFC 8705 §2.2.2",
    "is self_signed_tls_client_auth, and no key of jwks has the certificate that it is compared with",
    "x5c on a key of jwks, or jwks_uri",
)
PUBLIC_BACKCHANNEL: Final = rule(
    "coherence.backchannel_logout_uri",
    "OpenID Connect Back-Channel Logout §2.2",
    "is plain http, which is for confidential clients",
    "https, or another token_endpoint_auth_method than none",
)
ONE_TLS_SUBJECT: Final = rule(
    "coherence.tls_client_auth",
    "RFC 8705 §2.1.2",
    "is tls_client_auth, and {count} of its subject members are given",
    f"exactly one of {', '.join(TLS_SUBJECTS)}",
)
ASSERTION_ALG: Final = rule(
    "coherence.token_endpoint_auth_signing_alg",
    "OpenID Connect Registration §2",
    "is {value}, which {method} does not use",
    "HS256, HS384 or HS512 with client_secret_jwt; RS256, PS256, ES256 or EdDSA with private_key_jwt",
)
ENC_WITHOUT_ALG: Final = rule(
    "coherence.encryption", "OpenID Connect Registration §2", "is given without {alg}", "both, or neither"
)
UNSIGNED_ID_TOKEN: Final = rule(
    "coherence.unsigned_id_token",
    "OpenID Connect Core §2",
    "is none, and {response_type} sends ID tokens through the browser, where anybody could write one",
    "a signing algorithm, or code alone",
)
PUBLIC_SYMMETRIC: Final = rule(
    "coherence.public_symmetric",
    "OpenID Connect Core §10.1",
    "is {value}, which is keyed by a client secret, and a public client has none",
    "an asymmetric algorithm, or another token_endpoint_auth_method than none",
)
PUBLIC_CREDENTIALS: Final = rule(
    "coherence.client_credentials",
    "RFC 6749 §4.4",
    "holds client_credentials, and a client without credentials cannot use it",
    "another token_endpoint_auth_method than none",
)
SECTOR_NEEDED: Final = rule(
    "coherence.sector",
    "OpenID Connect Core §8.1",
    "is pairwise, and the redirect URIs are on several hosts ({hosts}), so there is no one sector",
    "redirect URIs on one host",
)
SECTOR_UNREAD: Final = rule(
    "coherence.sector_identifier_uri",
    "OpenID Connect Registration §5",
    "could not be read as a JSON array of redirect URIs ({problem})",
    "an https URL that answers with a JSON array of strings",
)
SECTOR_LACKS: Final = rule(
    "coherence.sector_lacks",
    "OpenID Connect Registration §5",
    "does not list {uri}",
    "a document that lists every redirect URI of the registration",
)
FRONTCHANNEL_ORIGIN: Final = rule(
    "coherence.frontchannel_logout_uri",
    "OpenID Connect Front-Channel Logout §2",
    "is on {origin}, where no redirect URI is",
    "the scheme, host and port of a registered redirect URI",
)
ONE_PROOF: Final = rule(
    "coherence.sender_constraint",
    "RFC 8705 §3.4, RFC 9449 §5.2",
    "is true beside tls_client_certificate_bound_access_tokens, and a token is bound in one way",
    "one of the two",
)


def judge(members: Members, documents: Mapping[str, Any] = NO_DOCUMENTS) -> list[Finding]:
    """Every incoherence of a decided registration; an empty list may be registered.

    Args:
        members: the registration as it would be.
        documents: what was fetched from the URLs in it, by member: the document, or the reason why there is none.
    """
    faults = [
        *_redirects(members),
        *_implicit(members),
        *_response_types(members),
        *_method(members),
        *_sector_document(members, documents),
    ]
    for trigger in sorted(_CORRESPONDENCES.keys() & members.keys()):
        faults.extend(_CORRESPONDENCES[trigger](members))
    return faults


def needs_secret(members: Members) -> bool:
    """Whether the server must issue a secret: for authentication, or as the key of a symmetric algorithm.

    RFC 7591 §3.2.1, OpenID Connect Registration §2 (`request_object_encryption_alg`), OpenID Connect Core §10.
    """
    return members.get("token_endpoint_auth_method") in SECRET_METHODS or needs_symmetric_key(members)


def needs_symmetric_key(members: Members) -> bool:
    """Whether the secret is a key that the server must be able to read at run time, not only to compare."""
    if members.get("token_endpoint_auth_method") == "client_secret_jwt":
        return True
    return bool(_keyed_by_secret(members))


def _keyed_by_secret(members: Members) -> list[str]:
    return [name for name in _SYMMETRIC_MEMBERS.intersection(members) if members[name] in SYMMETRIC]


def _redirects(members: Members) -> list[Finding]:
    if "redirect_uris" in members:
        return []
    redirecting = [grant for grant in members.get("grant_types", ()) if grant in REDIRECT_GRANTS]
    return [REDIRECTS_NEEDED.refuse("redirect_uris", grant=redirecting[0])] if redirecting else []


def _implicit(members: Members) -> list[Finding]:
    """What comes in an address has no verifier to protect it: of a web client it goes over TLS, and to no port of a machine."""
    if "implicit" not in members.get("grant_types", ()) or members.get("application_type", "web") != "web":
        return []
    faults = []
    for at, uri in enumerate(members.get("redirect_uris", ())):
        scheme, host, _ = grammar.origin_of(uri)
        if scheme != "https" or host == "localhost":
            faults.append(IMPLICIT_WEB.refuse(f"redirect_uris[{at}]", uri=uri))
    return faults


def _response_types(members: Members) -> list[Finding]:
    grants, types = members.get("grant_types", ()), members.get("response_types", ())
    faults = []
    for response_type in types:
        needed = GRANTS_OF_RESPONSE_TYPE.get(frozenset(response_type.split(" ")))
        if needed is None or not needed.issubset(grants):
            faults.append(
                RESPONSE_TYPES.refuse(
                    "response_types", response_type=response_type, grants=listed(sorted(needed or {"its own grant"}))
                )
            )
    if not types and (redirecting := REDIRECT_GRANTS.intersection(grants)):
        faults.append(NO_RESPONSE_TYPE.refuse("response_types", grant=min(redirecting)))
    return faults


def _method(members: Members) -> list[Finding]:
    """What the way of authenticating presupposes, and what a client without one cannot have."""
    method = members.get("token_endpoint_auth_method")
    if method == "none":
        return _public_client(members)
    if method in KEY_METHODS and "jwks" not in members and "jwks_uri" not in members:
        return [KEYS_NEEDED.refuse("token_endpoint_auth_method", value=method)]
    if method == "self_signed_tls_client_auth" and "jwks" in members:
        certified = any("x5c" in key for key in members["jwks"]["keys"])
        return [] if certified else [CERTIFICATE_NEEDED.refuse("token_endpoint_auth_method")]
    if method == "tls_client_auth":
        given = sum(name in members for name in TLS_SUBJECTS)
        return [] if given == 1 else [ONE_TLS_SUBJECT.refuse("token_endpoint_auth_method", count=given)]
    return []


def _public_client(members: Members) -> list[Finding]:
    faults = []
    if "client_credentials" in members.get("grant_types", ()):
        faults.append(PUBLIC_CREDENTIALS.refuse("grant_types"))
    return faults + [PUBLIC_SYMMETRIC.refuse(name, value=members[name]) for name in sorted(_keyed_by_secret(members))]


def _key_source(members: Members) -> Iterator[Finding]:
    if "jwks_uri" in members:
        yield ONE_KEY_SOURCE.refuse("jwks")


def _keys_for(name: str) -> Correspondence:
    def keys(members: Members) -> Iterator[Finding]:
        if members[name] not in (*SYMMETRIC, UNSIGNED) and "jwks" not in members and "jwks_uri" not in members:
            yield KEYS_NEEDED.refuse(name, value=members[name])

    return keys


def _unsigned_id_token(members: Members) -> Iterator[Finding]:
    if members["id_token_signed_response_alg"] != UNSIGNED:
        return
    if through_browsers := [one for one in members.get("response_types", ()) if "id_token" in one.split(" ")]:
        yield UNSIGNED_ID_TOKEN.refuse("id_token_signed_response_alg", response_type=through_browsers[0])


def _assertion_algorithm(members: Members) -> Iterator[Finding]:
    algorithm, method = members["token_endpoint_auth_signing_alg"], members.get("token_endpoint_auth_method")
    symmetric = algorithm in SYMMETRIC
    if (method == "client_secret_jwt" and not symmetric) or (method == "private_key_jwt" and symmetric):
        yield ASSERTION_ALG.refuse("token_endpoint_auth_signing_alg", value=algorithm, method=method)


def _alg_for(enc: str) -> Correspondence:
    def pair(members: Members) -> Iterator[Finding]:
        if (alg := enc.removesuffix("enc") + "alg") not in members:
            yield ENC_WITHOUT_ALG.refuse(enc, alg=alg)

    return pair


def _sector_document(members: Members, documents: Mapping[str, Any]) -> list[Finding]:
    """The document is checked when the registration is judged, and not again (OpenID Connect Registration §5)."""
    if "sector_identifier_uri" not in members:
        return []
    document = documents.get("sector_identifier_uri", "it was not fetched")
    if not isinstance(document, list) or not all(isinstance(uri, str) for uri in document):
        problem = document if isinstance(document, str) else "it is of another shape"
        return [SECTOR_UNREAD.refuse("sector_identifier_uri", problem=problem)]
    missing = [uri for uri in members.get("redirect_uris", ()) if uri not in document]
    return [SECTOR_LACKS.refuse("sector_identifier_uri", uri=uri) for uri in missing[:1]]


def _sector(members: Members) -> Iterator[Finding]:
    if members["subject_type"] != "pairwise" or "sector_identifier_uri" in members:
        return
    hosts = sorted({grammar.host_of(uri) or uri for uri in members.get("redirect_uris", ())})
    if len(hosts) > 1:
        yield SECTOR_NEEDED.refuse("subject_type", hosts=hosts)


def _frontchannel_origin(members: Members) -> Iterator[Finding]:
    origin = grammar.origin_of(members["frontchannel_logout_uri"])
    if origin not in {grammar.origin_of(known) for known in members.get("redirect_uris", ())}:
        yield FRONTCHANNEL_ORIGIN.refuse("frontchannel_logout_uri", origin=f"{origin[0]}://{origin[1]}")


def _backchannel_scheme(members: Members) -> Iterator[Finding]:
    plain = members["backchannel_logout_uri"].lower().startswith("http:")
    if plain and members.get("token_endpoint_auth_method") == "none":
        yield PUBLIC_BACKCHANNEL.refuse("backchannel_logout_uri")


def _one_proof(members: Members) -> Iterator[Finding]:
    if members["dpop_bound_access_tokens"] and members.get("tls_client_certificate_bound_access_tokens"):
        yield ONE_PROOF.refuse("dpop_bound_access_tokens")


_CORRESPONDENCES: Final[Mapping[str, Correspondence]] = {
    "id_token_signed_response_alg": _unsigned_id_token,
    "jwks": _key_source,
    **{f"{what}_encrypted_response_alg": _keys_for(f"{what}_encrypted_response_alg") for what in _ENCRYPTED},
    "request_object_signing_alg": _keys_for("request_object_signing_alg"),
    "token_endpoint_auth_signing_alg": _assertion_algorithm,
    **{f"{what}_encrypted_response_enc": _alg_for(f"{what}_encrypted_response_enc") for what in _ENCRYPTED},
    "request_object_encryption_enc": _alg_for("request_object_encryption_enc"),
    "subject_type": _sector,
    "frontchannel_logout_uri": _frontchannel_origin,
    "backchannel_logout_uri": _backchannel_scheme,
    "dpop_bound_access_tokens": _one_proof,
}
"""What to look at where a member is present."""

LOOKED_AT: Final = frozenset(
    {
        "application_type",
        "redirect_uris",
        "grant_types",
        "response_types",
        "token_endpoint_auth_method",
        "jwks",
        "jwks_uri",
        "sector_identifier_uri",
        "tls_client_certificate_bound_access_tokens",
        *TLS_SUBJECTS,
        *_SYMMETRIC_MEMBERS,
        *_CORRESPONDENCES,
    }
)
"""Every member that a correspondence reads; a registration without them is coherent or not without being looked at."""
