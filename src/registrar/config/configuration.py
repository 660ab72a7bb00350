"""Settings and policies that have been checked against each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from registrar.domain import uri as grammar
from registrar.domain.redirect_uri import LOOPBACK_HOSTS
from registrar.domain.settings import Settings
from registrar.policy import Policy, classes
from registrar.policy.classes import ClientClass
from registrar.policy.rules import RULE_FUNCTIONS, RuleFunction
from registrar.storage import sqlite_path


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings and policies that have been checked against each other."""

    settings: Settings
    policies: Mapping[str, Policy]
    functions: Mapping[str, RuleFunction] = dataclasses.field(default_factory=lambda: RULE_FUNCTIONS)
    """The rules that a policy may name."""
    classes: Mapping[str, ClientClass] = dataclasses.field(default_factory=classes.shipped)
    """The classes of clients that an issuer may choose."""

    @property
    def loopback(self) -> bool:
        """Whether every issuer lives on this machine, which is what development means here."""
        return all(_is_loopback(issuer.url) for issuer in self.settings.issuer.values())

    @property
    def key_file(self) -> Path | None:
        """The file of the key-encryption keys: as configured, or beside the database."""
        if self.settings.server.key_file:
            return Path(self.settings.server.key_file)
        database = sqlite_path(self.settings.server.database)
        return database.with_name("registrar.key") if database else None


def _is_loopback(url: str) -> bool:
    return grammar.host_of(url) in LOOPBACK_HOSTS
