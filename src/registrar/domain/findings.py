"""Rules and findings: why something was refused, changed, dropped or only remarked on.

A `Rule` is written once, beside the code that enforces it. It knows its name, the error that a refusal by it answers
with, what would be accepted instead, and where the rule comes from. Applying a rule to a member gives a `Finding`;
the HTTP answer, the audit event and the documentation all read findings and rules.
"""

from __future__ import annotations

import enum
import re
from typing import Any, Final

import msgspec


class Verdict(enum.StrEnum):
    """What a rule said about a member."""

    REFUSED = "refused"
    CHANGED = "changed"
    IGNORED = "ignored"
    WARNED = "warned"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One verdict of one rule about one member, with the reason for a person to read."""

    rule: str
    """The name of the rule."""
    member: str
    """What it is about: a member, and an index where it is about one item."""
    verdict: Verdict
    """What the rule said."""
    reason: str
    """Why, for people."""
    accepted: str = ""
    """What would be accepted instead, where something would."""
    error: str = ""
    """The code of the error that it is refused with, where it is."""
    before: Any = None
    """What was presented, where it was changed."""
    after: Any = None
    """What it became, where it was changed."""

    def fault(self) -> Fault:
        """The finding as a row of the `faults` array of an error answer."""
        return Fault(self.member, self.rule, self.reason, self.accepted)


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is wrong with a member, and by which rule."""

    member: str
    """The member, and an index where it is about one item."""
    rule: str
    """The name of the rule."""
    reason: str
    """Why, for people."""
    accepted: str = ""
    """What would be accepted instead, where something would."""


class Rule(msgspec.Struct, frozen=True):
    """A named rule: `reason` and `accepted` are templates over the facts given when it is applied."""

    name: str
    source: str
    reason: str
    accepted: str = ""
    error: str = "invalid_client_metadata"

    def refuse(self, member: str, **facts: Any) -> Finding:
        """A refusal of `member` by this rule."""
        reason, accepted = self._say(facts)
        return Finding(self.name, member, Verdict.REFUSED, reason, accepted, self.error)

    def change(self, member: str, before: Any, after: Any, **facts: Any) -> Finding:
        """This rule replaced `before` by `after`, within what RFC 7591 §2 allows a server to substitute."""
        return Finding(self.name, member, Verdict.CHANGED, *self._say(facts), before=before, after=after)

    def ignore(self, member: str, **facts: Any) -> Finding:
        """`member` has no effect (RFC 7591 §2: what is not understood is ignored)."""
        return Finding(self.name, member, Verdict.IGNORED, *self._say(facts))

    def warn(self, member: str, **facts: Any) -> Finding:
        """`member` is accepted, and somebody should look at it."""
        return Finding(self.name, member, Verdict.WARNED, *self._say(facts))

    def _say(self, facts: dict[str, Any]) -> tuple[str, str]:
        if not facts:
            return self.reason, self.accepted
        said = {name: shown(value) for name, value in facts.items()}
        return self.reason.format_map(said), self.accepted.format_map(said)


RULES: Final[dict[str, Rule]] = {}
"""Every rule by its name, filled where the rules are defined; the reference and the tests read it."""


def rule(name: str, source: str, reason: str, accepted: str = "", *, error: str = "invalid_client_metadata") -> Rule:
    """Define a rule and enter it into `RULES`.

    Raises:
        ValueError: two rules have one name.
    """
    if name in RULES:
        msg = f"rule {name} is defined twice"
        raise ValueError(msg)
    RULES[name] = Rule(name, source, reason, accepted, error)
    return RULES[name]


SHOWN: Final = 80
"""Characters of a presented value that a message repeats."""

# RFC 6749 §5.2: an error_description holds %x20-21 / %x23-5B / %x5D-7E, so neither quote nor backslash, and no controls.
_UNSAID: Final = dict.fromkeys((*range(32), 34, 92, 127), "?")


# What stands before the host of a URL may be a password, and messages reach logs and audit events.
_USERINFO: Final = re.compile(r"(https?:[/\\]*|//)[^/\\?#]*@", re.IGNORECASE)


def shown(value: Any) -> str:
    """A presented value as a message may repeat it: ASCII, short, without credentials, quotes, backslashes, controls."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return shown(", ".join(str(item) for item in value) or "nothing")
    if isinstance(value, Listed):
        return value
    text = _USERINFO.sub(r"\1...@", str(value))  # before anything is cut off, or a long password would lose its @
    kept = text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
    return kept.encode("ascii", "replace").decode("ascii").translate(_UNSAID)


class Listed(str):
    """A list of the server's own values, said in full however long it is."""

    __slots__ = ()


def listed(values: Any) -> Listed:
    """The server's own values as a message lists them."""
    return Listed(", ".join(values) or "nothing")
