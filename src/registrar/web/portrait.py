"""How a client is shown to a person: what it says of itself, who let it in, and what of it anybody has checked.

A name and a logo prove nothing (RFC 7591 §5). So beside them stand the host that the answer goes to, which cannot be
chosen at will, who registered the client and when, and a plain warning where nobody vouches for it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from registrar.domain import metadata_document, redirect_uri
from registrar.domain import uri as grammar
from registrar.domain.client import Assurance, Client
from registrar.domain.redirect_uri import Kind, RedirectURI
from registrar.web import languages
from registrar.web.languages import Text

_SPOKEN: Final = {
    "client_name": "its name",
    "client_uri": "its home page",
    "logo_uri": "its logo",
    "policy_uri": "its privacy policy",
    "tos_uri": "its terms",
    "redirect_uris": "where the answer goes",
    "contacts": "its contacts",
    "software_id": "which software it is",
    "software_version": "its version",
}
_LINKS: Final = {"client_uri": "About the application", "policy_uri": "Privacy policy", "tos_uri": "Terms"}


_CAUTIONS: Final = {
    "rule.lookalike": "Its name is written to look like another one.",
    "rule.mixed_scripts": "Its name mixes letters of several alphabets.",
    "rule.brands": "It uses a well-known name, and the answer does not go to whoever has that name.",
    "rule.brands_logo": "It shows the picture of somebody else.",
    "rule.software_hosts": "It says that it is a known program, and the answer does not go where that program's answers go.",
}
"""Flag of a client -> what a person is told; the rules are those of `policy.rules.identity`."""


_FOREIGN: Final = (
    "The address of its description is written with letters of other alphabets, which can look like those of another."
)
_ELSEWHERE: Final = "The answer does not go to {host}, which describes this application."


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the answer goes."""

    kind: Kind
    shown: str
    """A host, or the scheme of an app."""
    leads_to_one: bool


@dataclass(frozen=True, slots=True)
class Link:
    """A page of the client's."""

    label: str
    url: str
    host: str


@dataclass(frozen=True, slots=True)
class Attested:
    """What somebody vouches for."""

    by: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Portrait:
    """A client, ready to be shown."""

    client_id: str
    name: Text | None
    """None where it has none; then the identifier is shown, and nothing is invented."""
    registered_at: dt.datetime
    registered_by: str
    described_at: str
    """The host of the document that describes it, which is its identifier; empty where it was registered."""
    self_registered: bool
    vouched: bool
    """Whether somebody other than the client vouches for its name."""
    verified: bool
    """Whether the answer also goes where only that client can be: never to this machine, nor to an app's own scheme,
    which any program there can take."""
    cautions: tuple[str, ...]
    """What was found odd about who it says that it is."""
    destination: Destination | None
    attested: tuple[Attested, ...]
    claimed: tuple[str, ...]
    links: tuple[Link, ...]
    logo: str
    """Where this server shows the logo; empty where there is none."""
    opens: str
    """Where the application begins a sign-in by itself (OpenID Connect Core §4); empty where it has no such place."""

    @property
    def title(self) -> Text:
        """What to call it in a sentence."""
        return self.name or Text(self.client_id)


