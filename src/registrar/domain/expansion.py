"""Expansions: which changes of a registration give its client more than it had, one table of them.

What a change takes away is no expansion, whatever else it does. What each is answered with is the policy's to say; that it
happened is always told, and consents that were given before do not cover it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from registrar.domain import jwks, redirect_uri, uri
from registrar.domain.coherence import TLS_SUBJECTS

Metadata = Mapping[str, Any]


class Kind(msgspec.Struct, frozen=True):
    """A kind of expansion."""

    name: str
    meaning: str
    member: str
    """The member that is named where it is refused."""
    finds: Callable[[Metadata, Metadata], bool]
    """Whether a change from one registration to another is one."""
    consent: bool = True
    """Whether people who consented before are asked again."""


_STRENGTH: Final = {
    "none": 0,
    "client_secret_post": 1,
    "client_secret_basic": 1,
    "client_secret_jwt": 2,
    "self_signed_tls_client_auth": 3,
    "private_key_jwt": 3,
    "tls_client_auth": 3,
}
"""Ways of authenticating, the weakest first; those that are as good as each other have the same number."""


def _more(member: str) -> Callable[[Metadata, Metadata], bool]:
    def more(before: Metadata, after: Metadata) -> bool:
        return not set(after.get(member) or ()) <= set(before.get(member) or ())

    return more


def _scope(before: Metadata, after: Metadata) -> bool:
    if not _of_its_own(after) <= _of_its_own(before):
        return True
    if "scope" not in after:  # who registered none may ask people for whatever is published
        return "scope" in before
    return "scope" in before and not set(after["scope"].split()) <= set(before["scope"].split())


def _of_its_own(metadata: Metadata) -> set[str]:
    """The scopes that it has without asking anybody (RFC 6749 §4.4): of these, none registered is none."""
    return set(metadata.get("scope", "").split()) if "client_credentials" in metadata.get("grant_types", ()) else set()


def _off(*members: str) -> Callable[[Metadata, Metadata], bool]:
    def off(before: Metadata, after: Metadata) -> bool:
        return any(before.get(member) and not after.get(member) for member in members)

    return off


def _changed(*members: str) -> Callable[[Metadata, Metadata], bool]:
    def changed(before: Metadata, after: Metadata) -> bool:
        names = {name for name in (*before, *after) if name.partition("#")[0] in members}
        return any(after.get(name) not in (None, before.get(name)) for name in names)

    return changed


def _hosts(metadata: Metadata, *members: str) -> set[tuple[str, str]]:
    """Where URLs lead: scheme, host and port. An app's own scheme is a place by itself, and so is loopback."""
    found: set[tuple[str, str]] = set()
    for member in members:
        value = metadata.get(member) or ()
        for one in [value] if isinstance(value, str) else value:
            scheme, host, port = uri.origin_of(one)
            loopback = host in redirect_uri.LOOPBACK_HOSTS
            found.add((scheme, "loopback" if loopback else f"{host}:{port}" if scheme in ("http", "https") else ""))
    return found


def _elsewhere(*members: str) -> Callable[[Metadata, Metadata], bool]:
    def elsewhere(before: Metadata, after: Metadata) -> bool:
        return not _hosts(after, *members) <= _hosts(before, *members)

    return elsewhere


def _linked(before: Metadata, after: Metadata) -> bool:
    pages = {name for name in (*before, *after) if name.partition("#")[0] in ("client_uri", "policy_uri", "tos_uri")}
    return _elsewhere(*pages)(before, after)


def _another_address(before: Metadata, after: Metadata) -> bool:
    return _more("redirect_uris")(before, after) and not _elsewhere("redirect_uris")(before, after)


def _weaker(before: Metadata, after: Metadata) -> bool:
    then, now = (_STRENGTH.get(one.get("token_endpoint_auth_method", ""), 0) for one in (before, after))
    return now < then


_PUBLISHED: Final = ("jwks_uri", "signed_jwks_uri")


def _key_host(before: Metadata, after: Metadata) -> bool:
    return _elsewhere(*_PUBLISHED)(before, after)


def _keys(before: Metadata, after: Metadata) -> bool:
    if any(after.get(name) not in (None, before.get(name)) for name in _PUBLISHED) and not _key_host(before, after):
        return True
    if "jwks" not in after:
        return False
    then = jwks.thumbprints(before["jwks"]) if "jwks" in before else ()
    return not set(jwks.thumbprints(after["jwks"])) <= set(then)


def _unsigned(before: Metadata, after: Metadata) -> bool:
    asked = _off(
        "require_signed_request_object",
        "require_pushed_authorization_requests",
        "backchannel_authentication_request_signing_alg",
        "backchannel_user_code_parameter",
    )
    return asked(before, after) or _to_none("request_object_signing_alg", before, after)


