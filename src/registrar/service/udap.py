"""UDAP discovery (UDAP Server Metadata): what a trusted community finds of an issuer at `/.well-known/udap`."""

from __future__ import annotations

import base64
import uuid
from typing import Any, Final

from registrar.domain import certificate
from registrar.service.registry import Issuer, Registry

LIFETIME: Final = 86_400
"""Seconds for which the signed part is valid; a year is the most that is allowed."""
_SIGNED: Final = ("authorization_endpoint", "token_endpoint", "registration_endpoint")
_SHARED: Final = (
    "authorization_endpoint",
    "token_endpoint",
    "registration_endpoint",
    "grant_types_supported",
    "scopes_supported",
    "token_endpoint_auth_methods_supported",
    "token_endpoint_auth_signing_alg_values_supported",
)
"""What stands in the issuer's discovery document as well."""


def serves(issuer: Issuer) -> bool:
    """Whether the issuer believes statements that are signed with certificates of a community."""
    return issuer.enabled and any(trusted.anchors for trusted in issuer.statement_issuers)


def metadata(registry: Registry, issuer: Issuer) -> dict[str, Any]:
    """The document; with `signed_metadata` where the issuer has a certificate of the community itself."""
    published = issuer.metadata()
    form = issuer.policy.statement
    document: dict[str, Any] = {
        "udap_versions_supported": ["1"],
        "udap_profiles_supported": ["udap_dcr"],
        "udap_authorization_extensions_supported": [],
        "udap_authorization_extensions_required": [],
        "udap_certifications_supported": [],
        "udap_certifications_required": [],
        "registration_endpoint_jwt_signing_alg_values_supported": list(form.algorithms) if form else ["RS256", "ES256"],
        **{name: published[name] for name in _SHARED if name in published},
    }
    if issuer.settings.udap.chain:
        document["signed_metadata"] = _signed(registry, issuer, {name: document[name] for name in _SIGNED})
    return document


def _signed(registry: Registry, issuer: Issuer, endpoints: dict[str, Any]) -> str:
    from joserfc import jwt
    from joserfc.jwk import ECKey, RSAKey

    settings = issuer.settings.udap
    now = registry.clock() // 1000
    rsa = certificate.public_jwk(settings.chain[0])["kty"] == "RSA"
    algorithm = "RS256" if rsa else "ES256"
    header = {"alg": algorithm, "x5c": [base64.b64encode(one).decode("ascii") for one in settings.chain]}
    claims = {
        "iss": issuer.url,
        "sub": issuer.url,
        "iat": now,
        "exp": now + LIFETIME,
        "jti": str(uuid.UUID(bytes=registry.entropy(16), version=4)),
        **endpoints,
    }
    key = (RSAKey if rsa else ECKey).import_key(settings.private_key)
    return str(jwt.encode(header, claims, key, algorithms=[algorithm]))
