"""Who a client says that it is: names of others, names that look like those of others, and known software elsewhere.

Nothing here proves that a client is who it says (RFC 7591 §5); it finds some that say what cannot be so. A finding is
kept with the client, so that people and operators see it long after.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib import resources
from itertools import compress
from typing import Final

from registrar.domain import names, terms
from registrar.domain import uri as grammar
from registrar.domain.findings import Finding, listed, rule
from registrar.domain.names import Spelling
from registrar.policy.evidence import Facts
from registrar.policy.rules.applied import Hosts, Metadata, Verdict, named, said

LOOKALIKE: Final = rule(
    "rule.lookalike",
    "Unicode TS 39",
    "reads like {other}, and is written with other characters",
    "a name in the letters that it seems to have",
)
MIXED: Final = rule(
    "rule.mixed_scripts",
    "Unicode TS 39 §5",
    "has letters of several alphabets in one word",
    "words of one alphabet each",
)
BRAND: Final = rule(
    "rule.brands",
    "RFC 7591 §5",
    "says {brand}, and the client leads people to {host}, where {brand} is not at home",
    "a name of its own, or redirect URIs at {accepted}",
)
LOGO: Final = rule(
    "rule.brands_logo",
    "RFC 7591 §5",
    "shows a picture of {host}, and the client leads people elsewhere",
    "a logo at a host of the client's own",
)
ELSEWHERE: Final = rule(
    "rule.software_hosts",
    "RFC 7591 §5",
    "is software that is registered already, and it has not led to {hosts}",
    "redirect URIs only where that software leads already, or a software statement",
)

FLAGS: Final = frozenset(one.name for one in (LOOKALIKE, MIXED, BRAND, LOGO, ELSEWHERE))
"""The findings that stay with a client as its flags."""

_SHORTEST: Final = 4
"""Letters of a name that others can imitate: shorter ones are found in honest words of other languages."""


@dataclass(frozen=True)
class Brand:
    """A name that people trust, and where it is at home."""

    name: str
    hosts: Hosts
    whole: bool = False
    """Whether it counts only where it is all that a client is called."""

    @cached_property
    def written(self) -> Spelling:
        """Its name in the letters that it has."""
        return names.written(self.name)

    @cached_property
    def seen(self) -> Spelling:
        """Its name as it is read."""
        return names.seen(self.name)


@cache
def shipped() -> tuple[Brand, ...]:
    """The brands that ship in `brands.toml`."""
    text = resources.files("registrar.policy").joinpath("brands.toml").read_text("utf-8")
    rows = tomllib.loads(text)["brand"]
    return tuple(Brand(row["name"], Hosts.from_words(row["hosts"]), row.get("whole", False)) for row in rows)


class OwnBrands(tuple[Brand, ...]):  # noqa: SLOT001 (it keeps what is known)
    """Brands of the operator's: `Acme=acme.com`, with several hosts `Acme=acme.com,*.acme.com`."""

    @classmethod
    def from_words(cls, words: Iterable[str]) -> OwnBrands:
        """The brands that words name.

        Raises:
            ValueError: a word is none.
        """
        found = []
        for word in words:
            name, equals, hosts = word.partition("=")
            if not equals or not names.written(name.strip()).letters or not hosts:
                raise ValueError(f"{word} is no brand such as Acme=acme.com,*.acme.com")
            home = Hosts.from_words([host.strip() for host in hosts.split(",")])
            found.append(Brand(name.strip(), home))
        return cls(found)

    @cached_property
    def known(self) -> _Known:
        """They and the brands that ship."""
        return _Known((*self, *shipped()))


class _Known:
    """Brands that are looked for. Of most not even the letters are in a name, and that is found out at once.

    Two are equal only if they are one, so that what was found is remembered by them without a look at every brand.
    """

    def __init__(self, brands: tuple[Brand, ...]) -> None:
        self.brands = brands
        self._written = tuple(one.written.letters for one in brands)
        self._seen = tuple(one.seen.letters for one in brands)

    def written_in(self, name: Spelling) -> Iterator[Brand]:
        """Those of which the letters are in a name as it is written."""
        return compress(self.brands, map(name.letters.__contains__, self._written))

    def seen_in(self, name: Spelling) -> Iterator[Brand]:
        """Those of which the letters are in a name as it is read."""
        return compress(self.brands, map(name.letters.__contains__, self._seen))


