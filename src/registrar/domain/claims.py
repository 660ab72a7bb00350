"""Claims about a person (OpenID Connect Core §5): which ones a scope or the parameter `claims` asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

OPENID: Final = "openid"
"""The scope that makes an authorization request one of OpenID Connect (§3.1.2.1)."""

OF_SCOPE: Final[Mapping[str, tuple[str, ...]]] = {
    "profile": (
        "name",
        "family_name",
        "given_name",
        "middle_name",
        "nickname",
        "preferred_username",
        "profile",
        "picture",
        "website",
        "gender",
        "birthdate",
        "zoneinfo",
        "locale",
        "updated_at",
    ),
    "email": ("email", "email_verified"),
    "address": ("address",),
    "phone": ("phone_number", "phone_number_verified"),
}
"""Scope -> the claims that it asks for (OpenID Connect Core §5.4)."""

ABOUT_PEOPLE: Final = tuple(name for names in OF_SCOPE.values() for name in names)


def of_scopes(scope: Iterable[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """What scopes ask for, as far as it is known; in every language in which it is known (§5.2)."""
    wanted = {name for word in scope for name in OF_SCOPE.get(word, ())}
    return {name: value for name, value in known.items() if name.partition("#")[0] in wanted}


def requested(parameter: Mapping[str, Any] | None, place: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """What the parameter `claims` asks for in a place, as far as it is known (§5.5).

    Whether a claim is essential makes no difference to what is told: nothing is made up, and what is lacking is no
    error (§5.5.1). Where a value is asked for, another one is not told.

    Args:
        parameter: the parameter, parsed.
        place: `userinfo` or `id_token`.
        known: the claims about the person.
    """
    section = (parameter or {}).get(place)
    if not isinstance(section, dict):
        return {}
    return {
        name: known[name]
        for name, request in section.items()
        if name in known and name.partition("#")[0] in ABOUT_PEOPLE and _accepts(request, known[name])
    }


def _accepts(request: Any, value: Any) -> bool:
    if not isinstance(request, dict):
        return True
    if "value" in request:
        return bool(request["value"] == value)
    values = request.get("values")
    return value in values if isinstance(values, list) else True
