"""People's passwords: Argon2id (RFC 9106), on a few threads of their own, so that neither guessing nor signing in starves the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from registrar.domain.errors import ProtocolError

LONGEST: Final = 512
"""Characters of a password at the most; a longer one is nobody's."""
_THREADS: Final = 2
_WAITING: Final = 32
"""Hashes that may be asked for at once; each costs 64 MiB and a good part of a second of a processor."""

_Result = TypeVar("_Result")

_hasher: Final = PasswordHasher()
_threads: Final = ThreadPoolExecutor(_THREADS, thread_name_prefix="argon2")
_asked = asyncio.Semaphore(_WAITING)
# Of no password; it makes the sign-in of nobody take as long as that of somebody.
_NOBODY: Final = "$argon2id$v=19$m=65536,t=3,p=4$MDEyMzQ1Njc4OWFiY2RlZg$CxJqfVpYL+kHrwKukwr9Q1KSyrmIipnQiWW47qrMZZU"


async def hashed(password: str) -> str:
    """The hash of a new password, with its salt and parameters.

    Raises:
        ProtocolError: `temporarily_unavailable`; too many are asked for at once.
    """
    return await _in_a_thread(_hasher.hash, password)


async def matches(encoded: str, password: str) -> bool:
    """Whether a password is the one of a hash; where there is no hash, it takes as long to say no.

    Raises:
        ProtocolError: `temporarily_unavailable`; too many are asked for at once.
    """
    return await _in_a_thread(_verified, encoded or _NOBODY, password[:LONGEST]) and len(password) <= LONGEST


def _verified(encoded: str, password: str) -> bool:
    try:
        return _hasher.verify(encoded, password)
    except (Argon2Error, InvalidHashError):
        return False


async def _in_a_thread(work: Callable[..., _Result], *given: str) -> _Result:
    if _asked.locked():
        raise ProtocolError("temporarily_unavailable", "Too many people sign in at this moment; try again shortly.")
    async with _asked:
        return await asyncio.get_running_loop().run_in_executor(_threads, work, *given)
