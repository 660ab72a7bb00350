"""What would become of a request, and why: the very decision of enforcement, and nothing is stored.

And what would become of the clients that are registered, if another policy were in force.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from registrar.domain import events, jws
from registrar.domain.certificate import Certificate
from registrar.domain.client import Admission, Assurance, Client, State
from registrar.domain.errors import RegistrationError
from registrar.domain.findings import Finding, Verdict
from registrar.domain.metadata import MEMBERS, Presented, Registered, Role, SignedRequest
from registrar.domain.software_statement import MEMBER, Attestation
from registrar.policy import Facts, Judge
from registrar.policy.evidence import UNSEEN
from registrar.policy.rules import identity
from registrar.service import trust
from registrar.service.admission import Admitted
from registrar.service.audit import Caller
from registrar.service.ports import ClientQuery
from registrar.service.registration import Considered, consider, policy_in_force
from registrar.service.registry import Issuer, Registry

_PAGE: Final = 1000
_BY_TOKEN: Final = (Assurance.CLIENT, Assurance.USER, Assurance.OPERATOR)
SUPPOSED: Final = "supposed"
"""The initial access token of a caller that is only supposed to have one."""


class Supposed(msgspec.Struct, frozen=True):
    """What is supposed of the caller, instead of being established."""

    assurance: Assurance = Assurance.OPEN
    token_scope: tuple[str, ...] = ()
    """The scopes that may be registered at the most; none is no ceiling."""
    client_class: str = ""
    owner: str = ""


class Origin(msgspec.Struct, frozen=True):
    """A member of the result, where its value is from, and the rule that set it, if one did."""

    member: str
    """Its name."""
    value: Any
    """What it would be."""
    origin: str
    """`self_asserted`, `attested:NAME`, `template`, `policy`, or `default`."""
    rule: str = ""
    """The rule that set it; empty where none did."""


class Explanation(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A decision as people and programs read it."""

    policy: str
    """The policies that judged it, with spaces between."""
    policy_digest: str
    """Of what they say, as the audit names it."""
    refused: bool
    """Whether it would be refused."""
    findings: list[Finding]
    """As the audit event of the registration would hold them."""
    error: str = ""
    """The code of the error that it would be refused with."""
    template: str = ""
    """The template that it would be an instance of."""
    metadata: Registered | None = None
    """What would be registered; absent where nothing would be."""
    members: tuple[Origin, ...]
    """Where each of these is from."""
    held: str = ""
    """Why it would wait until somebody has looked at it; absent where it would not."""


async def explain(
    registry: Registry, issuer: Issuer, policy: str, body: Presented | SignedRequest, supposed: Supposed
) -> Explanation:
    """What would become of a request under a policy.

    Args:
        registry: what every use case is given.
        issuer: where.
        policy: the policy, or several with spaces between.
        body: what would be sent.
        supposed: who would send it.

    Raises:
        ProtocolError: the policy is not configured, or takes bodies of another kind.
    """
    policy = " ".join(policy.split())
    in_force = policy_in_force(issuer, policy).policy
    by_token = supposed.assurance in _BY_TOKEN or supposed.token_scope
    admission = Admission(
        supposed.assurance,
        SUPPOSED if by_token else "",
        owner=supposed.owner,
        token_scope=supposed.token_scope,
        client_class=supposed.client_class,
    )
    try:
        considered = await consider(registry, issuer, Admitted(admission, policy), body, Caller("explain"))
    except RegistrationError as refusal:
        return Explanation(
            policy=policy,
            policy_digest=in_force.digest,
            refused=True,
            findings=events.told(refusal.findings),
            error=refusal.kind.code,
            members=(),
        )
    decision = considered.decision
    return Explanation(
        policy=considered.template.policy if considered.template else considered.admitted.policy,
        policy_digest=considered.judge.policy.digest,
        refused=False,
        findings=events.told(decision.findings),
        template=considered.template.template_id if considered.template else "",
        metadata=decision.metadata,
        members=tuple(_origins(considered)),
        held=considered.judge.policy.review.why(decision.metadata, identity.flags(decision.findings)),
    )


