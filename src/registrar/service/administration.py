"""What an operator does with a client: its state, its labels, its secrets and its tokens. Every act leaves an event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec

from registrar.domain import coherence, credentials
from registrar.domain.client import Client, State, tombstone
from registrar.domain.credentials import Credentials, PresentedToken, TokenRecord, Unreadable
from registrar.domain.lifecycle import DAY
from registrar.domain.metadata import Registered
from registrar.policy import Policy
from registrar.policy.evidence import ManagementProof
from registrar.service import issuance
from registrar.service.operators import Operator, Refused, Unknown, check_labels, check_overlap, check_reason
from registrar.service.ports import Change, Conflict
from registrar.service.registry import Issuer, Registry

_ATTEMPTS: Final = 100
"""How often an act is tried again after another writer came first: a client that is busy changing itself must not
keep its operator from suspending it."""


async def _nothing_more(_: Client) -> Sequence[Change]:
    return ()


async def suspend(registry: Registry, issuer: Issuer, operator: Operator, client_id: str, reason: str = "") -> Client:
    """Suspend a client: its registration stays, and everything it asks for is refused until it is resumed.

    Raises:
        Refused: there is no such client, or it is not active.
    """
    return await _move(registry, issuer, operator, client_id, "client.suspended", State.ACTIVE, State.SUSPENDED, reason)


async def resume(registry: Registry, issuer: Issuer, operator: Operator, client_id: str, reason: str = "") -> Client:
    """Resume a suspended client.

    Raises:
        Refused: there is no such client, or it is not suspended.
    """
    return await _move(registry, issuer, operator, client_id, "client.resumed", State.SUSPENDED, State.ACTIVE, reason)


async def label(
    registry: Registry,
    issuer: Issuer,
    operator: Operator,
    client_id: str,
    labels: Mapping[str, str],
    counted: Callable[[Client], Awaitable[Sequence[Change]]] = _nothing_more,
) -> Client:
    """Label a client anew: an empty value takes a label away, and those that are not named stay.

    What is stored with that is asked for each time that the client is looked at: `labels.label` counts with it.

    Raises:
        Refused: there is no such client, or no such label.
    """
    check_labels(issuer, {name: value for name, value in labels.items() if value})
    now = registry.clock() // 1000

    def labelled(client: Client) -> Client:
        after = {name: value for name, value in {**client.labels, **labels}.items() if value}
        return msgspec.structs.replace(client, version=client.version + 1, updated_at=now, labels=after)

    said = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return await _change(registry, issuer, operator, client_id, "client.labelled", said, labelled, counted)


async def delete(registry: Registry, issuer: Issuer, operator: Operator, client_id: str, reason: str = "") -> Client:
    """Delete a client: a tombstone without credentials is left.

    Raises:
        Refused: there is no such client, or the reason is too long.
    """
    check_reason(reason)
    now = registry.clock() // 1000
    return await _change(
        registry, issuer, operator, client_id, "client.deleted", reason, lambda client: tombstone(client, now)
    )


async def rotate_secret(
    registry: Registry,
    issuer: Issuer,
    operator: Operator,
    client_id: str,
    *,
    overlap: int | None = None,
    reason: str = "",
) -> tuple[str, Client]:
    """Give a client a new secret; the old one lives on for `overlap` seconds (as its policy or the issuer says when None).

    No token is at hand, so the new data key lies under the key-encryption key until the client next presents its
    registration access token, and then under that.

    Raises:
        Refused: the client has no secret, or this server has no key-encryption key.
    """
    check_reason(reason)
    check_overlap(overlap)
    if not registry.keys:
        raise Refused("rotating a secret needs a key-encryption key (server.key_file)")
    now = registry.clock() // 1000
    judge = issuer.judge((await find(registry, issuer, client_id)).policy)
    policy = judge.policy if judge else Policy("")
    window = issuance.overlap(issuer, policy) if overlap is None else overlap
    minted = ""

    def rotated(client: Client) -> Client:
        nonlocal minted
        held = client.credentials
        if not coherence.needs_secret(client.metadata) or not held.secrets:
            raise Refused(f"{client_id} authenticates without a secret")
        cabinet = issuance.new_cabinet(registry, issuer, client_id)
        most = issuance.most(policy, client.expires_at, now)
        minted, record = cabinet.mint_secret(held.secrets[0].version + 1, now, most)
        old = [issuance.superseded(one, now + window) for one in held.secrets]
        tokens = tuple(TokenRecord(one.digest, None, one.until) for one in held.tokens)
        living = [one for one in old if one.lives(now)][: issuance.SUPERSEDED]
        after = Credentials(tokens, (record, *living), cabinet.wrap_for_server())
        return msgspec.structs.replace(client, version=client.version + 1, updated_at=now, credentials=after)

    said = f"{reason}; overlap {window} s" if reason else f"overlap {window} s"
    client = await _change(registry, issuer, operator, client_id, "client.secret_rotated", said, rotated)
    return minted, client


async def reissue_token(
    registry: Registry, issuer: Issuer, operator: Operator, client_id: str, reason: str = ""
) -> tuple[PresentedToken, str, Client]:
    """Give a client a new registration access token in place of one that it has lost; those that it had end at once.

    Its secret lies under a key that the lost token opened. Where the server can open it too, the client keeps it;
    otherwise it gets a new one, and the old one lives on for the overlap.

    Returns:
        The token, the new secret where there is one, and the client.

    Raises:
        Refused: there is no such client, it is managed in another way or not at all, or its secret has to be kept under
            a key-encryption key and there is none.
    """
    check_reason(reason)
    now = registry.clock() // 1000
    token, secret = issuance.mint_token(registry), ""

    def reissued(client: Client) -> Client:
        nonlocal secret
        secret = ""
        judge = issuer.judge(client.policy)
        if not issuer.managed:
            raise Refused(f"clients do not manage themselves at {issuer.name}")
        if judge is not None and ManagementProof.REGISTRATION_ACCESS_TOKEN not in judge.policy.management.proofs:
            raise Refused(f"the policy of {client_id} has it managed without a registration access token")
        held = client.credentials
        if not coherence.needs_secret(client.metadata) or not held.secrets:
            after = Credentials((TokenRecord(credentials.digest(token)),))
            return msgspec.structs.replace(client, version=client.version + 1, updated_at=now, credentials=after)
        most = issuance.most(judge.policy if judge else Policy(""), client.expires_at, now)
        try:
            cabinet = issuance.open_by_server(registry, issuer, client)
        except Unreadable:
            cabinet = None
        secrets = held.secrets
        if cabinet is None:
            if coherence.needs_symmetric_key(client.metadata) and not registry.keys:
                raise Refused("a new secret that the server can read needs a key-encryption key (server.key_file)")
            cabinet = issuance.new_cabinet(registry, issuer, client_id)
            secret, record = cabinet.mint_secret(held.secrets[0].version + 1, now, most)
            window = now + issuance.overlap(issuer, judge.policy if judge else Policy(""))
            old = [issuance.superseded(one, window) for one in held.secrets]
            secrets = (record, *[one for one in old if one.lives(now)][: issuance.SUPERSEDED])
        shared = cabinet.wrap_for_server() if coherence.needs_symmetric_key(client.metadata) else None
        after = Credentials((TokenRecord(credentials.digest(token), cabinet.wrap_for(token)),), secrets, shared)
        return msgspec.structs.replace(client, version=client.version + 1, updated_at=now, credentials=after)

    client = await _change(registry, issuer, operator, client_id, "client.token_reissued", reason, reissued)
    return token, secret, client


class ReissuedToken(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A registration access token that was issued anew, shown this once. Times are in seconds since 1970."""

    client_id: str
    """Whose it is."""
    registration_access_token: str
    """The token that manages the registration now (RFC 7592 §3)."""
    registration_client_uri: str
    """Where the registration is managed."""
    client_secret: str = ""
    """The new secret, where the old one was tied to the old token."""
    client_secret_expires_at: int | msgspec.UnsetType = msgspec.UNSET
    """When the new secret ends; 0 is never."""
    old_secret_works_until: int | msgspec.UnsetType = msgspec.UNSET
    """Until when the old secret works."""


