"""`pellucid serve NAME`: the model over HTTP with supervised workers, until SIGTERM or Ctrl-C."""

from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from pellucid.serve.options import Beside
    from pellucid.serve.telemetry.settings import Settings

Wanted = Literal["auto", "pipeline", "exact", "onnx"]


@click.command("serve")
@click.argument("name")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--workers", type=click.IntRange(1, 256), default=2, show_default=True, help="Worker processes.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.5),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Deadline of a prediction: past half of it a worker is looked at, past it it is replaced.",
)
@click.option("--max-rows", type=click.IntRange(1), default=10_000, show_default=True, help="Records in one request.")
@click.option("--max-body", type=click.IntRange(1), default=8 << 20, show_default=True, help="Bytes in one request.")
@click.option(
    "--max-queue", type=click.IntRange(1), default=128, show_default=True, help="Requests that may wait in a worker."
)
@click.option(
    "--max-batch",
    type=click.IntRange(1),
    default=1024,
    show_default=True,
    help="Rows in one prediction of several requests (where the model is proved to judge each row by itself); 1: each alone.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "pipeline", "exact", "onnx"]),
    default="auto",
    show_default=True,
    help="How predictions are computed; auto takes the quickest that was proved equal to the bit.",
)
@click.option(
    "--unseen",
    type=click.Choice(["refuse", "count"]),
    default="refuse",
    show_default=True,
    help="A category that the training data had not: 422, or predicted and counted in /metrics.",
)
@click.option(
    "--errors",
    type=click.Choice(["full", "field", "generic"]),
    default="full",
    show_default=True,
    help="What a 422 says: all, which fields, or only that the records do not fit.",
)
@click.option(
    "--api-keys", type=click.Path(dir_okay=False), help="File of hashed API keys, one of which each request needs."
)
@click.option(
    "--new-key", is_flag=True, help="Print a fresh API key for the user NAME, and its line for the file of keys."
)
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False), help="Serve HTTPS by this certificate (PEM).")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), help="The certificate's private key (PEM).")
@click.option(
    "--max-growth",
    type=click.IntRange(0),
    default=512,
    show_default=True,
    metavar="MIB",
    help="A worker whose memory has grown by so much is looked at, and replaced once another is ready; 0: never.",
)
@click.option(
    "--record/--no-record",
    "recorded",
    default=True,
    help="Record the workers, for `pellucid replay` and the incidents: a ring of 64 MiB in ~/.local/share/pellucid/recordings.  [default: yes]",
)
@click.option(
    "--allow-pickle", is_flag=True, help="Where NAME is a file or an MLflow model: load a pickle, which runs its code."
)
@click.option(
    "--allow-code",
    is_flag=True,
    help="Where NAME is a .pellucid-model whose model has classes of its own: their code will run.",
)
@click.option("--canary", metavar="NAME:VERSION", help="Let another version answer a share of the requests.")
@click.option(
    "--shadow", metavar="NAME:VERSION", help="Send another version copies of requests, and compare (GET /beside)."
)
@click.option(
    "--share",
    type=click.FloatRange(0, 100),
    default=10.0,
    show_default=True,
    metavar="PERCENT",
    help="Of the requests, by their hash, for --canary or --shadow.",
)
@click.option(
    "--cluster",
    type=click.Choice(["ray"]),
    help="Deploy it on the Ray cluster at RAY_ADDRESS, or of this machine: --workers replicas, each with a CPU.",
)
@click.option("--unix", metavar="PATH", help="Listen on a unix socket instead of --host and --port.")
@click.option(
    "--admin-port",
    type=click.IntRange(0, 65535),
    help="Show this server on a live page on that port of 127.0.0.1, begun when somebody opens it (the address, with a token, goes to stdout); 0 takes a free one.",
)
@click.option(
    "--otlp",
    metavar="URL",
    help="Send traces, metrics and the log to this receiver of OpenTelemetry (OTLP over HTTP, such as http://localhost:4318); OTEL_EXPORTER_OTLP_ENDPOINT and the other OTEL_ variables do the same.",
)
@click.option("--json", "as_json", is_flag=True, help="Log JSON records also to a terminal.")
def command(
    name: str,
    host: str,
    port: int,
    workers: int,
    timeout: float,
    max_rows: int,
    max_body: int,
    max_queue: int,
    max_batch: int,
    engine: Wanted,
    unseen: Literal["refuse", "count"],
    errors: Literal["full", "field", "generic"],
    api_keys: str | None,
    new_key: bool,
    tls_cert: str | None,
    tls_key: str | None,
    max_growth: int,
    recorded: bool,
    allow_pickle: bool,
    allow_code: bool,
    canary: str | None,
    shadow: str | None,
    share: float,
    cluster: str | None,
    unix: str | None,
    admin_port: int | None,
    otlp: str | None,
    as_json: bool,
) -> None:
    """Serve the model NAME (also NAME:VERSION, NAME@ALIAS, a file, MODULE:FUNCTION, or MLflow's models:/NAME@ALIAS) over HTTP. The log goes to stderr: lines on a terminal, else JSON records."""
    import os
    import sys

    from pellucid import home
    from pellucid.model.errors import UsageError
    from pellucid.serve import callable_names as callables
    from pellucid.serve import extras, keys
    from pellucid.serve.cli.importing import is_place
    from pellucid.serve.listener import listen, listen_here
    from pellucid.serve.log import Record, Screen
    from pellucid.serve.options import Options
    from pellucid.serve.store import LATEST, Store
    from pellucid.serve.supervisor import Supervisor

    if new_key:
        key, line = keys.new(name)
        click.echo(f"the key, which is shown this once: {key}\nits line for the file of keys:      {line}")
        return
    if (tls_cert is None) != (tls_key is None):
        raise UsageError(
            tried="serve HTTPS",
            said=f"only {'--tls-cert' if tls_cert else '--tls-key'} is given",
            remedy="give both --tls-cert and --tls-key",
        )
    extras.need("serve", extras.SERVE)
    if cluster:
        _only_for_one_machine()
    store = Store()
    if is_place(name):
        name = _imported(name, allow_pickle=allow_pickle, allow_code=allow_code)
    function = name if callables.is_callable(name) else ""
    if function:
        model, version = callables.plain(name.partition(":")[2]), 1
    else:
        manifest = store.resolve(name)
        store.verify(manifest)
        model, version = manifest.name, manifest.version
    if cluster and function:
        raise UsageError(
            tried=f"serve {name} on a cluster",
            said="a function is code of this machine, and only stored models travel to the nodes",
            remedy="store it as a model (pellucid train, pellucid models import), then serve its name",
        )
    beside, beside_line = _beside(
        canary,
        shadow,
        share,
        ["--workers", "1", "--timeout", str(timeout), "--engine", "auto", *(["--otlp", otlp] if otlp else [])],
    )
    telemetry = _telemetry(otlp, model, version)
    listener, bound = None, port
    if unix is not None:
        listener, bound = listen_here(unix), 0
    elif not cluster:
        listener = listen(host, port)
        bound = listener.getsockname()[1]
    elif not port:  # Ray Serve's proxies would each take another one
        with listen(host, 0) as free:
            bound = free.getsockname()[1]
    admin = listen("127.0.0.1", admin_port) if admin_port is not None else None
    address = unix or f"{'https' if tls_cert else 'http'}://{f'[{host}]' if ':' in host else host}:{bound}"
    screen = Screen(as_json=as_json or not sys.stderr.isatty())

    for warning in telemetry.warnings if telemetry is not None else ():
        screen.tell(Record(level="warning", event="telemetry", sentence=warning))

    def announce(pids: tuple[int, ...]) -> None:
        named = f"{model} version {version}"
        told = f"{named} answers on {address} with {len(pids)} workers ({', '.join(f'pid {pid}' for pid in pids)})"
        screen.tell(Record(level="info", event="ready" if unix is None else "beside_ready", sentence=told))
        screen.plain(_hints(model, address, pids[0], timeout))

    def follow(anew: bool) -> int | None:
        """What `production`, or the alias that was named, points at now; by a signal, what the name means now."""
        if ":" in name or (not anew and "@" not in name and store.default_alias(model) == LATEST):
            return version if anew else None
        return store.resolve(name).version

    options = Options(
        model=f"{model}:{version}",
        function=function,
        beside=beside,
        folder=os.getcwd() if function else "",
        store=store.root,
        incidents=home.incidents(),
        host=host,
        port=bound,
        workers=workers,
        timeout_s=timeout,
        max_rows=max_rows,
        max_body=max_body,
        max_queue=max_queue,
        max_batch=max_batch,
        engine=engine,
        unseen=unseen,
        max_growth=max_growth,
        record=recorded,
        errors=errors,
        keys=keys.read(api_keys) if api_keys else (),
        tls_cert=os.path.abspath(tls_cert) if tls_cert else "",
        tls_key=os.path.abspath(tls_key) if tls_key else "",
    )
    screen.tell(Record(level="info", event="start", sentence=f"{model} version {version} is being loaded"))
    if listener is None:
        from pellucid.serve.cluster.driver import Deployed

        sys.exit(Deployed(options, screen, follow).run())
    supervisor = Supervisor(options, version, listener, screen, announce, follow, beside_line, admin, telemetry)
    if supervisor.page is not None:
        click.echo(supervisor.page.address)
    sys.exit(supervisor.run())


