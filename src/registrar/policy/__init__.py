"""May this client be? Pure: values in, a decision out.

A policy is data: OpenID Federation's operators for each member, named rules for what operators cannot say, and what a
registration and its management have to come with. Every registration and every update is judged as a whole and by the
same call, whoever asks: an endpoint, an operator who tries a policy out, or a test.

- `operators`, `rules`, `evidence`: what a policy is made of.
- `policy`: a policy as a value, and what several of them are together.
- `judge`: a policy in force, and the decision.
- `loader`: policies from TOML, strictly; `profiles/` has those that ship.
"""

from __future__ import annotations

from registrar.policy.evidence import Facts
from registrar.policy.judge import Decision, Judge, narrowed
from registrar.policy.policy import Contradiction, Policy, all_of

__all__ = ["Contradiction", "Decision", "Facts", "Judge", "Policy", "all_of", "narrowed"]
