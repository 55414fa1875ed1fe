"""`pellucid web`: the live page."""

import click


@click.command("web")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="The port on 127.0.0.1; 0 takes a free one.  [default: 0]"
)
@click.option("--open", "browser", is_flag=True, help="Open it in the browser of this machine.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Show the processes of the machine NAME too, by its agent; may be given again.",
)
def command(port: int, browser: bool, hosts: tuple[str, ...]) -> None:
    """Show all processes of this machine on a live page: which are in trouble, what each does, and of one its stacks, waits, memory, files.

    It listens on the loopback interface alone and prints an address with a token, without which it answers nobody. It reads and never
    changes a process; what pauses one says so on its button. From another machine: ssh -L PORT:127.0.0.1:PORT HOST.
    """
    from importlib.util import find_spec

    from pellucid.model.errors import UsageError

    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise UsageError(
            tried="run `pellucid web`",
            said=f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed",
            remedy="pip install 'pellucid[web]'",
        )
    from pellucid.present.web.server import serve

    serve(port, browser=browser, hosts=hosts)
