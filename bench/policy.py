"""How long the judgement of a registration takes under each policy that ships, in microseconds a request.

python bench/policy.py            prints a table
python bench/policy.py --limit 100   exit status 1 where a policy takes longer than that

Two numbers each: the first time that a registration of its kind is seen, and every time after, when what the operators
decided is remembered by the values that they look at.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from registrar.domain.client import Assurance
from registrar.domain.metadata import Presented
from registrar.domain.server_metadata import OFFERED, Offered
from registrar.policy import Facts, Judge, Policy, all_of
from registrar.policy.loader import shipped

OFFERS: Final = Offered({**OFFERED, "scopes_supported": ("openid", "profile", "email", "accounts", "payments")})
FACTS: Final = Facts(Assurance.OPERATOR, token_id="t1", owner="ann")
BODY: Final[dict[str, Any]] = {
    "client_name": "Reader",
    "client_name#fr": "Lecteur",
    "redirect_uris": ["https://app.example/callback", "https://app.example/other?x=1"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "private_key_jwt",
    "token_endpoint_auth_signing_alg": "PS256",
    "application_type": "web",
    "contacts": ["ops@app.example"],
    "client_uri": "https://app.example/",
    "logo_uri": "https://app.example/logo",
    "tos_uri": "https://app.example/terms",
    "policy_uri": "https://app.example/privacy",
    "jwks_uri": "https://app.example/jwks",
    "scope": "openid profile accounts",
    "software_id": "app",
    "software_version": "1.0",
    "id_token_signed_response_alg": "PS256",
    "subject_type": "public",
}


def microseconds(call: Callable[[], object], times: int) -> float:
    """How long a call takes, by the quickest of five rounds."""
    rounds = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(times):
            call()
        rounds.append((time.perf_counter() - began) / times)
    return min(rounds) * 1e6


def measured(policy: Policy, times: int) -> tuple[float, float]:
    """The first time and every time after."""
    judge = Judge(policy, OFFERS)

    def judged() -> object:
        shaped, found = judge.read(Presented(dict(BODY)))
        return judge(shaped, FACTS, found)

    def anew() -> object:
        judge._outlines.clear()
        return judged()

    return microseconds(anew, times), microseconds(judged, times)


def main() -> int:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--times", type=int, default=2000)
    options.add_argument("--limit", type=float, default=0)
    chosen = options.parse_args()
    policies = [*shipped().values(), all_of([shipped()["mcp"], shipped()["self-registered"]])]
    slowest = 0.0
    sys.stdout.write(f"{'policy':40}{'first, µs':>12}{'after, µs':>12}\n")
    for policy in policies:
        first, after = measured(policy, chosen.times)
        slowest = max(slowest, first)
        sys.stdout.write(f"{policy.name:40}{first:12.1f}{after:12.1f}\n")
    return int(bool(chosen.limit) and slowest > chosen.limit)


if __name__ == "__main__":
    sys.exit(main())
