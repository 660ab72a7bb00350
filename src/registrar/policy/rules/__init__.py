"""Rules: what operators cannot say, because it is about several members at once or about who registers.

A rule is one function from the members and the facts to findings, entered in `RULE_FUNCTIONS` under its name; its
keyword arguments are what a policy may set. Rules see the result of the operators, and may only refuse, warn and take
away.

- `addresses`: where redirect URIs and other URLs of a client may lead.
- `members`: what a member, or a key in one, has to look like.
- `capabilities`: which grants, scopes and ways of authenticating go together, and how much whoever registers may have.
- `origin`: where a registration comes from.
- `identity`: who a client says that it is, where that cannot be so.
- `ecosystems`: what regulated ecosystems ask of members, certificates and statements together.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from registrar.policy.rules import addresses, capabilities, ecosystems, identity, members, origin
from registrar.policy.rules.applied import AppliedRule, Metadata, RuleFunction

__all__ = ["RULE_FUNCTIONS", "AppliedRule", "Metadata", "RuleFunction"]

RULE_FUNCTIONS: Final[Mapping[str, RuleFunction]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            addresses.same_host,
            addresses.one_host,
            addresses.localhost,
            addresses.redirect_hosts,
            addresses.denied_hosts,
            addresses.redirect_kinds,
            addresses.private_use_schemes,
            addresses.application_type,
            members.matches,
            members.maximum,
            members.email_contacts,
            members.prefer_jwks_uri,
            members.keys,
            members.published_keys,
            capabilities.ceiling,
            capabilities.refresh_requires_confidential,
            capabilities.separate_grants,
            capabilities.same_client_type,
            origin.statement_from,
            origin.token_bound,
            origin.attested,
            origin.single_instance,
            identity.lookalike,
            identity.mixed_scripts,
            identity.brands,
            identity.software_hosts,
            ecosystems.absent,
            ecosystems.https_redirects,
            ecosystems.sender_constrained,
            ecosystems.certificate_attests,
            ecosystems.subject_of_certificate,
            ecosystems.exactly_one,
            ecosystems.holds_with,
            ecosystems.statement_holds,
            ecosystems.only_with,
            ecosystems.needed_with,
            ecosystems.longest,
        )
    }
)
"""Every rule that a policy may name."""
