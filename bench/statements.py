"""What a verified software statement costs: registrations with one beside plain ones, in one run, over the whole road.

Each request goes through the application and is durable in SQLite when it is answered. Every statement is another one
(PS256, its `jti` used once), so none was verified before; the keys of its issuer are kept. The turns alternate, and
what is counted is the processor time of this process, client included, so that whatever else the machine does weighs on
neither.
"""

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path

from results import scratch

from registrar.testing import FrozenClock, Served, served
from registrar.testing.directory import Directory

COUNT, TURNS, AT_ONCE = 1_000, 7, 64
AIM = 0.5
"""Of the rate of plain registrations."""

MEMBERS = {
    "client_name": "Example Agent",
    "redirect_uris": ["https://agent.example.com/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
    "token_endpoint_auth_method": "none",
    "scope": "openid offline_access",
}
ATTESTED = {"client_name": "Example Agent", "software_id": "agent", "client_uri": "https://agent.example.com/"}


async def rate(server: Served, bodies: list[bytes]) -> float:
    """Registrations a second of this process's time, so many at once as a commit takes together."""
    turns = iter(bodies)

    async def work() -> None:
        for body in turns:
            answer = await server.client.post("/register", content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 201, answer.text

    began = time.process_time()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return len(bodies) / (time.process_time() - began)


async def main(count: int, turns: int) -> float:
    """The ratio of the rates, turn by turn, in the middle."""
    directory = Directory(clock=FrozenClock())
    plain = [json.dumps(MEMBERS).encode()] * count
    with scratch() as folder:
        text = f"""
            [server]
            database = "sqlite:///{Path(folder)}/registrar.db"
            [statement_issuer.directory]
            issuer = "{directory.url}"
            jwks_uri = "{directory.jwks_uri}"
            [statement_issuer.directory.statement]
            algorithms = ["PS256"]
            replay_window = 600
            [issuer.main]
            url = "http://127.0.0.1:8000"
            [issuer.main.registration]
            mode = "open"
            statement_issuers = ["directory"]
        """
        clock = directory.clock
        assert isinstance(clock, FrozenClock)
        async with served(text, clock=clock, fetch=directory.documents) as server:
            await rate(server, plain[:100])
            ratios = []
            for _ in range(turns):
                stated = [
                    json.dumps({**MEMBERS, "software_statement": directory.statement(**ATTESTED)}).encode()
                    for _ in range(count)
                ]
                without, with_one = await rate(server, plain), await rate(server, stated)
                ratios.append(with_one / without)
                print(f"{without:8,.0f} plain/s {with_one:8,.0f} with a statement/s   {ratios[-1]:.2f}")
    return statistics.median(ratios)


if __name__ == "__main__":
    quick = "--quick" in sys.argv
    found = asyncio.run(main(200 if quick else COUNT, 3 if quick else TURNS))
    print(f"a registration with a verified statement has {found:.2f} of a plain one's rate; the aim is {AIM}")
    sys.exit(found < AIM)
