"""What this server offers: one table that the discovery documents publish and that registrations are judged by.

A row of `OFFERED` is a member of the authorization server metadata (RFC 8414 §2, OpenID Connect Discovery §3) that
lists values. A row of the client metadata table names the row here that its value must come from, so what is
published and what is accepted cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NewType
from urllib.parse import urlsplit

from registrar.domain.claims import ABOUT_PEOPLE

Offered = NewType("Offered", Mapping[str, tuple[str, ...]])
"""The rows in force at one issuer: `OFFERED`, narrowed by its settings and its policy."""

_SIGNING: Final = ("RS256", "PS256", "ES256", "EdDSA")
MAC: Final = ("HS256", "HS384", "HS512")

_KEY_MANAGEMENT: Final = ("RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A256KW", "A256KW", "dir")
_CONTENT_ENCRYPTION: Final = ("A128CBC-HS256", "A256CBC-HS512", "A128GCM", "A256GCM")

_ABOUT_SIGN_INS: Final = (
    "sub",
    "iss",
    "aud",
    "azp",
    "exp",
    "iat",
    "auth_time",
    "nonce",
    "acr",
    "amr",
    "sid",
    "at_hash",
    "c_hash",
)

OWN_SIGNING: Final = ("RS256", "PS256", "ES256", "EdDSA")
"""What this server signs with: RS256, which OpenID Connect Discovery §3 demands, first."""

SYMMETRIC: Final = frozenset({*MAC, "A256KW", "dir"})
"""Algorithms keyed by the client secret, so a client that registers one needs a secret (OpenID Connect Core §10)."""

UNSIGNED: Final = "none"
"""No signature at all (RFC 7515 App. A.5): only under a policy that offers it."""

SECRET_METHODS: Final = frozenset({"client_secret_basic", "client_secret_post", "client_secret_jwt"})
"""Authentication methods that present or use a client secret (RFC 7591 §2)."""

KEY_METHODS: Final = frozenset({"private_key_jwt", "self_signed_tls_client_auth"})
"""Authentication methods that need a registered public key (OpenID Connect Core §9, RFC 8705 §2.2)."""

OFFERED: Final[Mapping[str, tuple[str, ...]]] = {
    "scopes_supported": (),  # filled from the issuer's settings
    "response_types_supported": ("code",),
    "response_modes_supported": ("query", "fragment", "form_post"),
    "grant_types_supported": (
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:device_code",
    ),
    "token_endpoint_auth_methods_supported": (
        "client_secret_basic",
        "client_secret_post",
        "none",
        "private_key_jwt",
        "client_secret_jwt",
        "tls_client_auth",
        "self_signed_tls_client_auth",
    ),
    "token_endpoint_auth_signing_alg_values_supported": (*_SIGNING, *MAC),
    "code_challenge_methods_supported": ("S256",),
    "subject_types_supported": ("public", "pairwise"),
    "id_token_signing_alg_values_supported": (*OWN_SIGNING, *MAC),
    "id_token_encryption_alg_values_supported": _KEY_MANAGEMENT,
    "id_token_encryption_enc_values_supported": _CONTENT_ENCRYPTION,
    "userinfo_signing_alg_values_supported": (*OWN_SIGNING, *MAC),
    "userinfo_encryption_alg_values_supported": _KEY_MANAGEMENT,
    "userinfo_encryption_enc_values_supported": _CONTENT_ENCRYPTION,
    "request_object_signing_alg_values_supported": (*_SIGNING, *MAC),
    # Under the client's secret alone: this server publishes no key to encrypt for.
    "request_object_encryption_alg_values_supported": ("A256KW", "dir"),
    "request_object_encryption_enc_values_supported": _CONTENT_ENCRYPTION,
    "introspection_signing_alg_values_supported": OWN_SIGNING,
    "introspection_encryption_alg_values_supported": _KEY_MANAGEMENT,
    "introspection_encryption_enc_values_supported": _CONTENT_ENCRYPTION,
    "authorization_signing_alg_values_supported": (),
    "authorization_encryption_alg_values_supported": (),
    "authorization_encryption_enc_values_supported": (),
    "dpop_signing_alg_values_supported": ("ES256", "EdDSA", "RS256", "PS256"),
    "acr_values_supported": (),
    "authorization_details_types_supported": (),
    "claim_types_supported": ("normal",),
    "claims_supported": (*_ABOUT_SIGN_INS, *ABOUT_PEOPLE),
    "display_values_supported": ("page", "popup"),
    "prompt_values_supported": ("none", "login", "consent", "select_account"),
}
"""Member -> the values that this program can serve; an empty row is offered only where settings or `EXTRA` fill it."""

EXTRA: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "implicit": {
        # A response type is a set of words (OAuth 2.0 Multiple Response Types §5); both orders of this one are in use.
        "response_types_supported": (
            "id_token",
            "id_token token",
            "token id_token",
            "code id_token",
            "code token",
            "code id_token token",
        ),
        "grant_types_supported": ("implicit",),
    },
    "unsigned": {
        "id_token_signing_alg_values_supported": (UNSIGNED,),
        "request_object_signing_alg_values_supported": (UNSIGNED,),
    },
    "JARM": {
        "response_modes_supported": ("jwt", "query.jwt", "fragment.jwt", "form_post.jwt"),
        "authorization_signing_alg_values_supported": ("PS256", "ES256", "RS256", "EdDSA"),
        "authorization_encryption_alg_values_supported": ("RSA-OAEP", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A256KW"),
        "authorization_encryption_enc_values_supported": _CONTENT_ENCRYPTION,
    },
    "webhooks": {},
    "mobile": {},
}
"""Feature -> the rows, and values of rows, that it adds where a policy switches it on."""


def with_features(offered: Offered, features: frozenset[str]) -> Offered:
    """What is offered under a policy that switches these features on."""
    rows = dict(offered)
    for feature in sorted(features & EXTRA.keys()):
        for name, values in EXTRA[feature].items():
            rows[name] = tuple(dict.fromkeys((*rows.get(name, ()), *values)))
    return Offered(rows)


ENDPOINTS: Final[Mapping[str, str]] = {
    "authorization_endpoint": "/authorize",
    "token_endpoint": "/token",
    "jwks_uri": "/jwks",
    "userinfo_endpoint": "/userinfo",
    "introspection_endpoint": "/introspect",
    "revocation_endpoint": "/revoke",
    "pushed_authorization_request_endpoint": "/par",
    "device_authorization_endpoint": "/device_authorization",
}
"""Member -> path under the issuer's URL. The registration endpoint is not here: whether and where is a setting."""

