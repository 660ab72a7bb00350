"""The judge: what a registration becomes under a policy, and everything that is said about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Final, NamedTuple

import msgspec

from registrar.domain import coherence
from registrar.domain.findings import Finding, Verdict, listed, rule
from registrar.domain.metadata import MEMBERS, Default, Registered, Shaped, reader
from registrar.domain.server_metadata import Offered, with_features
from registrar.policy.comparison import terms
from registrar.policy.evidence import Facts, demanded, under_ceilings
from registrar.policy.operators import VALUE, Operators, as_words, from_words
from registrar.policy.policy import Policy

UNSUPPORTED: Final = rule("offered.value", "RFC 7591 §2", "is {given}, which this server does not offer", "{accepted}")
UNSUPPORTED_DROPPED: Final = rule(
    "offered.dropped",
    "RFC 7591 §3.2.1",
    "held {given}, which this server does not offer; the rest is registered",
    "{accepted}",
)
MOOT_DROPPED: Final = rule(
    "offered.moot_response_types",
    "RFC 7591 §2.1",
    "held {given}, and no registered grant redirects, so no response type could ever be used",
    "no response_types",
)
DEFAULT_SCOPE: Final = rule(
    "offered.default_scope",
    "RFC 7591 §2",
    "names no scope that may be registered here; the default scope is registered",
)


class Decision(msgspec.Struct, frozen=True):
    """The outcome: the members as they would be registered, and every finding in the order in which it was made."""

    metadata: Registered
    findings: tuple[Finding, ...]
    provenance: Mapping[str, str]

    @property
    def refused(self) -> bool:
        """Whether any finding refuses."""
        return any(finding.verdict is Verdict.REFUSED for finding in self.findings)


class _Step(NamedTuple):
    """What is done to one member, in order: modify, narrow to what is offered, default, check."""

    name: str
    operators: Operators | None
    offered: frozenset[str] | None
    listed: str
    many: bool
    constant: Any
    default: Default | None


class _Outline(NamedTuple):
    """What the steps decided: the values of the members that they are about, and why."""

    members: Mapping[str, Any]
    dropped: tuple[str, ...]
    findings: tuple[Finding, ...]
    coherent: bool
    """Whether they are coherent with any redirect URIs, as long as nothing of `_BESIDE` is there."""


_OUTLINES: Final = 1024
"""Outlines that are remembered at the most; a thousandth kind of client is rare, and forgetting costs little."""
_OUTLINE_BYTES: Final = 1024
"""Larger ones are not remembered, so that nobody can fill the memory with them."""


class Judge:
    """A policy in force at an issuer: bound to what is offered there, and made into steps once.

    What the steps decide depends on the members that they are about and on nothing else: not on names, addresses or
    redirect URIs. Most registrations look alike in those members, so the outcome is remembered by their values.

    Args:
        policy: what the operator wants.
        offered: what this server can serve at the issuer, scopes included.
        default_scope: what is registered where no registrable scope is asked for.
    """

    def __init__(self, policy: Policy, offered: Offered, default_scope: tuple[str, ...] = ()) -> None:
        self.policy = policy
        self.read = reader(policy.features)
        """The parser of requests under this policy: `domain.metadata.parse`, with the members that it switches on."""
        self.documents = frozenset({"sector_identifier_uri"}.union(*(applied.documents for applied in policy.rules)))
        """The URL members of which the documents are judged, so that they have to be fetched before."""
        self.functions = frozenset(applied.function for applied in policy.rules)
        """The rules that are asked: who gathers the facts gathers what they look at."""
        self._rules = tuple((applied.about, applied.bound()) for applied in policy.rules)
        scope = " ".join(default_scope) or None
        offered = self.offered = with_features(offered, policy.features)
        self._steps = tuple(
            _Step(
                name=name,
                operators=policy.members.get(name),
                offered=frozenset(offered[row.offered]) if row.offered else None,
                listed=listed(offered[row.offered]) if row.offered else "",
                many=row.type == "array of strings" or name == "scope",
                constant=scope if name == "scope" else row.constant,
                default=row.default,
            )
            for name, row in MEMBERS.items()
            if (name in policy.members or name in _DECIDED) and row.feature in ("", *policy.features)
        )
        self._names = tuple(step.name for step in self._steps)
        self._localised = {name: held for name, held in policy.members.items() if MEMBERS[name].localised}
        self._outlines: dict[bytes, _Outline] = {}

    @cached_property
    def terms(self) -> str:
        """What its policy says, in one hash (`policy.comparison.terms`)."""
        return terms(self.policy)

    def __call__(self, shaped: Shaped, facts: Facts, found: Iterable[Finding] = ()) -> Decision:
        """Judge a registration. Total and deterministic: the same arguments always give the same decision.

        Args:
            shaped: the members that were asked for.
            facts: what else is known.
            found: findings of the steps before; they stand first in the decision.
        """
        key = _encode([*map(shaped.get, self._names)])
        outline = self._outlines.get(key) or self._outline(shaped, key)
        members: dict[str, Any] = {**shaped, **outline.members}
        for name in outline.dropped:
            del members[name]
        findings = [*found]
        before = len(findings)
        findings += outline.findings
        if self._localised:
            self._judge_translations(members, findings)
        findings.extend(demanded(self.policy.proofs, facts))
        narrowed_ = False
        if "scope" in members and (facts.token_scope or facts.statement):
            narrowed_ = _take_away(members, under_ceilings(members["scope"], facts), findings)
        translated = "#" in "".join(members)
        for about, rule_ in self._rules:
            if (not about or translated or not about.isdisjoint(members)) and (said := (*rule_(members, facts),)):
                narrowed_ |= _take_away(members, said, findings)
        if narrowed_ or not outline.coherent or "redirect_uris" not in members or not _BESIDE.isdisjoint(members):
            _judge_together(members, facts, findings)
        provenance = {one.member: "policy" for one in findings[before:] if one.verdict is Verdict.CHANGED}
        return Decision(Registered(members), tuple(findings), provenance)

    def _judge_translations(self, members: dict[str, Any], findings: list[Finding]) -> None:
        """A policy about `client_name` is about `client_name#fr` too, or a translation would be the way around it."""
        for name in [name for name in members if "#" in name]:
            operators = self._localised.get(name.partition("#")[0])
            if operators is None:
                continue
            if operators.value is not None:
                findings.append(VALUE.change(name, members.pop(name), None))
            else:
                operators.check(name, members[name], findings)

    def _outline(self, shaped: Shaped, key: bytes) -> _Outline:
        members: dict[str, Any] = {}
        findings: list[Finding] = []
        for step in self._steps:  # in the order of the table, because a default may look at what stands above it
            value = _decide(step, shaped.get(step.name), members, findings)
            if value is not None:
                members[step.name] = value
        dropped = tuple(name for name in self._names if name in shaped and name not in members)
        coherent = members.get("subject_type") != "pairwise" and not coherence.judge({**members, "redirect_uris": [""]})
        outline = _Outline(members, dropped, tuple(findings), coherent)
        if len(key) <= _OUTLINE_BYTES:
            if len(self._outlines) >= _OUTLINES:
                self._outlines.clear()
            self._outlines[key] = outline
        return outline


_encode: Final = msgspec.msgpack.Encoder().encode


def _offered(step: _Step, value: Any) -> bool:
    """Whether everything in a value is offered, once, and written in the canonical way."""
    if step.offered is None:
        return True
    if not step.many:
        return value in step.offered
    words = value.split(" ") if step.name == "scope" else value
    return step.offered.issuperset(words) and len(set(words)) == len(words)


def _decide(step: _Step, value: Any, members: Mapping[str, Any], findings: list[Finding]) -> Any:
    if step.operators:
        value = step.operators.modify(step.name, value, findings)
    if (
        step.name == "response_types"
        and value
        and not coherence.REDIRECT_GRANTS.intersection(members.get("grant_types", ()))
    ):
        # Gateways send ["code"] with client_credentials alone; it gives nothing, so it is dropped and told.
        findings.append(MOOT_DROPPED.change(step.name, value, None, given=value))
        value = None
    if value is not None and not _offered(step, value):
        value = _narrow(step, value, findings)
    if value is None and step.operators and step.operators.essential:
        step.operators.check(step.name, None, findings)  # what an absent member means does not make it present
        return None
    if value is None:
        value = step.default(members) if step.default else step.constant
    if step.operators:
        value = step.operators.check(step.name, value, findings)
    return value


def _narrow(step: _Step, value: Any, findings: list[Finding]) -> Any:
    """Drop what is not offered from a list; refuse a single value that is not, for it decides about security."""
    assert step.offered is not None
    if not step.many:
        findings.append(UNSUPPORTED.refuse(step.name, given=value, accepted=step.listed))
        return value
    words = as_words(step.name, value)
    kept = [word for word in dict.fromkeys(words) if word in step.offered]
    dropped = ", ".join(word for word in words if word not in step.offered)
    if kept:
        after = from_words(step.name, kept)
        findings.append(
            UNSUPPORTED_DROPPED.change(step.name, value, after, given=dropped or "repetitions", accepted=step.listed)
        )
        return after
    if step.name == "scope":
        findings.append(DEFAULT_SCOPE.change("scope", value, step.constant))
        return None
    if MEMBERS[step.name].voluntary:
        findings.append(UNSUPPORTED_DROPPED.change(step.name, value, None, given=dropped, accepted=step.listed))
        return None
    findings.append(UNSUPPORTED.refuse(step.name, given=dropped, accepted=step.listed))
    return value


def _take_away(members: dict[str, Any], said: Iterable[Finding], findings: list[Finding]) -> bool:
    """Enter what a rule says, and let it take away what it says it takes away; whether it did.

    Raises:
        WideningError: the rule would add or alter, which is for operators alone.
    """
    changed = False
    for finding in said:
        findings.append(finding)
        if finding.verdict is not Verdict.CHANGED:
            continue
        name, before = finding.member, as_words(finding.member, members.get(finding.member))
        if finding.after is None:
            members.pop(name, None)
        elif set(as_words(name, finding.after)) <= set(before):
            members[name] = finding.after
        else:
            raise WideningError(f"{finding.rule} would register {name} with more than was judged")
        changed = True
    return changed


class WideningError(Exception):
    """A rule that does what only operators may."""


def _judge_together(members: Mapping[str, Any], facts: Facts, findings: list[Finding]) -> None:
    """Coherence of the result. Beside faults that were told already, what only follows from them is not told."""
    faults = coherence.judge(members, facts.documents)
    if not faults:
        return
    told = {one.member.partition("[")[0].partition(".")[0] for one in findings if one.verdict is Verdict.REFUSED}
    findings.extend(
        fault for fault in faults if fault.member not in told and told.isdisjoint(_CAUSES.get(fault.rule, ()))
    )


_DECIDED: Final = frozenset(
    name for name, row in MEMBERS.items() if row.offered or row.default or row.constant is not None
)
"""What the steps decide under every policy."""
_BESIDE: Final = coherence.LOOKED_AT - _DECIDED - {"redirect_uris"}
"""What coherence looks at and the steps do not decide."""

_CAUSES: Final[Mapping[str, tuple[str, ...]]] = {
    coherence.RESPONSE_TYPES.name: ("grant_types",),
    coherence.NO_RESPONSE_TYPE.name: ("grant_types",),
    coherence.REDIRECTS_NEEDED.name: ("grant_types",),
    coherence.FRONTCHANNEL_ORIGIN.name: ("redirect_uris",),
    coherence.KEYS_NEEDED.name: ("jwks", "jwks_uri"),
    coherence.ONE_TLS_SUBJECT.name: coherence.TLS_SUBJECTS,
    coherence.ENC_WITHOUT_ALG.name: tuple(
        name for name in MEMBERS if name.endswith(("response_alg", "encryption_alg"))
    ),
}
"""Rule -> the members of which a fault has often caused the fault that it finds."""


def narrowed(offered: Offered, policies: Iterable[Policy]) -> Offered:
    """What discovery publishes: the offered values that at least one policy in force can let through."""
    in_force = tuple(policies)
    offered = with_features(offered, frozenset().union(*(policy.features for policy in in_force)))
    members = {row.offered: row.name for row in MEMBERS.values() if row.offered}
    return Offered(
        {
            name: tuple(
                value
                for value in values
                if name not in members or any(p.permits(members[name], value) for p in in_force)
            )
            for name, values in offered.items()
        }
    )
