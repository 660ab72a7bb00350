"""Composing and recording audit events: refusals under a quota, reads coalesced, everything else with its write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from registrar.domain import events
from registrar.domain.certificate import Certificate
from registrar.domain.credentials import PresentedToken
from registrar.domain.errors import ProtocolError, RegistrationError
from registrar.domain.events import SALT_BYTES, Actor, Event
from registrar.domain.findings import Finding
from registrar.service.metrics import Metrics
from registrar.service.ports import Clock, Entropy, Store, StoreUnavailable

_MINUTE_MS: Final = 60_000
_REMEMBERED_READS: Final = 10_000


class Caller(msgspec.Struct, frozen=True):
    """Who calls an endpoint: what came with the request, the caller's address, and the URL called."""

    endpoint: str
    token: PresentedToken | None = None
    address: str = ""
    certificate: Certificate | None = None
    chain: tuple[bytes, ...] = ()
    """The certificates above that one, as they were handed on."""
    attestation: str = ""
    """What stands in the `OAuth-Client-Attestation` header."""

    def __repr__(self) -> str:
        """Without the token: what prints the values of a traceback must not print this one."""
        return f"Caller({self.endpoint!r})"

    @property
    def certificate_thumbprint(self) -> str:
        """The thumbprint of the certificate; empty where none was presented."""
        return self.certificate.thumbprint if self.certificate else ""


@dataclass(slots=True)
class _Minute:
    """How many refusals an issuer has had in a minute."""

    began_ms: int = 0
    recorded: int = 0
    suppressed: int = 0


@dataclass(slots=True)
class Audit:
    """The events of one process. What it counts is for quotas alone; nothing that was promised is kept only here."""

    store: Store
    clock: Clock
    entropy: Entropy
    metrics: Metrics | None = None
    _minutes: dict[str, _Minute] = field(default_factory=dict)
    _reads: dict[tuple[str, str], int] = field(default_factory=dict)

    def event(
        self,
        kind: str,
        issuer: str,
        actor: Actor,
        *,
        endpoint: str = "",
        client_id: str = "",
        token_id: str = "",
        time_ms: int = 0,
        detail: Mapping[str, Any] | None = None,
    ) -> Event:
        """An event of now, or of `time_ms`, to be stored with the write that it tells of."""
        if self.metrics is not None and detail and (findings := detail.get("findings")):
            self.metrics.found(issuer, findings)
        return events.event(
            kind,
            issuer=issuer,
            time_ms=time_ms or self.clock(),
            actor=actor,
            salt=self.entropy(SALT_BYTES) if actor.address or actor.person else b"",
            endpoint=endpoint,
            client_id=client_id,
            token_id=token_id,
            detail=detail,
        )

    async def refused(
        self,
        issuer: str,
        quota: int,
        caller: Caller,
        error: ProtocolError,
        requested: Mapping[str, Any],
        client_id: str = "",
        kind: str = "registration.refused",
    ) -> None:
        """Record a refusal, or count it where `quota` refusals of this minute have been recorded.

        A flood of refusals must not fill the audit (or the disk); what was left out is told once the minute is over.
        """
        now = self.clock()
        minute = self._minutes.setdefault(issuer, _Minute(now))
        actor = Actor("anonymous" if caller.token is None else "token", "none", address=caller.address)
        if not 0 <= now - minute.began_ms < _MINUTE_MS:  # over, or of a clock that has gone back
            # Before anything is awaited: refusals that come meanwhile count for the new minute.
            began, minute.began_ms, minute.recorded = minute.began_ms, now, 0
            await self._tell_suppressed(issuer, minute, began)
        if minute.recorded >= quota:
            minute.suppressed += 1
            if self.metrics is not None and isinstance(error, RegistrationError):
                self.metrics.found(issuer, error.findings)
            return
        minute.recorded += 1
        findings: Sequence[Finding] = ()
        token_id = ""
        if isinstance(error, RegistrationError):
            findings, token_id, requested = error.findings, error.token_id, error.requested or requested
        detail = events.refusal_detail(error.kind.name, error.description, requested, findings)
        detail["certificate_thumbprint"] = caller.certificate_thumbprint
        await self.store.record(
            self.event(
                kind,
                issuer,
                actor,
                endpoint=caller.endpoint,
                client_id=client_id,
                token_id=token_id,
                time_ms=now,
                detail=detail,
            )
        )

    async def flush(self) -> None:
        """Tell of the refusals that were only counted, before the process ends."""
        for issuer, minute in self._minutes.items():
            await self._tell_suppressed(issuer, minute, minute.began_ms)

    async def _tell_suppressed(self, issuer: str, minute: _Minute, since: int) -> None:
        count, minute.suppressed = minute.suppressed, 0
        if not count:
            return
        nobody = Actor("anonymous", "none")
        detail = {"count": count, "since": since}
        try:
            await self.store.record(self.event("registration.refusals_suppressed", issuer, nobody, detail=detail))
        except StoreUnavailable:
            minute.suppressed += count  # they are told with the next
            raise

    def forget_read(self, issuer: str, client_id: str) -> None:
        """Take back that a read was recorded: its event could not be stored."""
        self._reads.pop((issuer, client_id), None)

    def read_is_due(self, issuer: str, client_id: str, now_ms: int) -> bool:
        """Whether a read of this client is to be recorded: at most one in a minute."""
        key = (issuer, client_id)
        if 0 <= now_ms - self._reads.get(key, -_MINUTE_MS) < _MINUTE_MS:
            return False
        if len(self._reads) >= _REMEMBERED_READS:
            self._reads.clear()  # at worst, some reads are recorded twice in a minute
        self._reads[key] = now_ms
        return True