def reissued(issuer: Issuer, client: Client, token: PresentedToken, secret: str) -> ReissuedToken:
    """What an operator is shown after `reissue_token`, this once."""
    told = ReissuedToken(
        client_id=client.client_id,
        registration_access_token=token,
        registration_client_uri=issuer.registration_client_uri(client),
    )
    if not secret:
        return told
    current, *old = client.credentials.secrets
    return msgspec.structs.replace(
        told,
        client_secret=secret,
        client_secret_expires_at=current.expires_at,
        old_secret_works_until=old[0].until if old else msgspec.UNSET,
    )


async def find(registry: Registry, issuer: Issuer, client_id: str) -> Client:
    """A client, tombstones included.

    Raises:
        Refused: there never was such a client.
    """
    client = await registry.store.find(issuer.name, client_id)
    if client is None:
        raise Unknown(f"there is no client {client_id} at {issuer.name}")
    return client


async def _move(
    registry: Registry,
    issuer: Issuer,
    operator: Operator,
    client_id: str,
    kind: str,
    source: State,
    target: State,
    reason: str,
) -> Client:
    check_reason(reason)
    now = registry.clock() // 1000

    def moved(client: Client) -> Client:
        if client.state is not source and not (client.dormant and target is State.SUSPENDED):
            raise Refused(f"{client_id} is {client.state}, not {source}")
        suspended = target is State.SUSPENDED
        return msgspec.structs.replace(
            client,
            version=client.version + 1,
            updated_at=now,
            state=target,
            suspended_at=now if suspended else 0,
            suspended_by="",
            # One that comes back is looked at soon, by its last use.
            due_at=client.due_at if suspended else now + DAY,
        )

    return await _change(registry, issuer, operator, client_id, kind, reason, moved)


