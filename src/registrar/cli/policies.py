"""`registrar policy`: look at policies, try them out, compare them, and see what they would do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
import msgspec

from registrar.cli.commands import common, configured, main
from registrar.cli.render import Failure, Output

if TYPE_CHECKING:
    from registrar.config import Configuration
    from registrar.domain.metadata import Presented, SignedRequest
    from registrar.policy import Policy
    from registrar.service.explanation import Explanation, Impact, Supposed

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@main.group()
def policy() -> None:
    """Policies: what a registration may be, tried out before it is in force."""


def _request(request: IO[bytes] | None) -> Presented | SignedRequest:
    """A request from a file: a JSON object, or a JWT; none is an empty object."""
    from registrar.domain.metadata import Presented, SignedRequest

    if request is None:
        return Presented({})
    text = request.read()
    if text[:1].isalnum():
        return SignedRequest(text.decode("ascii", "replace").strip())
    try:
        members = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise click.UsageError(f"the request is not JSON: {problem}") from None
    if not isinstance(members, dict):
        raise click.UsageError("the request is not a JSON object")
    return Presented(members)


def _read(path: Path, configuration: Configuration) -> dict[str, Policy]:
    from registrar.config import ConfigurationError, read_policies

    try:
        return read_policies(path, configuration)
    except ConfigurationError as problem:
        raise Failure(str(problem)) from None


def _named(name: str, configuration: Configuration) -> Policy:
    """A policy by its name, several by their names, or the one in a file."""
    from registrar.policy import Contradiction, all_of

    if name.endswith(".toml"):
        return _only(name, _read(Path(name), configuration))
    names = name.replace(",", " ").split() or [name]
    for each in names:
        if each not in configuration.policies:
            known = ", ".join(sorted(configuration.policies))
            raise Failure(f"there is no policy {each}; these are: {known}")
    try:
        return all_of([configuration.policies[one] for one in names])
    except Contradiction as problem:
        raise Failure(str(problem)) from None


def _only(path: str, found: dict[str, Policy], name: str = "") -> Policy:
    if name and name in found:
        return found[name]
    if len(found) != 1:
        raise Failure(f"{path} has the policies {', '.join(found) or 'none'}; say which with --policy")
    return next(iter(found.values()))


@policy.command("list")
@common
def list_policies(config: Path | None, dev: bool, issuer: str, as_json: bool) -> None:
    """List policies, those that ship and those of the configuration."""
    from registrar.policy.loader import shipped

    configuration = configured(config, dev=dev)
    issuers = configuration.settings.issuer
    rows = [
        {
            "policy": name,
            "from": "shipped" if name in shipped() else "configuration",
            "of": ", ".join(one.name for one in issuers.values() if one.registration.policy == name),
            "description": found.description,
        }
        for name, found in sorted(configuration.policies.items())
        if not issuer or (issuer in issuers and issuers[issuer].registration.policy == name)
    ]
    Output(as_json).table(rows, ("policy", "from", "of", "description"), prose=("description",))


@policy.command("show")
@common
@click.argument("name")
def show_policy(config: Path | None, dev: bool, issuer: str, as_json: bool, name: str) -> None:
    """Show what the policy NAME says, with everything that it extends."""
    from registrar.policy.comparison import told

    del issuer
    Output(as_json).record(told(_named(name, configured(config, dev=dev))))


@policy.command("check")
@click.option("--config", type=_FILE, help="The configuration whose policies and rules it may refer to.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("file", type=_FILE)
def check_policy(config: Path | None, as_json: bool, file: Path) -> None:
    """Load FILE as strictly as a server does: a policy by itself, or a configuration with [policy.NAME] tables."""
    found = _read(file, configured(config))
    rows = [{"policy": one.name, "digest": one.digest, "description": one.description} for one in found.values()]
    output = Output(as_json)
    output.table(rows, ("policy", "digest", "description"))
    output.say(f"{file} is in order.")


@policy.command("explain")
@common
@click.argument("name")
@click.argument("request", type=click.File("rb"), required=False)
@click.option(
    "--assurance",
    type=click.Choice(["open", "client", "user", "statement", "certificate", "operator"]),
    default="open",
    show_default=True,
    help="What is supposed to be known of the caller.",
)
@click.option("--token-scope", default="", help="The scopes that its initial access token allows to be registered.")
@click.option("--class", "client_class", default="", help="The class that it is supposed to be of.")
@click.option("--owner", default="", help="Who answers for it.")
def explain_policy(
    config: Path | None,
    dev: bool,
    issuer: str,
    as_json: bool,
    name: str,
    request: IO[bytes] | None,
    assurance: str,
    token_scope: str,
    client_class: str,
    owner: str,
) -> None:
    """Tell what would become of REQUEST, a file with a JSON object or a JWT, under the policy NAME, and why.

    Nothing is stored. The decision is the one that a registration would get.
    """
    from registrar.cli import operating
    from registrar.domain.client import Assurance
    from registrar.service.explanation import Supposed, explain

    body = _request(request)
    supposed = Supposed(Assurance(assurance), tuple(token_scope.split()), client_class, owner)

    async def act(desk: operating.Desk) -> None:
        _tell(Output(as_json), await explain(desk.registry, desk.issuer, name.replace(",", " "), body, supposed))

    operating.run(configured(config, dev=dev), issuer, act)


def _tell(output: Output, explanation: Explanation) -> None:
    if output.as_json:
        output.dump(explanation)
        return
    output.say("Refused." if explanation.refused else "It would be registered.")
    if explanation.held:
        output.say(f"It would wait for review: {explanation.held}.")
    if explanation.findings:
        output.table(
            [_finding_row(one) for one in msgspec.to_builtins(explanation.findings)],
            ("verdict", "member", "rule", "before", "after", "reason", "accepted"),
            prose=("reason", "accepted"),
        )
    if explanation.members:
        rows = [
            {"member": one.member, "value": one.value, "from": one.origin, "by": one.rule}
            for one in explanation.members
        ]
        output.table(rows, ("member", "value", "from", "by"))


def _finding_row(finding: dict[str, Any]) -> dict[str, Any]:
    return {"before": "nothing" if finding["verdict"] == "changed" else "", **finding}


@policy.command("diff")
@common
@click.argument("one")
@click.argument("other")
@click.argument("request", type=click.File("rb"), required=False)
def diff_policies(
    config: Path | None, dev: bool, issuer: str, as_json: bool, one: str, other: str, request: IO[bytes] | None
) -> None:
    """Tell how two policies differ, member by member, and on REQUEST where one is given.

    A policy is a name, or a .toml file.
    """
    from registrar.policy.comparison import differences
    from registrar.service.explanation import Supposed

    configuration = configured(config, dev=dev)
    policies = _named(one, configuration), _named(other, configuration)
    rows = [{"where": found.where, "one": found.one, "other": found.other} for found in differences(*policies)]
    output = Output(as_json)
    outcomes: list[dict[str, Any]] = []
    if request is not None:
        outcomes = _on_request(configuration, issuer, policies, _request(request), Supposed())
    if as_json:
        output.dump({"differences": rows, **({"request": outcomes} if request is not None else {})})
        return
    output.table(
        [{**row, "one": _said(row["one"]), "other": _said(row["other"])} for row in rows], ("where", "one", "other")
    )
    if request is not None:
        output.say("What is registered of the request:")
        output.table(
            [{**row, "one": _said(row["one"]), "other": _said(row["other"])} for row in outcomes],
            ("where", "one", "other"),
        )


def _said(value: Any) -> Any:
    return "nothing" if value is None else value


def _on_request(
    configuration: Configuration,
    issuer: str,
    policies: tuple[Policy, Policy],
    body: Presented | SignedRequest,
    supposed: Supposed,
) -> list[dict[str, Any]]:
    from registrar.cli import operating
    from registrar.service.explanation import explain

    found: list[Explanation] = []

    async def act(desk: operating.Desk) -> None:
        for one in policies:
            trial = desk.issuer.with_policy(one)
            found.append(await explain(desk.registry, trial, one.name, body, supposed))

    operating.run(configuration, issuer, act)
    one, other = found
    rows: list[dict[str, Any]] = []
    if one.refused != other.refused or one.error != other.error:
        rows.append({"where": "outcome", "one": one.error or "registered", "other": other.error or "registered"})
    for name in dict.fromkeys((*(one.metadata or {}), *(other.metadata or {}))):
        values = [(each.metadata or {}).get(name) for each in found]
        if values[0] != values[1] and not (one.refused or other.refused):
            rows.append({"where": name, "one": values[0], "other": values[1]})
    for each, key in ((one, "one"), (other, "other")):
        rows += [
            {"where": fault.member, "one": None, "other": None, key: f"refused: {fault.reason}"}
            for fault in each.findings
            if each.refused and fault.error and fault.verdict == "refused"
        ]
    return rows


@policy.command("impact")
@common
@click.argument("file", type=_FILE)
@click.option("--policy", "name", default="", help="Only clients that this policy judges; all of the issuer otherwise.")
@click.option("--show", "most", type=click.IntRange(min=0), default=20, show_default=True, help="Clients to show.")
def impact_of_policy(
    config: Path | None, dev: bool, issuer: str, as_json: bool, file: Path, name: str, most: int
) -> None:
    """Tell which registered clients would be refused or changed under the policy in FILE, and why.

    With --json, a line for each client concerned and one with the sums.
    """
    from registrar.cli import operating
    from registrar.policy import Judge
    from registrar.service.explanation import impact
    from registrar.service.ports import ClientQuery

    configuration = configured(config, dev=dev)
    tried = _only(str(file), _read(file, configuration), name)
    output = Output(as_json)

    async def act(desk: operating.Desk) -> None:
        here = desk.issuer
        judge = Judge(tried, here.offered, here.settings.scopes.default)
        total = await desk.registry.store.count(ClientQuery(here.name))
        outcomes: Counter[str] = Counter()
        rules: Counter[tuple[str, str, str]] = Counter()
        shown: list[dict[str, Any]] = []
        async for one in _with_progress(impact(desk.registry, here, judge, name), total, visible=not as_json):
            outcomes[one.outcome] += 1
            if one.outcome == "same":
                continue
            rules.update((one.outcome, finding.member, finding.rule) for finding in one.findings)
            if as_json:
                output.dump(one.public(), indent=None)
            elif len(shown) < most:
                shown.append(_impact_row(one))
        sums = {outcome: outcomes[outcome] for outcome in ("same", "changed", "refused")}
        if as_json:
            output.dump({"policy": tried.name, "digest": tried.digest, **sums}, indent=None)
            return
        output.say(", ".join(f"{count} {outcome}" for outcome, count in sums.items()))
        if rules:
            rows = [
                {"outcome": outcome, "member": member, "rule": rule, "clients": count}
                for (outcome, member, rule), count in rules.most_common()
            ]
            output.table(rows, ("outcome", "member", "rule", "clients"))
            output.table(shown, ("client_id", "outcome", "why"), prose=("why",))

    operating.run(configuration, issuer, act)


def _impact_row(one: Impact) -> dict[str, Any]:
    return {
        "client_id": one.client_id,
        "outcome": one.outcome,
        "why": "; ".join(f"{finding.member}: {finding.reason}" for finding in one.findings)
        or ", ".join(one.difference),
    }


async def _with_progress(found: AsyncIterator[Impact], total: int, *, visible: bool) -> AsyncIterator[Impact]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not (visible and console.is_terminal)) as progress:
        task = progress.add_task("clients", total=total)
        counted = 0
        async for one in found:
            yield one
            counted += 1
            if counted % 1000 == 0:  # a step for each would cost more than the judging
                progress.update(task, completed=counted)