def _telemetry(url: str | None, model: str, version: int) -> "Settings | None":
    """What is exported, by the command line or the environment; None, and nothing is imported for it, where neither asks."""
    import os

    if url is None and not any(name.startswith("OTEL_") for name in os.environ):
        return None
    from pellucid.serve.telemetry import settings

    return settings.read(os.environ, url, model, version)


def _only_for_one_machine() -> None:
    """Options that Ray Serve leaves us no place for. UsageError names the first that was given."""
    from click.core import ParameterSource

    from pellucid.model.errors import UsageError

    context = click.get_current_context()
    told = {
        "tls_cert": "clients reach Ray Serve's proxies, which know nothing of it; a load balancer before them may end TLS",
        "canary": "another version beside this one is another application there",
        "shadow": "another version beside this one is another application there",
        "share": "another version beside this one is another application there",
        "admin_port": "its replicas run on other machines too; `pellucid web` shows those of one",
        "otlp": "Ray Serve has an exporter of its own (ray start --tracing-startup-hook)",
        "unix": "clients reach Ray Serve's proxies by --host and --port",
        "max_growth": "memory of replicas is watched by Ray's own monitor (RAY_memory_usage_threshold)",
    }
    for name, why in told.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(tried=f"serve with {option} on a cluster", said=why, remedy=f"leave {option} out")


