"""Templates: a client that instances refer to. An instance has its own identifier and credentials, and nothing else.

The metadata of an instance lies in its template alone and is put together with it at every read, so that a change of
the template is one row, and holds for every instance from the next request on.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from registrar.domain.client import Client, State
from registrar.domain.credentials import Credentials
from registrar.domain.metadata import Registered

KIND: Final = "template"
"""What templates are called among the items of a store."""


class TemplateState(enum.StrEnum):
    """Where a template is in its life."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    """Its instances are suspended, all at once, and nobody becomes a new one."""
    DELETED = "deleted"
    """Its instances are gone with it, and its name is never used again."""


class Template(msgspec.Struct, frozen=True, omit_defaults=True):
    """A template as it is stored, judged as a registration is."""

    issuer: str
    template_id: str
    version: int
    state: TemplateState
    metadata: Registered
    policy: str
    """The policies by which it was judged, and by which its instances are."""
    allowed: tuple[str, ...] = ()
    """The members that an instance may choose for itself; none by default."""
    description: str = ""
    origin: str = "operator"
    """Who wrote it: `operator`, or `configuration`."""
    withdrawn: bool = False
    """Whether it is disabled because the configuration has it no more; it is enabled again where that has it again."""
    created_at: int = 0
    updated_at: int = 0
    expanded_at: int = 0
    """When its instances last got more than they had."""

    def allows(self, member: str) -> bool:
        """Whether an instance may choose a member, or a translation of it, for itself."""
        return member.partition("#")[0] in self.allowed

    def public(self) -> ShownTemplate:
        """The template as operators see it."""
        return ShownTemplate(
            template_id=self.template_id,
            issuer=self.issuer,
            state=self.state,
            version=self.version,
            description=self.description,
            policy=self.policy,
            allowed=self.allowed,
            origin=self.origin,
            created_at=self.created_at,
            updated_at=self.updated_at,
            metadata=self.metadata,
        )


class ShownTemplate(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A template as operators see it. Times are in seconds since 1970."""

    template_id: str
    """Its name, which is never used again."""
    issuer: str
    """The configured name of the issuer."""
    state: TemplateState
    """Where it is in its life."""
    version: int
    """How often it was written."""
    description: str
    """What it is for, for people."""
    policy: str
    """The policies that judge it and its instances, with spaces between."""
    allowed: tuple[str, ...]
    """The members that an instance may choose for itself."""
    origin: str
    """Who wrote it: `operator`, or `configuration`."""
    created_at: int
    """When it was written first."""
    updated_at: int
    """When it was written last."""
    metadata: Registered
    """What its instances have."""


def compose(client: Client, template: Template | None) -> Client:
    """An instance as its template makes it now. One whose template is gone is gone too."""
    if template is None or template.state is TemplateState.DELETED:
        return msgspec.structs.replace(client, state=State.DELETED, credentials=Credentials())
    own = {name: value for name, value in client.metadata.items() if template.allows(name)}
    said = {name: origin for name, origin in client.provenance.items() if template.allows(name)}
    return msgspec.structs.replace(
        client,
        # What the template allows no more is not registered any more, though it lies in the record.
        metadata=Registered({**template.metadata, **own}),
        provenance={**dict.fromkeys(template.metadata.keys() - own.keys(), "template"), **said},
        policy=template.policy,
        expanded_at=max(client.expanded_at, template.expanded_at),
        suspended_by_template=template.state is TemplateState.DISABLED,
    )


def alone(client: Client) -> Client:
    """An instance without what it has from its template: what is stored of it."""
    return msgspec.structs.replace(
        client,
        metadata=Registered({name: value for name, value in client.metadata.items() if name in client.own}),
        provenance={name: origin for name, origin in client.provenance.items() if name in client.own},
        suspended_by_template=False,
    )
