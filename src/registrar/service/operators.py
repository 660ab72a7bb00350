"""Who acts by their own word, and what no act of theirs may ask for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from registrar.domain.events import Actor
from registrar.service.registry import Issuer

LARGEST: Final = 10**10
"""The most seconds or uses that may be named: three centuries, and far below what a store can hold."""
REASON: Final = 500
"""Characters of a reason at the most: it goes into an event, which is kept for good and sent to every webhook."""
NONE_YET: Final = {"scope": ""}
"""What a client has that is none yet: no scope, and not whatever there is."""
_LABEL: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,126}[\x21-\x7e])?")
"""Visible ASCII of at most 128 characters: what looks the same is the same."""


class Refused(Exception):  # noqa: N818 (an answer to an operator)
    """An act that makes no sense for the state of things; the message says why."""


class Unknown(Refused):
    """An act on something that does not exist."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts, and by which door."""

    person: str
    door: str
    token_id: str = ""
    """The operator's token, where one was presented; the others are on the machine itself."""
    address: str = ""
    ceiling: tuple[str, ...] = ()
    """The scopes that this token lets be registered at the most; none is no ceiling."""

    def actor(self) -> Actor:
        """The operator as the audit names one."""
        known_by = "operator_token" if self.token_id else "local"
        return Actor("operator", known_by, self.token_id, self.person, self.address)


def check_reason(reason: str, what: str = "reason") -> None:
    """Refuse a reason that no event should hold.

    Args:
        reason: as somebody gave it.
        what: what it is called, where it is another such text.

    Raises:
        Refused: it is too long, or no text: what a shell passes on may be any bytes.
    """
    if len(reason) > REASON:
        raise Refused(f"a {what} has {REASON} characters at the most, and this one has {len(reason)}")
    if any("\ud800" <= one <= "\udfff" for one in reason):
        raise Refused(f"a {what} is text, and this one is not UTF-8")


def check_overlap(overlap: int | None) -> None:
    """Refuse an overlap that no store could hold the end of.

    Raises:
        Refused: it is negative or too long.
    """
    if overlap is not None and not 0 <= overlap <= LARGEST:
        raise Refused(f"an overlap is a number of seconds from 0 to {LARGEST}")


def check_labels(issuer: Issuer, *given: Mapping[str, str]) -> None:
    """Refuse labels that there are not.

    Raises:
        Refused: saying which, and what there is.
    """
    known = issuer.settings.labels.names
    for name, value in (pair for one in given for pair in one.items()):
        if name not in known:
            raise Refused(f"there is no label {name}; these are: {', '.join(known)}")
        if not _LABEL.fullmatch(value):
            raise Refused(f"the label {name} has 1 to 128 visible ASCII characters")


def check_ceiling(operator: Operator, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Refuse to give a client scopes that the operator's token does not let be registered; what it has it may keep.

    Raises:
        Refused: naming them.
    """
    if not operator.ceiling or before.get("scope") == after.get("scope"):
        return
    had, has = (set(one.get("scope", "").split()) for one in (before, after))
    if not has:
        raise Refused("the token registers certain scopes alone, and without any, every scope could be asked for")
    if more := sorted(has - had - {*operator.ceiling}):
        raise Refused(f"the token has not {more[0]}, and gives away no more than it has")
