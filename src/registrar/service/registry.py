"""The issuers in force: settings, policies and what is offered, bound together once at start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from registrar.domain import metadata_document, server_metadata
from registrar.domain.access_token import SCOPE
from registrar.domain.client import Client
from registrar.domain.credentials import KeyEncryptionKeys
from registrar.domain.server_metadata import OFFERED, Offered
from registrar.domain.settings import Issuer as IssuerSettings
from registrar.domain.settings import Mode, StatementIssuer
from registrar.policy import Judge, Policy, all_of, narrowed
from registrar.policy.classes import ClientClass
from registrar.policy.evidence import ManagementProof
from registrar.policy.rules.applied import Hosts
from registrar.service.attempts import Attempts
from registrar.service.audit import Audit
from registrar.service.errands import Errands
from registrar.service.key_sets import KeySets
from registrar.service.known_software import KnownSoftware
from registrar.service.last_use import LastUse
from registrar.service.metrics import Metrics
from registrar.service.opened_keys import OpenedKeys
from registrar.service.outbox import Webhooks
from registrar.service.pictures import Pictures
from registrar.service.ports import Clock, Entropy, Fetch, Store
from registrar.service.refusals import Refusals
from registrar.service.tracing import Tracer
from registrar.service.turns import Turns
from registrar.service.windows import OwnWindows, Windows

_JUDGES: Final = 256
"""Judges that an issuer keeps ready at the most."""


Attest = Callable[[str], bool | Awaitable[bool]]
"""Whether an attestation is believed; a function of the operator's own."""


class Issuer:
    """One authorization server identity, ready to be used.

    Args:
        settings: what the operator configured.
        policies: every policy that is configured or shipped, by name.
        statement_issuers: whose software statements are believed here.
        certificate_authorities: whose client certificates (DER) count as evidence here.
        classes: the classes of clients that may register here; without any they are not told apart.
        attest: the operator's function that judges attestations.
    """

    def __init__(
        self,
        settings: IssuerSettings,
        policies: Mapping[str, Policy],
        statement_issuers: Sequence[StatementIssuer] = (),
        certificate_authorities: Sequence[bytes] = (),
        classes: Sequence[ClientClass] = (),
        attest: Attest | None = None,
    ) -> None:
        self.settings = settings
        self.name = settings.name
        self.url = settings.url
        self.modes = frozenset(settings.registration.mode)
        self.offered = Offered(
            {
                **OFFERED,
                "scopes_supported": registrable_scopes(settings),
                "authorization_details_types_supported": settings.authorization.authorization_details_types,
                "acr_values_supported": settings.acr_values,
            }
        )
        self.registration_endpoint = server_metadata.endpoint_url(settings.url, settings.registration.path)
        self.statement_issuers = tuple(statement_issuers)
        self.certificate_authorities = tuple(certificate_authorities)
        self.classes = tuple(classes)
        self.attest = attest
        self.policies = policies
        self._judges: dict[str, Judge] = {}
        self.policy = policies[settings.registration.policy]
        self.documents = (
            Judge(
                policies[settings.metadata_documents.policy],
                metadata_document.offered(self.offered),
                settings.scopes.default,
            )
            if settings.metadata_documents.enabled
            else None
        )
        """The judge of Client ID Metadata Documents; None where no such clients are served."""
        self.document_hosts = Hosts.from_words(settings.metadata_documents.hosts)
        registration = settings.registration
        self.enabled = bool(self.modes)
        """Whether anybody may register."""
        self.open = Mode.OPEN in self.modes
        """Whether a registration needs no token."""
        self.managed = registration.management and (self.enabled or registration.management_when_disabled)
        """Whether the configuration endpoint exists (RFC 7592)."""

    def believes(self, host: str) -> bool:
        """Whether Client ID Metadata Documents of a host are believed here."""
        return not self.document_hosts or host in self.document_hosts

    def judge(self, policy: str) -> Judge | None:
        """The judge of a policy, or of several with spaces between; None where one of them is configured no more.

        Raises:
            Contradiction: nothing could satisfy them all.
        """
        if (judge := self._judges.get(policy)) is None:
            names = policy.split()
            if not names or not all(name in self.policies for name in names):
                return None
            whole = all_of([self.policies[name] for name in names])
            if len(self._judges) >= _JUDGES:  # tokens name few combinations; a token for each would be a mistake
                self._judges.clear()
            judge = self._judges[policy] = Judge(whole, self.offered, self.settings.scopes.default)
        return judge

    def judge_of_operators(self, policy: Policy) -> Judge:
        """The judge of what an operator registers: any scope of the catalogue, the operators' and `dcr` too."""
        scopes = self.settings.scopes
        every = tuple(dict.fromkeys((*scopes.catalogue, *scopes.operator, SCOPE)))
        return Judge(policy, Offered({**self.offered, "scopes_supported": every}), scopes.default)

    def with_policy(self, policy: Policy) -> Issuer:
        """This issuer, if it had one more policy; to try it out."""
        policies = {**self.policies, policy.name: policy}
        return Issuer(
            self.settings, policies, self.statement_issuers, self.certificate_authorities, self.classes, self.attest
        )

    def registration_client_uri(self, client: Client) -> str:
        """Where a client manages its registration; empty where management is off (RFC 7592 §3).

        Where its policy wants a certificate for that, it is where certificates are asked for.
        """
        if not self.managed:
            return ""
        judge = self.judge(client.policy) if self.settings.mutual_tls_url else None
        if judge is not None and ManagementProof.CERTIFICATE in judge.policy.management.proofs:
            endpoint = server_metadata.endpoint_url(self.settings.mutual_tls_url, self.settings.registration.path)
            return f"{endpoint}/{client.client_id}"
        return f"{self.registration_endpoint}/{client.client_id}"

    def metadata(self) -> dict[str, Any]:
        """The discovery document: what is offered, narrowed to what the policy in force can let through."""
        return server_metadata.document(
            self.url,
            narrowed(self.offered, [self.policy, *([self.documents.policy] if self.documents else [])]),
            registration_endpoint=self.registration_endpoint if self.enabled else "",
            pages={
                "service_documentation": self.settings.documentation,
                "op_policy_uri": self.settings.policy_page,
                "op_tos_uri": self.settings.terms_page,
            },
            mutual_tls_url=self.settings.mutual_tls_url,
            metadata_documents=self.documents is not None,
        )


