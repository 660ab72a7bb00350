"""A rule function with the arguments that a policy gives it, and the kinds of argument that are more than a word."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

from registrar.domain.findings import Finding, Rule
from registrar.policy.evidence import Facts

Metadata = Mapping[str, Any]
RuleFunction = Callable[..., Iterable[Finding]]
"""From the members and the facts to findings; what a policy may set are its keyword arguments."""

Verdict = Literal["refuse", "warn"]
TakingAway = Literal["drop", "refuse"]

_HOST: Final = re.compile(r"(?:\*\.)?(?:[a-z0-9_\-]{1,63}\.)*[a-z0-9_\-]{1,63}|\[[0-9a-f:.]+\]")


@dataclass(frozen=True, slots=True)
class AppliedRule:
    """A rule function with its arguments."""

    name: str
    function: RuleFunction
    arguments: Mapping[str, Any]

    @property
    def about(self) -> frozenset[str]:
        """The members without which, and without whose translations, the rule has nothing to say; empty for any."""
        return frozenset(self.arguments.get("members", ()))

    @property
    def documents(self) -> tuple[str, ...]:
        """The URL members of which the rule judges the documents."""
        found: tuple[str, ...] = vars(self.function).get("documents", ())
        return found

    def bound(self) -> Callable[[Metadata, Facts], Iterable[Finding]]:
        """The rule as a function of a registration alone."""
        return partial(self.function, **self.arguments)


def reading(*members: str) -> Callable[[RuleFunction], RuleFunction]:
    """Mark a rule that judges the documents behind these URL members: they are fetched before it is asked."""

    def mark(function: RuleFunction) -> RuleFunction:
        vars(function)["documents"] = members
        return function

    return mark


@dataclass(frozen=True, slots=True)
class Hosts:
    """A set of hosts: `app.example`, or `*.example` for every host below it and not for `example` itself."""

    exact: frozenset[str] = frozenset()
    below: tuple[str, ...] = ()
    """Each with the dot before it, so that `.example` is no end of `evilexample`."""

    @classmethod
    def from_words(cls, words: Sequence[str]) -> Hosts:
        """The hosts that words name.

        Raises:
            ValueError: a word is no host.
        """
        for word in words:
            if not _HOST.fullmatch(word):
                raise ValueError(f"{word} is no host such as app.example.com or *.example.com, in lower case")
        below = tuple(sorted(word[1:] for word in words if word.startswith("*.")))
        return cls(frozenset(word for word in words if not word.startswith("*.")), below)

    def __contains__(self, host: str) -> bool:
        """Whether a host in lower case is one of these."""
        return host in self.exact or (bool(self.below) and host.endswith(self.below))

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.exact or self.below)

    def __str__(self) -> str:
        """As the words that they were made from."""
        return ", ".join([*sorted(self.exact), *(f"*{suffix}" for suffix in self.below)])


@dataclass(frozen=True, slots=True)
class Networks:
    """A set of addresses and networks: `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`."""

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    @classmethod
    def from_words(cls, words: Sequence[str]) -> Networks:
        """The networks that words name.

        Raises:
            ValueError: a word is neither an address nor a network.
        """
        try:
            return cls(tuple(map(ipaddress.ip_network, words)))
        except ValueError as problem:
            raise ValueError(f"{problem}; an address, or a network such as 10.0.0.0/8") from None

    def __contains__(self, address: str) -> bool:
        """Whether an address is in one of these; what is no address is in none."""
        try:
            known = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is not None:
            known = known.ipv4_mapped
        return any(known in network for network in self.networks)


def said(rule: Rule, verdict: str, member: str, **facts: Any) -> Finding:
    """What a rule says by the verdict that a policy gave it."""
    return (rule.refuse if verdict == "refuse" else rule.warn)(member, **facts)


def named(metadata: Metadata, members: Iterable[str]) -> Sequence[str]:
    """Those of these members that are there, with their translations: `client_name` means `client_name#fr` too."""
    found = [*filter(metadata.__contains__, members)]
    if "#" in "".join(metadata):
        found += [name for name in metadata if "#" in name and name.partition("#")[0] in members]
    return found
