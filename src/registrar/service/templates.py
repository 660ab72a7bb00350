"""What an operator does with templates: create, change, enable, disable, delete. One row is written, with its event.

A template is judged by its policy exactly as a registration is; what a policy demands of whoever registers, such as a
software statement, is demanded of its instances and not of the operator.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from registrar.domain import coherence, events, expansion, template
from registrar.domain import settings as configured
from registrar.domain.client import Assurance
from registrar.domain.errors import RegistrationError
from registrar.domain.findings import Finding, Verdict, listed, rule
from registrar.domain.metadata import MEMBERS, Presented, Registered, Role
from registrar.domain.template import Template, TemplateState
from registrar.policy import Contradiction, Decision, Facts, Judge
from registrar.policy.evidence import UNSEEN
from registrar.service.operators import NONE_YET, Operator, Refused, Unknown, check_ceiling, check_reason
from registrar.service.parts import documents
from registrar.service.ports import ClientQuery, Conflict, Item, Put
from registrar.service.registration import unkept_secret
from registrar.service.registry import Issuer, Registry

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,63}")
_PAGE: Final = 100
_ATTEMPTS: Final = 8
_BY_CONFIGURATION: Final = "configuration"
_CONFIGURED: Final = Operator("", "start")

ID: Final = rule(
    "template.id", "engineering", "is {given}", "1 to 64 letters, digits, dots, - and _, a letter or a digit first"
)
POLICY: Final = rule("template.policy", "engineering", "is {given}: {problem}", "the names of configured policies")
ALLOWED: Final = rule(
    "template.allowed",
    "engineering",
    "holds {given}, which is not a member that an instance could choose",
    "members of client metadata that clients register",
)


class Overtaken(Refused):
    """An act that another writer was ahead of."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A template as it is to be."""

    metadata: Mapping[str, Any]
    allowed: tuple[str, ...] = ()
    policy: str = ""
    """The policies that judge it and its instances; empty for the issuer's."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """A template that was written, and what is to be known about it."""

    template: Template
    findings: tuple[Finding, ...] = ()
    waiting: int = 0
    """Instances of which the server cannot read the secret, as this template needs it to: each completes when it next
    presents its registration access token."""


@dataclass(frozen=True, slots=True)
class _Judged:
    decision: Decision
    detail: dict[str, Any]


async def find(registry: Registry, issuer: Issuer, template_id: str) -> Template:
    """A template, deleted ones included.

    Raises:
        Unknown: there never was such a template.
    """
    item = await registry.store.item(issuer.name, template.KIND, template_id)
    if item is None:
        raise Unknown(f"there is no template {template_id} at {issuer.name}")
    return _decode(item.body)


async def every(registry: Registry, issuer: Issuer, after: str = "") -> AsyncIterator[Template]:
    """Every template of an issuer by its name, deleted ones included."""
    while page := await registry.store.items(issuer.name, template.KIND, after=after, limit=_PAGE):
        for item in page:
            yield _decode(item.body)
        after = page[-1].key


async def instances_of(registry: Registry, issuer: Issuer, template_id: str) -> int:
    """How many clients refer to a template, tombstones included."""
    return await registry.store.count(ClientQuery(issuer.name, template=template_id))


async def create(registry: Registry, issuer: Issuer, operator: Operator, template_id: str, wanted: Wanted) -> Changed:
    """Create a template.

    Raises:
        RegistrationError: its metadata may not be registered; all faults are in it.
        Refused: the name is taken, or was: a name is never used again; the description is too long; or the operator's token
            does not go so far.
    """
    check_reason(wanted.description, "description")
    return await _create(registry, issuer, operator, template_id, wanted, "operator")


async def change(
    registry: Registry,
    issuer: Issuer,
    operator: Operator,
    template_id: str,
    wanted: Wanted,
    *,
    expected: int | None = None,
) -> Changed:
    """Replace a template, and with it every instance from the next request on.

    Args:
        registry: what every use case is given.
        issuer: where.
        operator: who does it.
        template_id: which.
        wanted: the whole of it; what is left out is gone.
        expected: the version that the operator has seen; None for whatever it is now.

    Raises:
        RegistrationError: its metadata may not be registered; nothing was changed.
        Refused: it is another version by now, deleted, or written in the configuration; or the operator's token does not
            go so far.
    """
    check_reason(wanted.description, "description")
    before = await _living(registry, issuer, template_id)
    if before.origin == _BY_CONFIGURATION and not before.withdrawn:
        raise Refused(f"the template {template_id} is written in the configuration; change it there")
    if expected is not None and expected != before.version:
        raise Refused(f"the template {template_id} has version {before.version} by now, not {expected}")
    return await _replace(registry, issuer, operator, before, wanted, origin="operator", withdrawn=False)


async def enable(registry: Registry, issuer: Issuer, operator: Operator, template_id: str, reason: str = "") -> Changed:
    """Enable a template: its instances may do again what they did before.

    Raises:
        Refused: it is enabled, or deleted.
    """
    before = await _living(registry, issuer, template_id)
    return await _move(registry, issuer, operator, before, "template.enabled", TemplateState.ENABLED, reason)


async def disable(
    registry: Registry, issuer: Issuer, operator: Operator, template_id: str, reason: str = ""
) -> Changed:
    """Disable a template: its instances are suspended, all at once, and nobody becomes a new one.

    Raises:
        Refused: it is disabled, or deleted.
    """
    before = await _living(registry, issuer, template_id)
    return await _move(registry, issuer, operator, before, "template.disabled", TemplateState.DISABLED, reason)


async def delete(registry: Registry, issuer: Issuer, operator: Operator, template_id: str, reason: str = "") -> Changed:
    """Delete a template and with it every instance; its name is never used again.

    Raises:
        Refused: it is deleted already, or still written in the configuration.
    """
    before = await _living(registry, issuer, template_id)
    if before.origin == _BY_CONFIGURATION and not before.withdrawn:
        raise Refused(f"the template {template_id} is written in the configuration; take it out there first")
    return await _move(registry, issuer, operator, before, "template.deleted", TemplateState.DELETED, reason)


async def synchronise(registry: Registry, issuer: Issuer) -> None:
    """Write the templates of the configuration into the store, where they are others; withdraw those that vanished.

    Raises:
        Refused: the configuration has a template of a name that was deleted.
        RegistrationError: a document that the judgement needs cannot be had.
        StoreUnavailable: the store does not answer.
    """
    for template_id, table in issuer.settings.template.items():
        for _ in range(_ATTEMPTS):
            with suppress(Overtaken):  # by a process that starts at the same moment
                await _synchronise(registry, issuer, template_id, of_configuration(table))
                break
        else:
            raise Refused(f"the template {template_id} of {issuer.name} is being changed by others; start again")
    async for one in every(registry, issuer):
        gone = one.template_id not in issuer.settings.template and one.origin == _BY_CONFIGURATION
        if gone and not one.withdrawn and one.state is not TemplateState.DELETED:
            withdrawn = msgspec.structs.replace(one, withdrawn=True)
            reason = "the configuration has it no more"
            with suppress(Overtaken):
                await _move(
                    registry, issuer, _CONFIGURED, withdrawn, "template.disabled", TemplateState.DISABLED, reason
                )


async def _synchronise(registry: Registry, issuer: Issuer, template_id: str, wanted: Wanted) -> None:
    try:
        before = await find(registry, issuer, template_id)
    except Unknown:
        await _create(registry, issuer, _CONFIGURED, template_id, wanted, _BY_CONFIGURATION)
        return
    if before.state is TemplateState.DELETED:
        raise Refused(
            f"the template {template_id} of {issuer.name} was deleted, and its name is never used again; "
            "give it another name in the configuration"
        )
    judged = await _judge(registry, issuer, wanted, before)
    same = (
        before.origin == _BY_CONFIGURATION
        and not before.withdrawn
        and before.metadata == judged.decision.metadata
        and (before.allowed, before.policy, before.description)
        == (wanted.allowed, _policy(issuer, wanted), wanted.description)
    )
    if not same:
        state = TemplateState.ENABLED if before.withdrawn else before.state
        more = {"origin": _BY_CONFIGURATION, "withdrawn": False, "state": state}
        await _replace(registry, issuer, _CONFIGURED, before, wanted, **more)


def of_configuration(table: configured.Template) -> Wanted:
    """A template as the configuration wants it."""
    return Wanted(table.metadata, table.allowed, table.policy, table.description)


def judge(issuer: Issuer, template_id: str, wanted: Wanted) -> list[Finding]:
    """What is wrong with a template, as far as that can be said without fetching anything."""
    try:
        _check_name(template_id)
        bare = _bare(issuer, wanted)
    except RegistrationError as refusal:
        return list(refusal.findings)
    shaped, read = bare.read(Presented(dict(wanted.metadata)))
    findings = bare(shaped, _facts(), [*_unallowed(wanted), *read]).findings
    return [one for one in findings if _refuses(one) and one.rule != coherence.SECTOR_UNREAD.name]


async def _create(
    registry: Registry, issuer: Issuer, operator: Operator, template_id: str, wanted: Wanted, origin: str
) -> Changed:
    _check_name(template_id)
    judged = await _judge(registry, issuer, wanted)
    _check_ceiling(operator, None, wanted, judged.decision)
    now = registry.clock() // 1000
    made = Template(
        issuer=issuer.name,
        template_id=template_id,
        version=1,
        state=TemplateState.ENABLED,
        metadata=judged.decision.metadata,
        policy=_policy(issuer, wanted),
        allowed=wanted.allowed,
        description=wanted.description,
        origin=origin,
        created_at=now,
        updated_at=now,
    )
    await _store(registry, issuer, operator, made, "template.created", 0, judged.detail)
    return Changed(made, judged.decision.findings)


async def _replace(
    registry: Registry, issuer: Issuer, operator: Operator, before: Template, wanted: Wanted, **more: Any
) -> Changed:
    judged = await _judge(registry, issuer, wanted, before)
    _check_ceiling(operator, before, wanted, judged.decision)
    after = msgspec.structs.replace(
        before,
        version=before.version + 1,
        metadata=judged.decision.metadata,
        policy=_policy(issuer, wanted),
        allowed=wanted.allowed,
        description=wanted.description,
        updated_at=registry.clock() // 1000,
        **more,
    )
    kinds = expansion.expansions(before.metadata, after.metadata)
    more_own = sorted({*after.allowed} - {*before.allowed})
    if expansion.asks_again(kinds) or more_own:
        # What an instance says for itself counts again where it is allowed again, so that this may give it more too.
        after = msgspec.structs.replace(after, expanded_at=max(after.updated_at, before.expanded_at + 1))
    detail = {**judged.detail, "difference": events.difference(before.metadata, after.metadata)}
    reasons = (*kinds, *(f"allowed: {name}" for name in more_own))
    await _store(registry, issuer, operator, after, "template.changed", before.version, detail, reasons)
    return Changed(after, judged.decision.findings, await _waiting(registry, issuer, before, after))


def _check_ceiling(operator: Operator, before: Template | None, wanted: Wanted, decision: Decision) -> None:
    """Refuse to give instances scopes that the operator's token does not let be registered, or the choice of any.

    Raises:
        Refused: naming them.
    """
    check_ceiling(operator, before.metadata if before else NONE_YET, decision.metadata)
    if operator.ceiling and "scope" in wanted.allowed and (before is None or "scope" not in before.allowed):
        raise Refused("the token registers certain scopes alone, and instances that choose their own could have any")


async def _move(
    registry: Registry,
    issuer: Issuer,
    operator: Operator,
    before: Template,
    kind: str,
    state: TemplateState,
    reason: str,
) -> Changed:
    check_reason(reason)
    if before.state is state and not before.withdrawn:
        raise Refused(f"the template {before.template_id} is {state} already")
    now = registry.clock() // 1000
    after = msgspec.structs.replace(before, state=state, version=before.version + 1, updated_at=now)
    await _store(registry, issuer, operator, after, kind, before.version, {"reason": reason})
    return Changed(after)


async def _store(
    registry: Registry,
    issuer: Issuer,
    operator: Operator,
    made: Template,
    kind: str,
    expected: int,
    detail: Mapping[str, Any],
    expands: Sequence[str] = (),
) -> None:
    """One row and its event, and where its instances get more than they had, one that tells so for all of them.

    Raises:
        Overtaken: another writer was first.
    """
    whole = {"policy": made.policy, "allowed": list(made.allowed) or None, **detail}
    told = [(kind, whole), *([("template.expanded", {"reason": ", ".join(expands)})] if expands else [])]
    happened = [
        registry.audit.event(
            one,
            issuer.name,
            operator.actor(),
            endpoint=operator.door,
            detail={"template": made.template_id, "version": made.version, **said},
        )
        for one, said in told
    ]
    item = Item(issuer.name, template.KIND, made.template_id, _encode(made), made.version)
    try:
        await registry.store.change([Put(item, expected)], happened)
    except Conflict:
        if expected:
            raise Overtaken(f"the template {made.template_id} was changed by somebody else; look at it anew") from None
        raise Overtaken(
            f"there is or was a template {made.template_id} at {issuer.name}; a name is never used again"
        ) from None


async def _living(registry: Registry, issuer: Issuer, template_id: str) -> Template:
    found = await find(registry, issuer, template_id)
    if found.state is TemplateState.DELETED:
        raise Refused(f"the template {template_id} is deleted")
    return found


async def _judge(registry: Registry, issuer: Issuer, wanted: Wanted, before: Template | None = None) -> _Judged:
    """Judge a template, which is `before` where it is to be replaced.

    Raises:
        RegistrationError: with every fault.
    """
    bare = _bare(issuer, wanted)
    shaped, read = bare.read(Presented(dict(wanted.metadata)))
    facts = await documents(registry, shaped, _facts(), bare.documents, before.metadata if before else {})
    decision = bare(shaped, facts, [*_unallowed(wanted), *read])
    findings = [*decision.findings, *unkept_secret(registry, decision.metadata)]
    if any(map(_refuses, findings)):
        raise RegistrationError(findings, requested=wanted.metadata)
    detail = {
        "policy_digest": bare.policy.digest,
        "findings": events.told(findings),
        "redirect_uris": decision.metadata.get("redirect_uris"),
        "scope": decision.metadata.get("scope"),
        "grant_types": decision.metadata.get("grant_types"),
        "token_endpoint_auth_method": decision.metadata.get("token_endpoint_auth_method"),
        "client_name": decision.metadata.get("client_name"),
    }
    return _Judged(decision, detail)


def _bare(issuer: Issuer, wanted: Wanted) -> Judge:
    """The judge of the template's policy, without what it demands of whoever registers."""
    names = _policy(issuer, wanted)
    try:
        judge = issuer.judge(names)
    except Contradiction as problem:
        raise RegistrationError([POLICY.refuse("policy", given=names, problem=problem)]) from None
    if judge is None:
        raise RegistrationError([POLICY.refuse("policy", given=names, problem="there is no such policy")])
    return Judge(replace(judge.policy, proofs=()), issuer.offered, issuer.settings.scopes.default)


def _facts() -> Facts:
    return Facts(Assurance.OPERATOR, documents={"jwks_uri": UNSEEN})


def _policy(issuer: Issuer, wanted: Wanted) -> str:
    return " ".join(wanted.policy.split()) or issuer.policy.name


def _refuses(finding: Finding) -> bool:
    return finding.verdict is Verdict.REFUSED


def _check_name(template_id: str) -> None:
    if not NAME.fullmatch(template_id):
        raise RegistrationError([ID.refuse("template_id", given=template_id)])


def _unallowed(wanted: Wanted) -> list[Finding]:
    other = [name for name in wanted.allowed if name not in MEMBERS or MEMBERS[name].role is not Role.CLIENT]
    return [ALLOWED.refuse("allowed", given=listed(other))] if other else []


async def _waiting(registry: Registry, issuer: Issuer, before: Template, after: Template) -> int:
    """Instances whose secret the server cannot read yet, where the template now needs that it can."""
    needs = coherence.needs_symmetric_key
    if not needs(Registered(after.metadata)) or needs(Registered(before.metadata)):
        return 0
    return await instances_of(registry, issuer, after.template_id)


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Template).decode