def registrable_scopes(settings: IssuerSettings) -> tuple[str, ...]:
    """The scopes that a registration may hold, in the order of the catalogue; never `dcr`, never an operator's."""
    scopes = settings.scopes
    withheld = {SCOPE, *scopes.operator}
    return tuple(scope for scope in scopes.registrable or scopes.catalogue if scope not in withheld)


@dataclass(frozen=True, slots=True)
class Registry:
    """What every use case is given: the store, the time, randomness, keys, the issuers by name, the audit, and the way out.

    What this process counts and remembers by itself comes last.
    """

    store: Store
    clock: Clock
    entropy: Entropy
    keys: KeyEncryptionKeys
    issuers: Mapping[str, Issuer]
    audit: Audit
    fetch: Fetch
    key_sets: KeySets
    webhooks: Webhooks = field(default_factory=Webhooks)
    opened: OpenedKeys = field(default_factory=OpenedKeys)
    attempts: Attempts = field(default_factory=Attempts)
    windows: Windows = field(default_factory=OwnWindows)
    turns: Turns = field(default_factory=Turns)
    tallies: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Issuer -> how many clients live, and when that was read; where they are counted."""
    caps: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """Issuer and cap, where this process has counted its clients -> the version of its item from which on they are numbered, and
    how many they are at the most."""
    software: KnownSoftware = field(default_factory=KnownSoftware)
    last_use: LastUse = field(default_factory=LastUse)
    errands: Errands = field(default_factory=Errands)
    pictures: Pictures = field(default_factory=Pictures)
    refusals: Refusals = field(default_factory=Refusals)
    fetch_documents: Fetch | None = None
    """The guarded way to documents of clients, apart from every other: whoever names slow ones must not keep a key set from
    being fetched. None where it is `fetch`."""
    metrics: Metrics | None = None
    """What is counted; None where nobody asks for it."""
    tracer: Tracer | None = None
    """What times the steps of a request; None where nobody asks for it."""

    def issuer_at(self, url: str) -> Issuer | None:
        """The issuer of this registry that has a URL; None where it is somebody else's."""
        return next((issuer for issuer in self.issuers.values() if issuer.url == url), None)