def _to_none(member: str, before: Metadata, after: Metadata) -> bool:
    """Whether what had to be signed need not be, or must not be; where no algorithm is registered, none may be it."""
    then, now = before.get(member), after.get(member)
    return (now == "none" and then != "none") or (now is None and then not in (None, "none"))


_PROTECTED: Final = (
    "id_token_encrypted_response_alg",
    "userinfo_signed_response_alg",
    "userinfo_encrypted_response_alg",
    "introspection_signed_response_alg",
    "introspection_encrypted_response_alg",
    "authorization_signed_response_alg",
    "authorization_encrypted_response_alg",
    "nfv_token_signed_response_alg",
    "nfv_token_encrypted_response_alg",
)
"""Each says how something is protected that is not without it."""


def _exposed(before: Metadata, after: Metadata) -> bool:
    return _off(*_PROTECTED)(before, after) or any(
        after.get(name) == "none" and before.get(name) != "none"
        for name in ("id_token_signed_response_alg", *_PROTECTED)
    )


def _identified(before: Metadata, after: Metadata) -> bool:
    return before.get("subject_type") == "pairwise" and (
        after.get("subject_type") != "pairwise"
        or before.get("sector_identifier_uri") != after.get("sector_identifier_uri")
    )


def _table(*rows: Kind) -> Mapping[str, Kind]:
    return MappingProxyType({row.name: row for row in rows})


KINDS: Final = _table(
    Kind(
        "scope",
        "More scopes; or none registered where some were, which is to ask people for any; or some of its own, where it "
        "had none.",
        "scope",
        _scope,
    ),
    Kind("grant", "More grant types.", "grant_types", _more("grant_types")),
    Kind("response", "More response types.", "response_types", _more("response_types")),
    Kind(
        "redirect_host",
        "Redirect URIs at another host or port, at an app's own scheme, or on this machine, where there were none.",
        "redirect_uris",
        _elsewhere("redirect_uris"),
    ),
    Kind(
        "redirect_uri",
        "Another redirect URI where the client leads people already.",
        "redirect_uris",
        _another_address,
        consent=False,
    ),
    Kind("authentication", "A weaker way of authenticating.", "token_endpoint_auth_method", _weaker),
    Kind("key_host", "Keys published at another host or port.", "jwks_uri", _key_host),
    Kind("keys", "Other keys given by value, or published elsewhere at the same host.", "jwks", _keys, consent=False),
    Kind(
        "details",
        "More types of authorization details.",
        "authorization_details_types",
        _more("authorization_details_types"),
    ),
    Kind("software", "Another software_id.", "software_id", _changed("software_id")),
    Kind("name", "Another name or picture.", "client_name", _changed("client_name", "logo_uri")),
    Kind("type", "Another application_type.", "application_type", _changed("application_type")),
    Kind(
        "unbound",
        "Tokens bound to a key or a certificate no more.",
        "dpop_bound_access_tokens",
        _off("dpop_bound_access_tokens", "tls_client_certificate_bound_access_tokens"),
    ),
    Kind(
        "unsigned",
        "Requests signed, pushed, or made with the person's code no more.",
        "require_signed_request_object",
        _unsigned,
    ),
    Kind(
        "certificate",
        "Another name in the certificate that it authenticates with.",
        "tls_client_auth_subject_dn",
        _changed(*TLS_SUBJECTS),
    ),
    Kind(
        "destination",
        "People sent, or things told, to another host or port: at sign-out, at the beginning of a sign-in, or later.",
        "post_logout_redirect_uris",
        _elsewhere(
            "post_logout_redirect_uris",
            "backchannel_logout_uri",
            "frontchannel_logout_uri",
            "initiate_login_uri",
            "claims_redirect_uris",
            "backchannel_client_notification_endpoint",
            "webhook_uris",
        ),
    ),
    Kind(
        "request_host",
        "Requests fetched from another host or port.",
        "request_uris",
        _elsewhere("request_uris"),
        consent=False,
    ),
    Kind(
        "exposed",
        "Tokens or answers signed or encrypted no more.",
        "id_token_encrypted_response_alg",
        _exposed,
        consent=False,
    ),
    Kind(
        "page",
        "Its home page, its terms or its privacy policy at another host or port.",
        "client_uri",
        _linked,
        consent=False,
    ),
    Kind("sector", "People known by what others know them by.", "subject_type", _identified),
)
"""Every kind of expansion."""


def expansions(before: Metadata, after: Metadata) -> tuple[str, ...]:
    """The kinds of expansion that a change is, in the order of the table."""
    if before == after:
        return ()
    return tuple(name for name, kind in KINDS.items() if kind.finds(before, after))


def asks_again(kinds: tuple[str, ...]) -> bool:
    """Whether people who consented before are asked again."""
    return any(KINDS[name].consent for name in kinds)
