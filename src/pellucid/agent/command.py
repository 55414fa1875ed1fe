"""`pellucid agent`: answer the pellucid of other machines; and the list of agents that this machine knows."""

import os
import sys
import time
from collections.abc import Mapping
from typing import Final

import click

from pellucid.agent.protocol import PORT
from pellucid.inert import inert
from pellucid.model.errors import PellucidError, UsageError

_DAY_S: Final = 86_400


@click.group(invoke_without_command=True)
@click.option(
    "--listen",
    metavar="ADDRESS[:PORT]",
    default=f"127.0.0.1:{PORT}",
    show_default=True,
    help="Where to listen; 0.0.0.0 is every address of this machine.",
)
@click.option(
    "--allow",
    multiple=True,
    type=click.Choice(["contents", "pause"]),
    help="Also what shows the contents of processes, or what pauses them. May be repeated.",
)
@click.option("--token-file", metavar="FILE", help="The token that clients must know; made when there is none.")
@click.option("--certificate", metavar="FILE", help="A certificate of yours (PEM) in place of the self-made one.")
@click.option("--key", metavar="FILE", help="The private key of that certificate (PEM).")
@click.option("--renew", is_flag=True, help="Make a new key and certificate first.")
@click.pass_context
def command(
    ctx: click.Context,
    listen: str,
    allow: tuple[str, ...],
    token_file: str | None,
    certificate: str | None,
    key: str | None,
    renew: bool,
) -> int:
    """Answer the pellucid of other machines, by TLS, to those who know the token.

    It runs the commands that look (why, ps, stacks, waits, files, ...) and nothing else: it starts nothing of the client's, and reads and
    writes no file for it. Run it as the user whose processes are to be seen. Elsewhere: `pellucid agent add NAME ADDRESS`, then
    `pellucid why PID --host NAME`.
    """
    if ctx.invoked_subcommand:
        return 0
    import asyncio
    import socket

    from pellucid import home
    from pellucid.agent import hosts, identity, tokens

    address, port = hosts.placed(listen)
    now = time.time()
    if bool(certificate) != bool(key):
        raise UsageError(
            tried="use a certificate of yours",
            said="it needs both --certificate and --key",
            remedy="give both, or neither",
        )
    shown = identity.read(str(key), certificate) if certificate else identity.made(home.agent(), now, renewed=renew)
    if shown.ends_at <= now:
        raise UsageError(
            tried="listen for clients",
            said="the certificate has expired, and no client would take it",
            remedy="pellucid agent --renew",
        )
    path = token_file or os.path.join(home.agent(), "token")
    token = tokens.token(path)
    if shown.ends_at - now < identity.WARNED_DAYS * _DAY_S:
        _say(f"the certificate expires in {int((shown.ends_at - now) / _DAY_S)} days: pellucid agent --renew")

    from pellucid.agent.server import Agent

    def ready(address: str, port: int) -> None:
        reach = socket.gethostname() if address in ("0.0.0.0", "::") else f"[{address}]" if ":" in address else address
        _say(f"listening on {address} port {port}; may show: {', '.join(('states', *sorted(allow)))}")
        _say(f"fingerprint {shown.fingerprint}")
        _say(f"token in {path}")
        _say(f"elsewhere: pellucid agent add NAME {reach}:{port}")
        if address in ("127.0.0.1", "::1"):
            _say("only this machine can reach it: --listen 0.0.0.0 opens it to others, or ssh -L brings them here")

    agent = Agent(shown, token, frozenset(allow), _commands(ctx), _say)
    asyncio.run(agent.serve(address, port, ready))
    return 0


def _commands(ctx: click.Context) -> Mapping[str, click.Command]:
    """Those that an agent runs, as the command line has them."""
    from pellucid.agent.policy import RULES

    group = ctx.find_root().command
    assert isinstance(group, click.Group)
    found = {name: group.get_command(ctx, name) for name in RULES}
    return {name: one for name, one in found.items() if one is not None}


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {inert(line)}", file=sys.stderr, flush=True)


@command.command("add")
@click.argument("name")
@click.argument("address", metavar="ADDRESS[:PORT]")
@click.option("--fingerprint", help="The one that the agent printed; else you are asked whether it is right.")
@click.option(
    "--token-file",
    metavar="FILE",
    help="A copy of the agent's token; else you are asked for it ($PELLUCID_AGENT_TOKEN is taken, too).",
)
def add(name: str, address: str, fingerprint: str | None, token_file: str | None) -> int:
    """Know the agent at ADDRESS as NAME from now on, by its certificate."""
    import ssl

    from pellucid.agent import client, hosts, identity, tokens
    from pellucid.agent.hosts import Host

    where, port = hosts.placed(address)
    if not hosts.NAME.fullmatch(name):
        said = "a name is letters, digits, dots, dashes and underlines, at most 63"
        raise UsageError(tried=f"know a host as {name!r}", said=said, remedy="another name")
    certificate = client.shown(where, port)
    found = identity.fingerprint(certificate)
    if fingerprint is None:
        click.echo(f"It shows the certificate {found}", err=True)
        if not click.confirm("Is that the fingerprint that the agent printed?", err=True):
            raise UsageError(
                tried=f"know {address} as {name}",
                said="its fingerprint is not the right one",
                remedy="look at what the agent printed when it started",
            )
    elif not identity.same(fingerprint, found):
        said = f"it shows the certificate {found}, and you expect {fingerprint}: it was renewed, or it is someone else"
        raise UsageError(
            tried=f"know {address} as {name}", said=said, remedy="look at what the agent printed when it started"
        )
    if token_file:
        token = tokens.token(token_file) if os.path.exists(token_file) else _missing(token_file)
    else:
        token = os.environ.get("PELLUCID_AGENT_TOKEN") or click.prompt("Its token", hide_input=True, err=True)
    host = Host(name, where, port, ssl.DER_cert_to_PEM_cert(certificate), token.strip())
    client.checked(host)
    click.echo(f"{name} is known now, in {hosts.keep(host)}. Try: pellucid ps --host {name}")
    return 0


def _missing(path: str) -> str:
    raise UsageError(
        tried=f"read the token in {path}", said="there is no such file", remedy="copy it from the agent's machine"
    )


@command.command("hosts")
def listed() -> int:
    """List the agents that are known here, and whether each answers."""
    import ssl

    from pellucid.agent import client, hosts, identity

    names = hosts.names()
    if not names:
        click.echo(f"No host is known here. pellucid agent add NAME ADDRESS:{PORT}")
    for name in names:
        try:
            host = hosts.known(name)
            click.echo(
                f"{name}  {host.address} port {host.port}  {identity.fingerprint(ssl.PEM_cert_to_DER_cert(host.certificate))}  ",
                nl=False,
            )
            client.checked(host)
            click.echo("answers")
        except PellucidError as error:
            click.echo(f"does not answer: {error.said}")
    return 0


@command.command("remove")
@click.argument("name")
def remove(name: str) -> int:
    """Forget the agent NAME."""
    from pellucid.agent import hosts

    hosts.forget(name)
    click.echo(f"{name} is not known any more")
    return 0
