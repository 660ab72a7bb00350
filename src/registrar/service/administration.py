"""What an operator does: initial access tokens, and the state and secrets of clients. Every act leaves an event."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import msgspec

from registrar.domain import coherence, credentials
from registrar.domain.access_token import ADMINISTRATION, SCOPE, InitialAccessToken, Kind
from registrar.domain.client import Client, State, tombstone
from registrar.domain.credentials import Credentials, PresentedToken, TokenRecord, Unreadable
from registrar.domain.events import Actor
from registrar.domain.lifecycle import DAY
from registrar.domain.metadata import Registered
from registrar.policy import Contradiction, Policy
from registrar.policy.evidence import ManagementProof
from registrar.policy.rules.applied import Networks
from registrar.service import issuance
from registrar.service.ports import Change, Conflict, NotFound
from registrar.service.registry import Issuer, Registry

_TOKEN_ID_BYTES: Final = 8
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_\-]{43}")
_ATTEMPTS: Final = 100
"""How often an act is tried again after another writer came first: a client that is busy changing itself must not
keep its operator from suspending it."""


class Refused(Exception):  # noqa: N818 (an answer to an operator)
    """An act that makes no sense for the state of things; the message says why."""


class Unknown(Refused):
    """An act on something that does not exist."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts, and by which door."""

    person: str
    door: str
    token_id: str = ""
    """The operator's token, where one was presented; the others are on the machine itself."""
    address: str = ""
    ceiling: tuple[str, ...] = ()
    """The scopes that this token lets be registered at the most; none is no ceiling."""

    def actor(self) -> Actor:
        """The operator as the audit names one."""
        known_by = "operator_token" if self.token_id else "local"
        return Actor("operator", known_by, self.token_id, self.person, self.address)


_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")
"""RFC 6749 §3.3."""
_SCOPES: Final = 2_048
"""Characters of the scopes of a token, as of those of a client."""
_LABEL: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,126}[\x21-\x7e])?")
"""Visible ASCII of at most 128 characters: what looks the same is the same."""
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


async def _nothing_more(_: Client) -> Sequence[Change]:
    return ()


LARGEST: Final = 10**10
"""The most seconds or uses that may be named: three centuries, and far below what a store can hold."""
REASON: Final = 500
"""Characters of a reason at the most: it goes into an event, which is kept for good and sent to every webhook."""


def check_reason(reason: str, what: str = "reason") -> None:
    """Refuse a reason that no event should hold.

    Args:
        reason: as somebody gave it.
        what: what it is called, where it is another such text.

    Raises:
        Refused: it is too long, or no text: what a shell passes on may be any bytes.
    """
    if len(reason) > REASON:
        raise Refused(f"a {what} has {REASON} characters at the most, and this one has {len(reason)}")
    if any("\ud800" <= one <= "\udfff" for one in reason):
        raise Refused(f"a {what} is text, and this one is not UTF-8")


def check_overlap(overlap: int | None) -> None:
    """Refuse an overlap that no store could hold the end of.

    Raises:
        Refused: it is negative or too long.
    """
    if overlap is not None and not 0 <= overlap <= LARGEST:
        raise Refused(f"an overlap is a number of seconds from 0 to {LARGEST}")