def portrait(
    client: Client,
    wanted: Iterable[str],
    *,
    issuer: str,
    uri: str = "",
    viewer: str = "",
    owner: str = "",
) -> Portrait:
    """How a client is shown.

    Args:
        client: it.
        wanted: the person's languages, as `languages.wanted` gives them.
        issuer: the URL of the issuer, under which logos are shown.
        uri: the redirect URI of this request.
        viewer: the subject of who looks at it.
        owner: what the person who registered it is called, where that is known.
    """
    metadata, read = client.metadata, tuple(wanted)
    shown = {member: chosen for member in _SPOKEN if (chosen := languages.choose(metadata, member, read))}
    attested = _attested(client)
    vouched = {member for one in attested for member in one.members}
    logo = shown.get("logo_uri")
    leads = destination(uri)
    known = client.admission.assurance is Assurance.OPERATOR or "client_name" in vouched
    described_at = grammar.host_of(client.client_id) if client.admission.assurance is Assurance.DOCUMENT else ""
    return Portrait(
        client_id=client.client_id,
        name=shown.get("client_name"),
        registered_at=dt.datetime.fromtimestamp(client.created_at, dt.UTC),
        registered_by=_registered_by(client, viewer, owner),
        described_at=described_at,
        self_registered=client.admission.assurance is not Assurance.OPERATOR,
        vouched=known,
        verified=known and (leads is None or leads.leads_to_one),
        cautions=(
            *_cautions_of_document(described_at, leads),
            *(_CAUTIONS[flag] for flag in client.flags if flag in _CAUTIONS),
        ),
        destination=leads,
        attested=tuple(
            Attested(one.by, tuple(_SPOKEN[name] for name in one.members if name in _SPOKEN)) for one in attested
        ),
        claimed=tuple(
            spoken
            for name, spoken in _SPOKEN.items()
            if _has(metadata, name) and name not in {*vouched, "redirect_uris"}
        ),
        links=tuple(
            Link(label, shown[member].value, grammar.host_of(shown[member].value))
            for member, label in _LINKS.items()
            if member in shown
        ),
        # A picture of somebody else's would say what the words beside it take back.
        logo=_logo(urlsplit(issuer).path, client.client_id, logo)
        if logo and not described_at and "rule.brands_logo" not in client.flags
        else "",
        opens=_opens(metadata.get("initiate_login_uri", ""), issuer),
    )


def likeness(client: Client) -> str:
    """What stands for everything that a person is shown of a client, and for whether it got more since.

    A form carries it in its proof, so that what was decided about one likeness is never taken for another's.
    """
    shown = (client.metadata, client.provenance, client.flags, client.admission, client.expanded_at)
    return hashlib.sha256(_encode(shown)).hexdigest()


_encode: Final = msgspec.json.Encoder(order="sorted").encode


def destination(uri: str) -> Destination | None:
    """Where an answer goes that is sent to a redirect URI."""
    judged = redirect_uri.judge(uri, "redirect_uri") if uri else None
    if not isinstance(judged, RedirectURI):
        return None
    where = judged.scheme if judged.kind is Kind.PRIVATE_USE else judged.host
    return Destination(judged.kind, where, judged.leads_to_one)


def _cautions_of_document(described_at: str, leads: Destination | None) -> list[str]:
    """What is odd about where a client is described: it is all that is known of who it is."""
    if not described_at:
        return []
    found = [_FOREIGN] if metadata_document.foreign_letters(described_at) else []
    elsewhere = leads is not None and leads.leads_to_one and leads.shown != described_at
    return [*found, _ELSEWHERE.format(host=described_at)] if elsewhere else found


def _logo(base: str, client_id: str, logo: Text) -> str:
    language = f"?language={quote(logo.language, safe='')}" if logo.language else ""
    return f"{base}/logo/{quote(client_id, safe='')}{language}"


def _opens(uri: str, issuer: str) -> str:
    return f"{uri}{'&' if '?' in uri else '?'}iss={quote(issuer, safe='')}" if uri else ""


def _attested(client: Client) -> list[Attested]:
    """Who vouches for which members: issuers of software statements, and the operator by policy or template."""
    by: dict[str, list[str]] = {}
    for member, origin in client.provenance.items():
        kind, _, name = origin.partition(":")
        voucher = name if kind == "attested" else "the operator of this service"
        by.setdefault(voucher, []).append(member.partition("#")[0])
    return [Attested(voucher, tuple(dict.fromkeys(members))) for voucher, members in by.items()]


def _has(metadata: Mapping[str, object], member: str) -> bool:
    return member in metadata or any(name.startswith(f"{member}#") for name in metadata)


def _registered_by(client: Client, viewer: str, owner: str) -> str:
    admission = client.admission
    if admission.assurance is Assurance.DOCUMENT:
        return f"nobody; a document at {grammar.host_of(client.client_id)} describes it"
    if admission.owner and admission.owner == viewer:
        return "you"
    if admission.assurance is Assurance.OPEN:
        return "itself; nobody was asked"
    if admission.assurance is Assurance.OPERATOR:
        return f"the operator of this service{_labelled(admission.label)}"
    if admission.assurance is Assurance.USER:
        return owner or admission.owner or "somebody with an account here"
    return f"itself, with a credential of its maker{_labelled(admission.label)}"


def _labelled(label: str) -> str:
    return f" ({label})" if label else ""