_NONE: Final = OwnBrands()
_NO_HOSTS: Final = Hosts()


def lookalike(
    metadata: Metadata, facts: Facts, *, brands: OwnBrands = _NONE, verdict: Verdict = "refuse"
) -> Iterator[Finding]:
    """A name is not written so that it looks like a brand's that it is not; `brands` adds to those that ship."""
    for member, name in _names(metadata, facts):
        if (imitated := _imitated(name, brands.known)) is not None:
            yield said(LOOKALIKE, verdict, member, other=imitated.name)


def mixed_scripts(metadata: Metadata, facts: Facts, *, verdict: Verdict = "warn") -> Iterator[Finding]:
    """No word of a name has letters of several alphabets that are taken for each other, as Latin and Cyrillic are."""
    for member, name in _names(metadata, facts):
        if names.mixed(name):
            yield said(MIXED, verdict, member)


@lru_cache(maxsize=4096)  # the same names come again and again
def _imitated(name: str, known: _Known) -> Brand | None:
    seen = names.seen(name)
    read = [one for one in known.seen_in(seen) if seen.has(one.seen, whole=one.whole)]
    if not read:
        return None
    written = names.written(name)
    return next(
        (one for one in read if len(one.written.letters) >= _SHORTEST and not written.has(one.written)),
        None,
    )


def brands(
    metadata: Metadata,
    facts: Facts,
    *,
    brands: OwnBrands = _NONE,
    exceptions: Hosts = _NO_HOSTS,
    verdict: Verdict = "warn",
) -> Iterator[Finding]:
    """Who calls itself by a brand's name leads people to the brand, and so does who shows its picture.

    Redirect URIs to this machine or to an app's own scheme say nothing either way: there, nobody can be told apart.
    `exceptions` are hosts that may speak for anybody, such as those of a gateway.
    """
    hosts = [host for host in terms.hosts(metadata.get("redirect_uris", ())) if host not in exceptions]
    if not hosts:
        return
    for member, name in _names(metadata, facts):
        spoken = _spoken(name, brands.known)
        # A name may say several, as `GitHub Copilot` does; it is enough to be at home with one of them.
        foreign = [host for host in hosts if not any(host in one.hosts for one in spoken)]
        if spoken and foreign:
            at_home = listed(sorted(spoken[0].hosts.exact))
            yield said(BRAND, verdict, member, brand=spoken[0].name, host=foreign[0], accepted=at_home)
    for member in named(metadata, ("logo_uri",)):
        pictured = grammar.host_of(str(metadata[member]))
        owners = [one for one in brands.known.brands if pictured in one.hosts]
        if owners and not all(any(host in one.hosts for one in owners) for host in hosts):
            yield said(LOGO, verdict, member, host=pictured)


@lru_cache(maxsize=4096)
def _spoken(name: str, known: _Known) -> tuple[Brand, ...]:
    written = names.written(name)
    return tuple(one for one in known.written_in(written) if written.has(one.written, whole=one.whole))


def software_hosts(metadata: Metadata, facts: Facts, *, verdict: Verdict = "warn") -> Iterator[Finding]:
    """Software that is registered already leads where it led before and nowhere else, unless a statement vouches for it.

    Whoever registers first says where that is, so that to refuse is for servers on which nobody can be first but its maker.
    """
    if facts.software_hosts is None or vouched_for(facts):
        return
    # One known address among others must not vouch for them: the code goes to whichever the request names.
    strange = [host for host in terms.hosts(metadata.get("redirect_uris", ())) if host not in facts.software_hosts]
    if strange:
        yield said(ELSEWHERE, verdict, "software_id", hosts=listed(strange))


def vouched_for(facts: Facts) -> bool:
    """Whether a statement says what software it is, so that nobody has to compare it with others of that name."""
    return facts.statement is not None and "software_id" in facts.statement.members


def _names(metadata: Metadata, facts: Facts) -> Sequence[tuple[str, str]]:
    """The names that the client gives itself; what a trusted statement attests is not its own word."""
    attested = facts.statement.members if facts.statement else ()
    return [(member, str(metadata[member])) for member in named(metadata, _NAME) if member not in attested]


_NAME: Final = ("client_name",)


def flags(findings: Iterable[Finding]) -> tuple[str, ...]:
    """What stays with a client of what was found."""
    return tuple(sorted({one.rule for one in findings if one.rule in FLAGS}))