async def issue_token(
    registry: Registry,
    issuer: Issuer,
    operator: Operator,
    *,
    kind: Kind = Kind.OPERATOR,
    policy: str = "",
    label: str = "",
    owner: str = "",
    max_uses: int = 1,
    lifetime: int = 0,
    scope: tuple[str, ...] = (SCOPE,),
    addresses: tuple[str, ...] = (),
    certificate: str = "",
    attestation: bool = False,
    labels: Mapping[str, str] = _NONE,
    within: Mapping[str, str] = _NONE,
    under: InitialAccessToken | None = None,
) -> tuple[PresentedToken, InitialAccessToken]:
    """Issue an initial access token; its value is shown this once and can be shown never again.

    Args:
        registry: what every use case is given.
        issuer: where it may register.
        operator: who issues it.
        kind: who it stands for.
        policy: the policy that judges what is registered with it, or several with spaces between; empty for the issuer's.
        label: what it is for.
        owner: who answers for what is registered with it; needed for the kind `user`.
        max_uses: how many registrations; 0 is unlimited.
        lifetime: seconds until it expires; 0 is never.
        addresses: networks from which alone it registers anything.
        certificate: the thumbprint (`x5t#S256`) of the client certificate beside which alone it does.
        attestation: whether the issuer's attestation function has to believe what comes with it.
        labels: what every client is labelled with that is registered with it.
        within: the labels of all that it administers; empty for everything.
        under: the token by which the operator acts, where they act by one: what is issued is bound as that is, judged by
            its policies too, ends no later, and registers no more scopes.
        scope: without `dcr` it registers nothing; scopes beside it are all that may be registered with it, and those
            of `ADMINISTRATION` open the administration API.

    Raises:
        Refused: a policy is not configured, two contradict each other, or a user's token has no owner.
    """
    if len(said := " ".join(scope)) > _SCOPES or (scope and not _SCOPE.fullmatch(said)):
        raise Refused(f"scopes are ASCII words with spaces between, of {_SCOPES} characters at the most")
    check_reason(label, "label of a token")
    check_reason(owner, "name of an owner")
    now_ms = registry.clock()
    if under is not None:
        if beyond := under.beyond(scope):
            raise Refused(f"the token has not {beyond[0]}, and gives away no more than it has")
        scope = scope if set(scope) & set(under.ceiling) else (*scope, *under.ceiling)
        # Whoever administers within labels is judged by the issuer's policy, where by no other, and chooses none instead of it.
        own = under.policy or (issuer.policy.name if under.within and policy else "")
        policy = " ".join(dict.fromkeys([*own.split(), *policy.split()]))
        left = max(1, under.expires_at - now_ms // 1000)
        lifetime = min(lifetime or left, left) if under.expires_at else lifetime
        addresses, certificate = under.addresses or addresses, under.certificate or certificate
        attestation = attestation or under.attestation
        labels, within = {**labels, **under.within}, {**within, **under.within}
    check_labels(issuer, labels, within)
    policy = " ".join(policy.split())
    try:
        if policy and issuer.judge(policy) is None:
            raise Refused(f"there is no policy {policy} at {issuer.name}")
    except Contradiction as problem:
        raise Refused(str(problem)) from None
    if other := [one for one in scope if one.startswith("admin.") and one not in ADMINISTRATION]:
        raise Refused(f"there is no scope {other[0]}; of administration these are: {', '.join(ADMINISTRATION)}")
    if kind is not Kind.OPERATOR and not ADMINISTRATION.keys().isdisjoint(scope):
        raise Refused("scopes of administration are for tokens of the kind operator")
    if kind is Kind.USER and not owner:
        raise Refused("a token of a user needs its owner")
    if not (0 <= max_uses <= LARGEST and 0 <= lifetime <= LARGEST):
        raise Refused(f"the uses and the lifetime of a token are numbers from 0 to {LARGEST}")
    try:
        Networks.from_words(addresses)
    except ValueError as problem:
        raise Refused(str(problem)) from None
    if certificate and not _THUMBPRINT.fullmatch(certificate):
        raise Refused("a certificate is named by its thumbprint: the SHA-256 of its DER in base64url, 43 characters")
    if attestation and issuer.attest is None:
        raise Refused(f"{issuer.name} has no attestation function, so nothing could be attested")
    value = issuance.mint_token(registry)
    token = InitialAccessToken(
        issuer=issuer.name,
        token_id=f"{now_ms:011x}{registry.entropy(_TOKEN_ID_BYTES).hex()}",
        digest=credentials.digest(value),
        kind=kind,
        scope=scope,
        policy=policy,
        label=label,
        owner=owner,
        max_uses=max_uses,
        created_at=now_ms // 1000,
        expires_at=now_ms // 1000 + lifetime if lifetime else 0,
        addresses=addresses,
        certificate=certificate,
        attestation=attestation,
        labels=dict(labels),
        within=dict(within),
    )
    detail = {
        "kind_of_token": kind.value,
        "policy": policy or issuer.policy.name,
        "token_label": label,
        "max_uses": max_uses,
        "expires_at": token.expires_at,
        "token_scope": list(scope),
        "bound_to": list(token.bound),
    }
    event = registry.audit.event(
        "token.issued",
        issuer.name,
        operator.actor(),
        endpoint=operator.door,
        token_id=token.token_id,
        time_ms=now_ms,
        detail=detail,
    )
    await registry.store.add_token(token, event)
    return value, token


def check_labels(issuer: Issuer, *given: Mapping[str, str]) -> None:
    """Refuse labels that there are not.

    Raises:
        Refused: saying which, and what there is.
    """
    known = issuer.settings.labels.names
    for name, value in (pair for one in given for pair in one.items()):
        if name not in known:
            raise Refused(f"there is no label {name}; these are: {', '.join(known)}")
        if not _LABEL.fullmatch(value):
            raise Refused(f"the label {name} has 1 to 128 visible ASCII characters")


async def revoke_token(
    registry: Registry, issuer: Issuer, operator: Operator, token_id: str, *, again: bool = False
) -> None:
    """Revoke an initial access token; what was registered with it stays.

    Raises:
        Refused: there is no such token, or it is revoked already and that is not to be done `again`.
    """
    event = registry.audit.event(
        "token.revoked", issuer.name, operator.actor(), endpoint=operator.door, token_id=token_id
    )
    try:
        await registry.store.revoke_token(issuer.name, token_id, registry.clock() // 1000, event)
    except NotFound:
        raise Unknown(f"there is no initial access token {token_id} at {issuer.name}") from None
    except Conflict:
        if not again:
            raise Refused(f"the initial access token {token_id} is revoked already") from None


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


NONE_YET: Final = {"scope": ""}
"""What a client has that is none yet: no scope, and not whatever there is."""


def check_ceiling(operator: Operator, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Refuse to give a client scopes that the operator's token does not let be registered; what it has it may keep.

    Raises:
        Refused: naming them.
    """
    if not operator.ceiling or before.get("scope") == after.get("scope"):
        return
    had, has = (set(one.get("scope", "").split()) for one in (before, after))
    if not has:
        raise Refused("the token registers certain scopes alone, and without any, every scope could be asked for")
    if more := sorted(has - had - {*operator.ceiling}):
        raise Refused(f"the token has not {more[0]}, and gives away no more than it has")


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
