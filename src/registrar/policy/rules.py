"""Rules: what operators cannot say, because it is about several members at once or about how they compare.

A rule is one function from the members and the facts to findings, entered in `RULE_FUNCTIONS` under its name; its
keyword arguments are what a policy may set. Rules see the result of the operators and change nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

from registrar.domain import uri as grammar
from registrar.domain.findings import Finding, listed, rule
from registrar.policy import ecosystem_rules
from registrar.policy.evidence import Facts

Metadata = Mapping[str, Any]
RuleFunction = Callable[..., Iterable[Finding]]

OTHER_HOST: Final = rule(
    "rule.same_host",
    "RFC 7591 §5",
    "is on {host}, where no redirect URI is",
    "a URL on the host of a redirect URI: {accepted}",
)
LOCALHOST: Final = rule(
    "rule.localhost",
    "RFC 8252 §8.3",
    "names localhost, which may resolve to another interface",
    "http://127.0.0.1 or http://[::1]",
)


@dataclass(frozen=True, slots=True)
class AppliedRule:
    """A rule function with the arguments that a policy gives it."""

    name: str
    function: RuleFunction
    arguments: Mapping[str, Any]

    @property
    def about(self) -> frozenset[str]:
        """The members without which, and without whose translations, the rule has nothing to say; empty for any."""
        return frozenset(self.arguments.get("members", ()))

    def bound(self) -> Callable[[Metadata, Facts], Iterable[Finding]]:
        """The rule as a function of a registration alone."""
        return partial(self.function, **self.arguments)


def same_host(
    metadata: Metadata, _facts: Facts, *, members: tuple[str, ...], verdict: Literal["refuse", "warn"] = "refuse"
) -> Iterator[Finding]:
    """The named URL members are on the host of a redirect URI (RFC 7591 §5). Apps without a web redirect are exempt."""
    named = [*filter(metadata.__contains__, members)]
    if "#" in "".join(metadata):
        named += [name for name in metadata if "#" in name and name.partition("#")[0] in members]
    if not named:
        return
    hosts = {grammar.host_of(uri) for uri in metadata.get("redirect_uris", ()) if uri.lower().startswith("https:")}
    if not hosts:
        return
    for name in named:
        host = grammar.host_of(metadata[name])
        if host not in hosts:
            apply = OTHER_HOST.refuse if verdict == "refuse" else OTHER_HOST.warn
            yield apply(name, host=host, accepted=listed(sorted(hosts)))


_LOCALHOST: Final = re.compile(r"http://localhost(?:[/:?]|\Z)", re.IGNORECASE)


def localhost(metadata: Metadata, _facts: Facts, *, verdict: Literal["refuse", "warn"] = "warn") -> Iterator[Finding]:
    """Loopback redirects name an address, not `localhost` (RFC 8252 §8.3)."""
    for at, uri in enumerate(metadata.get("redirect_uris", ())):
        if _LOCALHOST.match(uri):
            yield (LOCALHOST.refuse if verdict == "refuse" else LOCALHOST.warn)(f"redirect_uris[{at}]")


RULE_FUNCTIONS: Final[dict[str, RuleFunction]] = {
    "same_host": same_host,
    "localhost": localhost,
    **ecosystem_rules.FUNCTIONS,
}
"""Every rule that a policy may name."""