PAGES: Final[Mapping[str, str]] = {
    "sign_in": "/sign-in",
    "upstream": "/sign-in/upstream",
    "callback": "/sign-in/upstream/callback",
    "sign_up": "/sign-up",
    "consent": "/consent",
    "account": "/account",
    "device": "/device",
    "end_session": "/end_session",
    "style": "/style.css",
    "logo": "/logo/",
}
"""What people see -> its path under the issuer's URL; the last segment of a logo's path is its client's identifier."""

MUTUAL_TLS: Final = (
    "token_endpoint",
    "introspection_endpoint",
    "revocation_endpoint",
    "pushed_authorization_request_endpoint",
    "device_authorization_endpoint",
    "userinfo_endpoint",
    "registration_endpoint",
)
"""The endpoints that `mtls_endpoint_aliases` names (RFC 8705 §5): those that clients call by themselves."""

FLAGS: Final[Mapping[str, bool]] = {
    "authorization_response_iss_parameter_supported": True,  # RFC 9207 §3
    "request_parameter_supported": True,
    "request_uri_parameter_supported": True,
    "require_request_uri_registration": True,  # OpenID Connect Discovery §3: also what keeps request_uri from being an SSRF
    "claims_parameter_supported": True,
    "backchannel_logout_supported": True,
    "backchannel_logout_session_supported": True,
    "frontchannel_logout_supported": True,
    "frontchannel_logout_session_supported": True,
    "tls_client_certificate_bound_access_tokens": True,  # RFC 8705 §3.3
}

# RFC 8414 §2: where a *_endpoint_auth_* member of these endpoints is absent, the reader must guess; so they are written.
_SAME_AS_TOKEN_ENDPOINT: Final = ("introspection", "revocation")


def document(
    issuer: str,
    offered: Offered,
    *,
    registration_endpoint: str = "",
    pages: Mapping[str, str] | None = None,
    mutual_tls_url: str = "",
    metadata_documents: bool = False,
) -> dict[str, Any]:
    """The authorization server metadata document of an issuer; rows without a value are left out (RFC 8414 §3.2).

    Args:
        issuer: the issuer identifier, exactly as configured (RFC 8414 §3.3 compares it code point by code point).
        offered: what is offered at this issuer.
        registration_endpoint: its URL; empty when registration is disabled, and then the member is absent.
        pages: those of the operator, by member: `service_documentation`, `op_policy_uri`, `op_tos_uri`; an empty one is none.
        mutual_tls_url: where the issuer is reached with client certificates; empty for nowhere.
        metadata_documents: whether a client_id may be the URL of what describes the client; absent is no (CIMD §5).
    """
    members: dict[str, Any] = {"issuer": issuer}
    members |= {name: endpoint_url(issuer, path) for name, path in ENDPOINTS.items()}
    members["end_session_endpoint"] = endpoint_url(issuer, PAGES["end_session"])
    if registration_endpoint:
        members["registration_endpoint"] = registration_endpoint
    members |= {name: list(values) for name, values in offered.items() if values}
    for endpoint in _SAME_AS_TOKEN_ENDPOINT:
        for kind in ("auth_methods_supported", "auth_signing_alg_values_supported"):
            if values := offered.get(f"token_endpoint_{kind}"):
                members[f"{endpoint}_endpoint_{kind}"] = list(values)
    members |= FLAGS
    if metadata_documents:
        members["client_id_metadata_document_supported"] = True
    members |= {name: url for name, url in (pages or {}).items() if url}
    if mutual_tls_url:
        members["mtls_endpoint_aliases"] = {
            name: mutual_tls_url + members[name].removeprefix(issuer) for name in MUTUAL_TLS if name in members
        }
    return members


def endpoint_url(issuer: str, path: str) -> str:
    """The URL of an endpoint under an issuer: built from configuration, never from a request (RFC 7592 App. B)."""
    return issuer.rstrip("/") + path


def well_known_paths(issuer: str) -> tuple[str, ...]:
    """The paths that serve an issuer's metadata: RFC 8414 §3 inserts, OpenID Connect Discovery §4 appends.

    RFC 8414 §5 has openid-configuration inserted as well, so all three are served.
    """
    path = urlsplit(issuer).path.rstrip("/")
    paths = (
        f"/.well-known/oauth-authorization-server{path}",
        f"/.well-known/openid-configuration{path}",
        f"{path}/.well-known/openid-configuration",
    )
    return tuple(dict.fromkeys(paths))
