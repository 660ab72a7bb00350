"""Resource indicators (RFC 8707): which API a token is for, and which scopes mean something there."""

from __future__ import annotations

from collections.abc import Sequence

from registrar.domain import uri as grammar
from registrar.domain.errors import ProtocolError
from registrar.domain.settings import Resource
from registrar.service.registry import Issuer


def asked(issuer: Issuer, parameter: str) -> tuple[str, ...]:
    """The resources that a request asks for.

    Args:
        issuer: whose tokens they are for.
        parameter: the values of `resource`, joined by spaces; empty where there is none.

    Raises:
        ProtocolError: `invalid_target`; one is no resource of this issuer.
    """
    resources = tuple(dict.fromkeys(parameter.split()))
    for resource in resources:
        if not grammar.is_absolute(resource):
            raise ProtocolError(
                "invalid_target", "A resource is an absolute URI without a fragment (RFC 8707 section 2)."
            )
        if not issuer.settings.authorization.any_resource and _configured(issuer, resource) is None:
            raise ProtocolError("invalid_target", "There is no such resource here; its operator can add it.")
    return resources


def narrowed(issuer: Issuer, granted: Sequence[str], parameter: str) -> tuple[str, ...]:
    """The resources of a token: what its request asks for among the granted ones, or all of these (RFC 8707 §2.2).

    Raises:
        ProtocolError: `invalid_target`; one was not granted.
    """
    resources = asked(issuer, parameter)
    if not set(resources) <= {*granted, *([] if granted else audience(issuer, ()))}:
        raise ProtocolError("invalid_target", "A resource was not asked for in the authorization request.")
    return resources or tuple(granted)


def audience(issuer: Issuer, resources: Sequence[str]) -> tuple[str, ...]:
    """Whom a token is for: its resources, or the default one, or the issuer itself."""
    return tuple(resources) or (issuer.settings.authorization.default_resource or issuer.url,)


def meaningful(issuer: Issuer, audience: Sequence[str], scope: Sequence[str]) -> tuple[str, ...]:
    """The scopes that mean something to an audience.

    Raises:
        ProtocolError: `invalid_scope`; none of several does.
    """
    known = [_configured(issuer, one) for one in audience]
    if any(one is None or not one.scopes for one in known):
        return tuple(scope)
    left = tuple(word for word in scope if any(one is not None and word in one.scopes for one in known))
    if scope and not left:
        raise ProtocolError("invalid_scope", "None of the scopes means anything to this resource.")
    return left


def serves(issuer: Issuer, client_id: str, audience: Sequence[str]) -> bool:
    """Whether a client is a resource server of an audience, and so may introspect its tokens (RFC 7662 §2.1)."""
    return any(one is not None and client_id in one.clients for one in (_configured(issuer, uri) for uri in audience))


def _configured(issuer: Issuer, uri: str) -> Resource | None:
    return next((one for one in issuer.settings.authorization.resources.values() if one.uri == uri), None)
