"""Who may manage a registration: what the policy wants shown, and whether it was (RFC 7592 §2)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from registrar.domain import certificate
from registrar.domain.client import Client, State
from registrar.domain.credentials import PresentedToken, TokenRecord
from registrar.domain.errors import BearerError, ProtocolError
from registrar.policy import Contradiction
from registrar.policy.evidence import ManagementProof
from registrar.policy.policy import Management
from registrar.service import access, sweep
from registrar.service.audit import Caller
from registrar.service.parts import vouched
from registrar.service.registry import Issuer, Registry


@dataclass(frozen=True, slots=True)
class Session:
    """A client that has shown its registration access token."""

    client: Client
    token: PresentedToken = dataclasses.field(repr=False)
    """The registration access token; empty where the policy has registrations managed with access tokens."""
    record: TokenRecord | None

    @property
    def latest(self) -> bool:
        """Whether the token is the current one, and not one whose successor has never been used."""
        return self.record is None or self.record is self.client.credentials.tokens[0]


async def authenticate(registry: Registry, issuer: Issuer, client_id: str, caller: Caller, operation: str) -> Session:
    """RFC 7592 §2.1-2.3: one 401 for an unknown client, a deleted one, and a token of another client.

    How whoever manages a registration is known is the policy's to say; where the policy is configured no more, it is
    the registration access token.
    """
    if not issuer.managed:
        raise ProtocolError("not_found")
    if caller.token is None:
        raise BearerError("token_required", "A registration is managed with its registration access token.")
    now = registry.clock() // 1000
    client = await registry.store.find(issuer.name, client_id)
    if client is None or client.state is State.DELETED or client.expired(now):
        raise _not_of_this_client()
    try:
        judge = issuer.judge(client.policy)
    except Contradiction:
        judge = None
    management = judge.policy.management if judge else Management()
    record = None
    token = caller.token
    if ManagementProof.ACCESS_TOKEN in management.proofs:
        await _check_access_token(registry, issuer, client, caller, management)
        token = PresentedToken("")
    else:
        record = client.credentials.token_presented(caller.token, now)
        if record is None:
            raise _not_of_this_client()
    if ManagementProof.CERTIFICATE in management.proofs:
        _check_certificate(issuer, client, caller, now)
    client = await sweep.used(registry, issuer, client, caller)
    if not client.usable and client.state is not State.PENDING:
        raise ProtocolError("access_denied", "This client is suspended; its operator can tell why.")
    if operation not in management.operations:
        allowed = ", ".join(method for method, name in _METHODS.items() if name in management.operations)
        raise ProtocolError("method_not_allowed", headers=[(b"allow", allowed.encode())])
    return Session(client, token, record)


def _not_of_this_client() -> BearerError:
    """One answer, whether the client, its token or both are unknown: it must not tell which clients exist."""
    return BearerError("invalid_token", "The token is not one of this client.")


_METHODS: Final = {"GET": "read", "PUT": "update", "DELETE": "delete"}


async def _check_access_token(
    registry: Registry, issuer: Issuer, client: Client, caller: Caller, management: Management
) -> None:
    """An access token that the client earned with its own credentials, held by whoever it is bound to.

    Where the policy wants a certificate beside it, the token has to be bound to that one (RFC 8705 §3).
    """
    assert caller.token is not None
    scope = management.scope
    found = await access.find(registry, issuer, caller.token, registry.clock() // 1000)
    if found is None or found.token.client_id != client.client_id or found.token.subject:
        raise _not_of_this_client()
    known = found.token
    if known.dpop_jkt:
        raise BearerError("invalid_token", "The access token is bound to a key, and is no bearer token.", scope=scope)
    thumbprint = known.certificate_thumbprint
    if not thumbprint and ManagementProof.CERTIFICATE in management.proofs:
        raise BearerError("invalid_token", "The access token is not bound to a certificate.", scope=scope)
    if thumbprint and (caller.certificate is None or caller.certificate.thumbprint != thumbprint):
        raise BearerError("invalid_token", "The access token is bound to another certificate.", scope=scope)
    if scope not in known.scope:
        raise BearerError("insufficient_scope", f"The access token lacks the scope {scope}.", scope=scope)


def _check_certificate(issuer: Issuer, client: Client, caller: Caller, now: int) -> None:
    """The certificate of the registration, or a later one of the same subject; renewing one must lock nobody out."""
    presented, known = vouched(issuer, caller, now), client.admission
    if presented is None:
        raise BearerError("invalid_token", "A client certificate of a trusted authority is needed beside the token.")
    same_subject = known.certificate_subject and certificate.names_match(known.certificate_subject, presented)
    if not presented.valid_at(now) or not (same_subject or presented.thumbprint == known.certificate_thumbprint):
        raise BearerError("invalid_token", "The client certificate is not one of this client.")
