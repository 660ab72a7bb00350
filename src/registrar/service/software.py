"""Where software that is known leads: a fact for policies that ask whether a newcomer of that name leads there too."""

from __future__ import annotations

from typing import Final

import msgspec

from registrar.domain import terms
from registrar.domain.client import Client
from registrar.policy import Judge
from registrar.policy.rules import identity
from registrar.service.parts import Parts
from registrar.service.ports import ClientQuery
from registrar.service.registry import Issuer, Registry

_FIRST: Final = 20
"""Clients of the software that are looked at: the oldest, so that nobody changes the answer by registering often."""


async def looked_up(
    registry: Registry, issuer: Issuer, judge: Judge, parts: Parts, client: Client | None = None
) -> Parts:
    """The parts with the redirect hosts of other clients of the software, where the policy asks and there are any."""
    software, uris = parts.presented.get("software_id"), parts.presented.get("redirect_uris")
    if not isinstance(software, str) or not software or not isinstance(uris, list):
        return parts
    if identity.software_hosts not in judge.functions or identity.vouched_for(parts.facts):
        return parts
    key, second = (issuer.name, software), registry.clock() // 1000
    hosts = registry.software.hosts(key, second) if client is None else None
    if hosts is None:
        query = ClientQuery(issuer.name, terms=(terms.term("software", software),))
        known = await registry.store.clients(query, after=(issuer.name, ""), limit=_FIRST)
        # Who was found elsewhere does not say where the software is from then on.
        unsuspected = [one for one in known if identity.ELSEWHERE.name not in one.flags]
        others = [one for one in unsuspected if client is None or one.client_id != client.client_id]
        if not others:
            return parts
        hosts = tuple(
            dict.fromkeys(host for one in others for host in terms.hosts(one.metadata.get("redirect_uris", ())))
        )
        if client is None and len(known) == _FIRST:
            registry.software.keep(key, second, hosts)
    return msgspec.structs.replace(parts, facts=msgspec.structs.replace(parts.facts, software_hosts=hosts))
