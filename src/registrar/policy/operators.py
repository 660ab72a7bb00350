"""The operators of OpenID Federation 1.0 §6.1, member by member, in the order that the standard fixes.

`value`, `add` and `default` modify; `one_of`, `subset_of`, `superset_of` and `essential` check, though `subset_of` also
takes away what is not in its set, as the standard says. Two departures: `redirect_uris` are only ever checked, because
a redirect URI that is silently dropped fails later and elsewhere; and where a check of a list leaves nothing of what
was asked for, the registration is refused rather than continued without the member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from registrar.domain.findings import Finding, listed, rule

_SOURCE: Final = "OpenID Federation 1.0 §6.1.3.1"

VALUE: Final = rule("policy.value", _SOURCE, "is set by the policy")
ADD: Final = rule("policy.add", _SOURCE, "is completed by the policy")
DEFAULT: Final = rule("policy.default", _SOURCE, "was not given, and the policy has a default")
ONE_OF: Final = rule("policy.one_of", _SOURCE, "is {given}, which the policy does not allow", "{accepted}")
SUBSET_OF: Final = rule("policy.subset_of", _SOURCE, "held {given}, which the policy does not allow", "{accepted}")
NOTHING_LEFT: Final = rule("policy.subset_of_empty", _SOURCE, "holds nothing that the policy allows", "{accepted}")
REDIRECTS: Final = rule(
    "policy.redirect_uris",
    _SOURCE,
    "holds {given}, which the policy does not allow",
    "{accepted}",
    error="invalid_redirect_uri",
)
SUPERSET_OF: Final = rule("policy.superset_of", _SOURCE, "lacks {given}, which the policy demands", "{accepted}")
ESSENTIAL: Final = rule("policy.essential", _SOURCE, "is missing, and the policy demands it")


@dataclass(frozen=True, slots=True)
class Operators:
    """The operators of one member; None is an operator that is not used."""

    value: Any = None
    """It is this, whatever is asked for."""
    add: tuple[str, ...] | None = None
    """These are added to what is asked for."""
    default: Any = None
    """It is this where nothing is asked for."""
    one_of: tuple[Any, ...] | None = None
    """It is one of these."""
    subset_of: tuple[str, ...] | None = None
    """It holds none but these."""
    superset_of: tuple[str, ...] | None = None
    """It holds all of these."""
    essential: bool = False
    """It has to be there."""

    def permits(self, value: str) -> bool:
        """Whether the result may be, or may hold, `value`."""
        if self.value is not None:
            return value in (self.value if isinstance(self.value, (list, tuple)) else as_words("scope", self.value))
        if self.one_of is not None and value not in self.one_of:
            return False
        return self.subset_of is None or value in self.subset_of

    def modify(self, name: str, value: Any, findings: list[Finding]) -> Any:
        """`value`, `add`, `default`, in this order."""
        if self.value is not None:
            if value != self.value:
                findings.append(VALUE.change(name, value, self.value))
            return _copied(self.value)
        if self.add is not None:
            words = as_words(name, value or ())
            added = from_words(name, [*words, *(word for word in self.add if word not in words)])
            if added != value:
                findings.append(ADD.change(name, value, added))
            value = added
        if value is None and self.default is not None:
            findings.append(DEFAULT.change(name, None, self.default))
            return _copied(self.default)
        return value

    def check(self, name: str, value: Any, findings: list[Finding]) -> Any:
        """`one_of`, `subset_of`, `superset_of`, `essential`, in this order; gives what is left of the value."""
        if value is None:
            if self.essential:
                missing = ESSENTIAL.refuse(name)
                of_redirects = name == "redirect_uris"
                findings.append(msgspec.structs.replace(missing, error=REDIRECTS.error) if of_redirects else missing)
            return None
        if self.one_of is not None and value not in self.one_of:
            findings.append(ONE_OF.refuse(name, given=value, accepted=listed(map(str, self.one_of))))
        if self.subset_of is not None:
            value = self._subset(name, value, self.subset_of, findings)
        if self.superset_of is not None and (lacking := set(self.superset_of) - set(as_words(name, value))):
            findings.append(
                SUPERSET_OF.refuse(name, given=sorted(lacking), accepted=f"at least {listed(self.superset_of)}")
            )
        return value

    def merged(self, name: str, other: Operators) -> Operators:
        """What satisfies both, by the standard's rules of merging (OpenID Federation 1.0 §6.1.3.1).

        Raises:
            ValueError: nothing could; the message says why.
        """
        together = Operators(
            value=_equal(name, "value", self.value, other.value),
            add=_united(self.add, other.add),
            default=_equal(name, "default", self.default, other.default),
            one_of=_intersected(name, "one_of", self.one_of, other.one_of),
            subset_of=_intersected(name, "subset_of", self.subset_of, other.subset_of),
            superset_of=_united(self.superset_of, other.superset_of),
            essential=self.essential or other.essential,
        )
        if problem := together.contradiction(name):
            raise ValueError(f"{name}: {problem}")
        return together

    def contradiction(self, name: str) -> str:
        """Why no value could pass, or an operator could never have an effect; empty where neither is so."""
        written = {key: held for key in ("value", "default") if (held := getattr(self, key)) is not None}
        if self.value is not None:
            written.pop("default", None)  # it has no effect beside value, which a merge may bring about
        for key, held in {**written, **{key: getattr(self, key) for key in ("add", "superset_of")}}.items():
            if held is None:
                continue
            words = as_words(name, held)
            if self.subset_of is not None and (surplus := set(words) - set(self.subset_of)):
                return f"{key} holds {min(surplus)}, which subset_of does not allow"
            if key not in written:
                continue
            if self.one_of is not None and held not in self.one_of:
                return f"{key} is not one of one_of"
            if lacking := set(self.superset_of or ()) - {*words, *(self.add or ())}:
                return f"{key} lacks {min(lacking)}, which superset_of demands"
            if key == "value" and (lost := set(self.add or ()) - set(words)):
                return f"value lacks {min(lost)}, which add would add"
        return ""

    @staticmethod
    def _subset(name: str, value: Any, allowed: tuple[str, ...], findings: list[Finding]) -> Any:
        words = as_words(name, value)
        kept = [word for word in words if word in allowed]
        if len(kept) == len(words):
            return value
        surplus = ", ".join(word for word in words if word not in allowed)
        if name == "redirect_uris":
            findings.append(REDIRECTS.refuse(name, given=surplus, accepted=listed(allowed)))
            return value
        if not kept:
            findings.append(NOTHING_LEFT.refuse(name, accepted=listed(allowed)))
            return value
        after = from_words(name, kept)
        findings.append(SUBSET_OF.change(name, value, after, given=surplus, accepted=listed(allowed)))
        return after


def _equal(name: str, operator: str, one: Any, other: Any) -> Any:
    if one is not None and other is not None and one != other:
        raise ValueError(f"{name}: {operator} is {one} in one and {other} in the other")
    return one if other is None else other


def _united(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return tuple(dict.fromkeys((*(one or ()), *(other or ())))) or None


def _intersected(
    name: str, operator: str, one: tuple[Any, ...] | None, other: tuple[Any, ...] | None
) -> tuple[Any, ...] | None:
    if one is None or other is None:
        return one if other is None else other
    both = tuple(value for value in one if value in other)
    if not both:
        raise ValueError(f"{name}: {operator} has nothing in common")
    return both


def as_words(name: str, value: Any) -> Sequence[str]:
    """A member's value as a list: `scope` is one string of words (RFC 6749 §3.3), the others are arrays already."""
    if isinstance(value, str):
        return value.split() if name == "scope" else (value,)
    return value if isinstance(value, (list, tuple)) else ()


def from_words(name: str, words: list[str]) -> Any:
    """The reverse of `as_words`."""
    return " ".join(words) if name == "scope" else words


def _copied(value: Any) -> Any:
    """A policy's value given out, its tuples as JSON arrays."""
    return list(value) if isinstance(value, (list, tuple)) else value