async def _change(
    registry: Registry,
    issuer: Issuer,
    operator: Operator,
    client_id: str,
    kind: str,
    reason: str,
    change: Callable[[Client], Client],
    more: Callable[[Client], Awaitable[Sequence[Change]]] = _nothing_more,
) -> Client:
    for _ in range(_ATTEMPTS):
        before = await find(registry, issuer, client_id)
        if before.state is State.DELETED:
            raise Refused(f"{client_id} is deleted")
        after = change(before)
        event = registry.audit.event(
            kind, issuer.name, operator.actor(), endpoint=operator.door, client_id=client_id, detail={"reason": reason}
        )
        try:
            await registry.store.update(after, [event], expected=before.version, changes=await more(before))
        except Conflict:
            continue
        return after
    raise Refused(f"{client_id} is being changed by others; try again")


def credentials_after(
    registry: Registry, issuer: Issuer, client: Client, metadata: Registered, now: int, policy: Policy
) -> tuple[str, Credentials]:
    """What a client has after a change that its token was not there for, and its new secret where it needs one now.

    What only its registration access token opens is completed with that.

    Raises:
        Refused: it needs a secret, and there is no key-encryption key to keep one under.
    """
    held = client.credentials
    if not coherence.needs_secret(metadata):
        return "", Credentials(tuple(TokenRecord(one.digest, None, one.until) for one in held.tokens))
    if held.secrets:
        return "", held
    if not registry.keys:
        raise Refused("a secret that no token is at hand for needs a key-encryption key (server.key_file)")
    cabinet = issuance.new_cabinet(registry, issuer, client.client_id)
    secret, record = cabinet.mint_secret(1, now, issuance.most(policy, client.expires_at, now))
    tokens = tuple(TokenRecord(one.digest, None, one.until) for one in held.tokens)
    return secret, Credentials(tokens, (record,), cabinet.wrap_for_server())