def _origins(considered: Considered) -> list[Origin]:
    """For every member of the result, the last that had a say."""
    parts, decision, template = considered.parts, considered.decision, considered.template
    setting = {one.member: one.rule for one in decision.findings if one.verdict is Verdict.CHANGED}
    found = []
    for name, value in decision.metadata.items():
        if name in setting and name in decision.provenance:
            found.append(Origin(name, value, decision.provenance[name], setting[name]))
        elif template is not None and template.metadata.get(name) == value:
            found.append(Origin(name, value, "template"))
        elif name in parts.provenance:
            found.append(Origin(name, value, parts.provenance[name], setting.get(name, "")))
        elif parts.presented.get(name) in (None, "", []) and name != MEMBER:
            found.append(Origin(name, value, "default"))
        else:
            found.append(Origin(name, value, "self_asserted"))
    return found


class Impact(msgspec.Struct, frozen=True):
    """What another policy would do to one registered client."""

    client_id: str
    outcome: str
    """`same`, `changed` or `refused`."""
    findings: list[Finding] = []
    difference: Mapping[str, Any] = {}

    def public(self) -> dict[str, Any]:
        """As JSON."""
        shown: dict[str, Any] = msgspec.to_builtins(self, order="deterministic")
        return {name: value for name, value in shown.items() if value}


async def impact(registry: Registry, issuer: Issuer, judge: Judge, policy: str = "") -> AsyncIterator[Impact]:
    """What a policy would do to the living clients of an issuer, one after the other.

    Args:
        registry: what every use case is given.
        issuer: whose clients.
        judge: the policy that would be in force.
        policy: only clients that this policy judges now; empty for all.
    """
    after = (issuer.name, "")
    while page := await registry.store.clients(ClientQuery(issuer.name), after=after, limit=_PAGE):
        for client in page:
            if client.state is not State.DELETED and (not policy or policy in client.policy.split()):
                yield impact_on(judge, client)
        after = (issuer.name, page[-1].client_id)


def impact_on(judge: Judge, client: Client) -> Impact:
    """What a policy would do to a client, if it registered what it has, in the way in which it came.

    What was fetched or verified then is taken as it was: nothing is fetched, and no statement is verified again.
    """
    held = {
        name: value
        for name, value in client.metadata.items()
        if name != MEMBER and MEMBERS[name.partition("#")[0]].role is Role.CLIENT
    }
    shaped, read = judge.read(Presented(held))
    decision = judge(shaped, _as_admitted(client), read)
    if decision.refused:
        return Impact(client.client_id, "refused", events.told(one for one in decision.findings if one.error))
    before = {name: value for name, value in client.metadata.items() if name != MEMBER}
    if difference := events.difference(before, decision.metadata):
        changed = [one for one in decision.findings if one.member.partition("[")[0] in difference]
        return Impact(client.client_id, "changed", events.told(changed), difference)
    return Impact(client.client_id, "same")


def _as_admitted(client: Client) -> Facts:
    """The facts of a client's admission, as far as the record keeps them; that its request was signed is supposed."""
    admission, metadata = client.admission, client.metadata
    return Facts(
        admission.assurance,
        token_id=admission.token_id,
        token_label=admission.label,
        token_scope=admission.token_scope,
        owner=admission.owner,
        client_class=admission.client_class,
        statement=_statement(client) if admission.statement_issuer else None,
        certificate=_certificate(admission) if admission.certificate_thumbprint else None,
        signed=True,
        template=client.template,
        before=metadata,
        documents={"sector_identifier_uri": metadata.get("redirect_uris", []), "jwks_uri": UNSEEN},
    )


def _statement(client: Client) -> Attestation:
    compact = client.metadata.get(MEMBER, "")
    try:
        claims: Mapping[str, Any] = jws.read(compact, trust.LIMIT).claims
    except jws.Malformed:
        claims = {}
    attested = [name for name, origin in client.provenance.items() if origin.startswith("attested:")]
    return Attestation(
        name=client.admission.statement_issuer,
        issuer=str(claims.get("iss", "")),
        compact=compact,
        digest=client.admission.statement_digest,
        claims=claims,
        members=Registered({name: client.metadata[name] for name in attested if name in client.metadata}),
        uses={},
        software=str(claims.get("software_id", "")),
    )


def _certificate(admission: Admission) -> Certificate:
    return Certificate(
        admission.certificate_thumbprint, "", admission.certificate_subject, "", 0, 0, 0, (), (), (), (), {}, b""
    )
