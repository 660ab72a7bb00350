"""Instances of templates: which template a request names, and what an instance may say for itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from registrar.domain import template as templates
from registrar.domain.errors import RegistrationError
from registrar.domain.findings import Finding, Verdict, listed, rule, shown
from registrar.domain.metadata import MEMBERS, UNKNOWN, Presented, Role
from registrar.domain.template import Template, TemplateState
from registrar.policy import Contradiction, Decision, Judge
from registrar.service.parts import Parts, documents
from registrar.service.registry import Issuer, Registry

NAME: Final = "template_id"

NO_TEMPLATE: Final = rule(
    "template.unknown", "engineering", "names {given}, which is no template here", "a template's name"
)
CLOSED: Final = rule(
    "template.closed", "engineering", "names {given}, of which no instances are registered now", "another template"
)
OFF: Final = rule("template.off", "engineering", "is not taken here", "the metadata of a client of its own")
FULL_OFF: Final = rule("template.needed", "engineering", "is missing: only instances are registered here", "a template")
TEMPLATED: Final = rule(
    "template.fixed", "engineering", "is the template's to say; a value of the instance has no effect", "{accepted}"
)
BROKEN_OUT: Final = rule(
    "template.changed",
    "engineering",
    "is the template's to say and would be another",
    "the value of the template, or no {name}",
)


def concerned(issuer: Issuer, presented: Presented) -> bool:
    """Whether a request can name a template, or has to."""
    return NAME in presented or "software_id" in presented or not issuer.settings.registration.full


async def named(registry: Registry, issuer: Issuer, presented: Presented) -> Template | None:
    """The template that a request names: by `template_id`, or by a `software_id` that is a template's name.

    Raises:
        RegistrationError: it is unknown or takes no instances, or one is needed and none is named.
    """
    registration = issuer.settings.registration
    said = presented.get(NAME)
    by_software = said in (None, "")
    name = presented.get("software_id") if by_software else said
    if not registration.templates:
        if not by_software:
            raise RegistrationError([OFF.refuse(NAME)])
        found = None
    else:
        found = await find(registry, issuer, name) if isinstance(name, str) and name else None
    if found is None and not by_software:
        raise RegistrationError([NO_TEMPLATE.refuse(NAME, given=said)])
    if found is None and not registration.full:
        raise RegistrationError([FULL_OFF.refuse(NAME)])
    if found is not None and found.state is not TemplateState.ENABLED:
        raise RegistrationError([CLOSED.refuse(NAME, given=name)])
    return found


async def find(registry: Registry, issuer: Issuer, template_id: str) -> Template | None:
    """A template by its name; one that is deleted is not found."""
    item = await registry.store.item(issuer.name, templates.KIND, template_id)
    found = msgspec.json.decode(item.body, type=Template) if item else None
    return None if found is None or found.state is TemplateState.DELETED else found


def judge_of(issuer: Issuer, template: Template) -> Judge:
    """The judge of a template's instances.

    Raises:
        RegistrationError: the policy of the template is configured no more.
    """
    try:
        judge = issuer.judge(template.policy)
    except Contradiction:
        judge = None
    if judge is None:
        raise RegistrationError([CLOSED.refuse(NAME, given=template.template_id)])
    return judge


async def decide(
    registry: Registry,
    issuer: Issuer,
    template: Template,
    parts: Parts,
    preconditions: Sequence[Finding] = (),
    *,
    strict: bool = False,
) -> Decision:
    """What an instance becomes: the template's metadata, and of its own what the template allows, judged as a whole.

    Args:
        registry: what every use case is given.
        issuer: where.
        template: whose instance.
        parts: what came with the request.
        preconditions: what was found before; it stands first.
        strict: whether another value for a member of the template is refused, as in an update, and not only ignored.

    Raises:
        RegistrationError: what it says for itself may not be.
    """
    judge = judge_of(issuer, template)
    chosen = {name: value for name, value in parts.presented.items() if template.allows(name)}
    found = [*parts.found, *preconditions, *_beside(template, parts.presented, strict=strict)]
    shaped, faults = judge.read(Presented({**template.metadata, **_given(chosen)}))
    facts = msgspec.structs.replace(parts.facts, template=template.template_id)
    if not judge.documents.isdisjoint(shaped):
        facts = await documents(registry, shaped, facts, judge.documents, template.metadata)
    decision = judge(shaped, facts, [*found, *faults])
    # What the policy would make of it beyond the instance's own is a matter between the operator and the template.
    differing = {name for name in {*decision.metadata, *template.metadata} if not template.allows(name)}
    changed = [
        BROKEN_OUT.refuse(name, name=name)
        for name in sorted(differing)
        if decision.metadata.get(name) != template.metadata.get(name)
    ]
    findings = [*decision.findings, *changed]
    if any(finding.verdict is Verdict.REFUSED for finding in findings):
        raise RegistrationError(findings)
    return decision


def _given(members: dict[str, Any]) -> dict[str, Any]:
    """Members with a value: one that is omitted is the template's again."""
    return {name: value for name, value in members.items() if value not in (None, "", [])}


def _beside(template: Template, presented: Presented, *, strict: bool) -> Iterator[Finding]:
    """What a request says of members that are the template's to say."""
    for name, value in presented.items():
        row = MEMBERS.get(name.partition("#")[0])
        if template.allows(name) or (name in (NAME, "software_id") and value == template.template_id):
            continue
        if value == template.metadata.get(name) or (value in (None, "", []) and name not in template.metadata):
            continue
        if row is None or row.role is not Role.CLIENT or row.feature:
            if row is None or row.role is not Role.DERIVED:
                yield UNKNOWN.ignore(shown(name))
        elif strict:
            yield BROKEN_OUT.refuse(name, name=name)
        else:
            yield TEMPLATED.ignore(name, accepted=listed(template.allowed) if template.allowed else "no member")


def own(template: Template, decision: Decision) -> tuple[str, ...]:
    """The members of a decision that are the instance's own."""
    return tuple(
        name
        for name, value in decision.metadata.items()
        if template.allows(name) and template.metadata.get(name) != value
    )