def _beside(
    canary: str | None, shadow: str | None, share: float, more: list[str]
) -> "tuple[Beside | None, tuple[str, ...]]":
    """What workers know of the other version, and the command line of its server."""
    import os
    import sys
    import tempfile

    from pellucid.model.errors import UsageError
    from pellucid.serve.options import Beside
    from pellucid.serve.store import Store

    if canary and shadow:
        raise UsageError(
            tried="serve another version beside", said="--canary and --shadow are both given", remedy="give one of them"
        )
    wanted = canary or shadow
    if wanted is None:
        return None, ()
    manifest = Store().resolve(wanted)
    path = os.path.join(tempfile.mkdtemp(prefix="pellucid-beside-"), "socket")
    line = (sys.executable, "-m", "pellucid", "serve", wanted, "--unix", path, "--no-record", *more)
    told = f"{manifest.name} version {manifest.version}"
    return Beside("canary" if canary else "shadow", told, share, path), line


def _imported(place: str, *, allow_pickle: bool, allow_code: bool) -> str:
    """`NAME:VERSION` of what lies there. It is loaded in another process: this one becomes the supervisor, which imports no library of a model."""
    import json
    import subprocess
    import sys

    from pellucid.model.errors import UsageError

    allowed = [*(["--allow-pickle"] if allow_pickle else []), *(["--allow-code"] if allow_code else [])]
    command = [sys.executable, "-m", "pellucid", "models", "import", place, "--json", *allowed]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if ended.returncode and not ended.stdout:  # why, it has told on stderr
        sys.exit(ended.returncode)
    told = json.loads(ended.stdout)
    if ended.returncode:
        raise UsageError(**{key: told["error"][key] for key in ("tried", "said", "remedy")})
    model = told["model"]
    return f"{model['name']}:{model['version']}"


def _hints(name: str, address: str, pid: int, timeout: float) -> list[str]:
    return [
        "",
        f"  ask it      pellucid predict {name} --example --url {address}",
        f"              curl {address}/healthz",
        f"  see it      pellucid why {pid}",
        "              pellucid web    (a page: requests, latency, workers, incidents)",
        f"  break it    kill -STOP {pid}    (looked at after {timeout / 2:g} s, replaced after {timeout:g} s)",
        f"              kill -KILL {pid}    (replaced at once)",
        "  and then    pellucid incidents",
        "",
    ]
