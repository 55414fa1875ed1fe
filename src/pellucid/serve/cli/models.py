"""`pellucid models [list|show|promote|rollback|verify|import|export]`: what is stored, in which versions, and which of them is served."""

from typing import TYPE_CHECKING

import click

from pellucid.serve.cli import output

if TYPE_CHECKING:
    from pellucid.serve.manifest import Proof
    from pellucid.serve.store import Listed


@click.group("models", invoke_without_command=True)
@output.as_json
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List the stored models and their versions."""
    context.obj = as_json
    if context.invoked_subcommand is None:
        _list(as_json)


@command.command("list")
@output.as_json
@click.pass_context
def listing(context: click.Context, as_json: bool) -> None:
    """List the stored models and their versions."""
    _list(as_json or context.obj)


@command.command("show")
@click.argument("name")
@output.as_json
@click.pass_context
def show(context: click.Context, name: str, as_json: bool) -> None:
    """Tell all about one model (NAME), or one version (NAME:VERSION, NAME@ALIAS): columns, metrics, libraries, hashes."""
    import time

    from pellucid.serve.report import ModelReport
    from pellucid.serve.store import Store

    store = Store()
    wanted = store.resolve(name)
    versions = store.versions(wanted.name)
    if ":" in name or "@" in name:
        versions = tuple(listed for listed in versions if listed.manifest.version == wanted.version)
    if as_json or context.obj:
        output.emit(ModelReport(process=None, taken_at=time.time(), gaps=(), versions=versions))
        return
    for listed in versions:
        for line in _lines(listed):
            click.echo(output.inert(line))
        click.echo()


@command.command("promote")
@click.argument("name", metavar="NAME:VERSION")
@click.option("--alias", default="production", show_default=True, help="The alias that shall point at this version.")
@output.as_json
@click.pass_context
def promote(context: click.Context, name: str, alias: str, as_json: bool) -> None:
    """Point an alias at a version, in one step. Servers of that alias change over without a failed request."""
    from pellucid.serve.store import Store

    store = Store()
    wanted = store.resolve(name)
    before = store.promote(wanted.name, wanted.version, alias)
    _moved(wanted.name, alias, wanted.version, before, as_json=as_json or context.obj)


@command.command("rollback")
@click.argument("name")
@click.option("--alias", default="production", show_default=True, help="The alias that shall go back.")
@output.as_json
@click.pass_context
def rollback(context: click.Context, name: str, alias: str, as_json: bool) -> None:
    """Point an alias at the version that it pointed at before."""
    from pellucid.serve.store import Store

    now, before = Store().rollback(name, alias)
    _moved(name, alias, now, before, as_json=as_json or context.obj)


def _moved(name: str, alias: str, now: int, before: int | None, *, as_json: bool) -> None:
    import time

    from pellucid.serve.report import AliasReport

    if as_json:
        output.emit(
            AliasReport(process=None, taken_at=time.time(), gaps=(), name=name, alias=alias, version=now, before=before)
        )
        return
    told = "was not there before" if before is None else f"pointed at version {before} before"
    click.echo(f"{name}@{alias} is version {now} now; it {told if before != now else 'was that already'}")


@command.command("verify")
@click.argument("name")
@output.as_json
@click.pass_context
def verify(context: click.Context, name: str, as_json: bool) -> None:
    """Hash every member anew, load the model here, and predict its stored sample by every engine that was proved."""
    import time

    from pellucid.serve import extras, package
    from pellucid.serve.report import VerifyReport
    from pellucid.serve.store import Store

    extras.need("models verify", extras.PREDICT)
    store = Store()
    manifest = store.resolve(name)
    store.verify(manifest)
    engines = ["pipeline", *(proof.engine for proof in manifest.proofs if proof.equal)]
    for engine in engines:
        package.load(store, manifest, max_rows=manifest.sample_rows or 1, engine=engine)  # type: ignore[arg-type]
    drift = package.drift(manifest)
    if as_json or context.obj:
        report = VerifyReport(
            process=None, taken_at=time.time(), gaps=(), name=manifest.name, version=manifest.version,
            members=len(manifest.members), sample_rows=manifest.sample_rows, engines=tuple(engines), drift=drift,
        )  # fmt: skip
        output.emit(report)
        return
    click.echo(f"{manifest.name} version {manifest.version}: {len(manifest.members)} members are whole")
    click.echo(f"its {manifest.sample_rows} sample rows are predicted as they were, by {' and by '.join(engines)}")
    if drift:
        click.echo(f"other libraries than at its training, with equal predictions: {drift}")


@command.command("export")
@click.argument("name")
@click.option(
    "-o", "--output", "path", metavar="FILE", help="The file to write; stdout for manifests of Kubernetes by default."
)
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
@click.option(
    "--k8s", is_flag=True, help="Manifests for Kubernetes instead: ConfigMap, Deployment with probes, Service."
)
@click.option("--kserve", is_flag=True, help="KServe's InferenceService instead.")
@click.option("--image", default="pellucid:latest", show_default=True, help="The image that has pellucid[serve].")
@click.option("--workers", type=click.IntRange(1, 256), default=2, show_default=True, help="Worker processes in a pod.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.5),
    default=30.0,
    show_default=True,
    help="Deadline of a prediction, in seconds.",
)
def export(
    name: str, path: str | None, force: bool, k8s: bool, kserve: bool, image: str, workers: int, timeout: float
) -> None:
    """Write one version into one file, which `models import` and `serve` read on another machine; or what Kubernetes needs to run it."""
    import os

    from pellucid.model.errors import UsageError
    from pellucid.serve import bundle, durable, kubernetes
    from pellucid.serve.store import Store

    if path is not None and os.path.exists(path) and not force:
        raise UsageError(
            tried=f"write {path}", said="it exists already", remedy=f"--force, or another name than {path}"
        )
    store = Store()
    manifest = store.resolve(name)
    content = bundle.packed(store, manifest)
    if k8s or kserve:
        made = kubernetes.inference_service if kserve else kubernetes.documents
        told = kubernetes.text(made(manifest, content, image=image, workers=workers, timeout_s=timeout))
        if path is None:
            click.echo(told, nl=False)
        else:
            durable.write(os.path.abspath(path), told.encode())
        return
    if path is None:
        raise UsageError(
            tried=f"export {name}", said="where to was not told", remedy=f"-o {manifest.name}.pellucid-model"
        )
    durable.write(os.path.abspath(path), content)
    click.echo(f"{manifest.name} version {manifest.version} is in {path}, {len(content)} bytes")


@command.command("import")
@click.argument("place", metavar="FILE|FOLDER|models:/NAME@ALIAS")
@click.option("--name", help="Store it under this name.")
@click.option("--sample", metavar="FILE.csv", help="Rows that it can predict: column types, and what it is proved on.")
@click.option("--id", "identity", metavar="COLUMN", help="The column of the sample that is an id.")
@click.option("--target", metavar="COLUMN", help="The column of the sample that the model predicts.")
@click.option(
    "--allow-pickle", is_flag=True, help="Load a pickle, which runs its code. What it would import is listed first."
)
@click.option(
    "--allow-code", is_flag=True, help="Take a .pellucid-model whose model has classes of its own: their code will run."
)
@output.as_json
@click.pass_context
def bring_in(
    context: click.Context,
    place: str,
    name: str | None,
    sample: str | None,
    identity: str | None,
    target: str | None,
    allow_pickle: bool,
    allow_code: bool,
    as_json: bool,
) -> None:
    """Store a model that was made elsewhere: a .pellucid-model, an MLflow model, .onnx, .skops, or a pickle of an estimator."""
    import time

    from pellucid.serve import extras
    from pellucid.serve.cli.importing import imported
    from pellucid.serve.foreign import Wishes
    from pellucid.serve.report import TrainReport
    from pellucid.serve.store import Store

    extras.need("models import", extras.PREDICT)
    wishes = Wishes(
        name=name, sample=sample, identity=identity, target=target, allow_pickle=allow_pickle, allow_code=allow_code
    )
    manifest, fresh = imported(Store(), place, wishes)
    if as_json or context.obj:
        output.emit(TrainReport(process=None, taken_at=time.time(), gaps=(), model=manifest))
        return
    told = "is stored" if fresh else "was stored already, with the very same content"
    click.echo(f"{manifest.name} version {manifest.version} {told}")
    click.echo(f"pellucid serve {manifest.name}:{manifest.version}")


def _list(as_json: bool) -> None:
    import time

    from pellucid.serve.report import ModelsReport, model_row
    from pellucid.serve.store import Store

    store = Store()
    rows = tuple(model_row(listed) for listed in store.listed())
    if as_json:
        output.emit(ModelsReport(process=None, taken_at=time.time(), gaps=(), models=rows))
        return
    if not rows:
        click.echo(f"no models in {store.root}; pellucid train loan makes the example")
        return
    output.table(
        ("NAME", "VERSION", "ALIASES", "CREATED", "SIZE", "METRICS"),
        [
            (
                row.name,
                str(row.version),
                ", ".join(row.aliases),
                time.strftime("%Y-%m-%d %H:%M", time.localtime(row.created_at)),
                f"{row.size / 1024:.0f} KiB",
                ", ".join(f"{name} {value:g}" for name, value in row.metrics.items()),
            )
            for row in rows
        ],
    )


def _lines(listed: "Listed") -> list[str]:
    import time

    manifest = listed.manifest
    made = manifest.training
    lines = [
        f"{manifest.name} version {manifest.version}"
        + (f" ({', '.join(listed.aliases)})" if listed.aliases else "")
        + time.strftime(", %Y-%m-%d %H:%M:%S", time.localtime(manifest.created_at)),
        "  metrics     " + ", ".join(f"{name} {value:g}" for name, value in manifest.metrics.items()),
        f"  trained on  {made.rows} rows, sha256:{made.data_sha256[:16]}…, {made.candidates} candidates in {made.folds} folds",
        "  parameters  " + ", ".join(f"{key} {value}" for key, value in made.parameters.items()),
        f"  kept as     {manifest.format}" + (f", imported from {manifest.origin}" if manifest.origin else ""),
        f"  made with   Python {manifest.python}, "
        + ", ".join(f"{name} {version}" for name, version in manifest.libraries.items()),
        "  trusts      " + (", ".join(manifest.trusted) or "nothing beyond scikit-learn"),
        f"  sample      {manifest.sample_rows} rows with their answers",
        f"  id          {manifest.signature.id_column or 'none'}; predicts {manifest.signature.target}",
    ]
    if manifest.git:
        lines.append(f"  git         {manifest.git}")
    lines += [f"  engine      {_proof(proof)}" for proof in manifest.proofs]
    if manifest.rows_proof is not None:
        rows = manifest.rows_proof
        told = f"independent, proved on {rows.rows}" if rows.equal else f"not independent: {rows.why_not}"
        lines.append(f"  rows        {told}")
    lines += [f"  column      {column.name}: {column.wants()}" for column in manifest.signature.columns]
    lines += [
        f"  member      {member.path}  {member.size} bytes  sha256:{member.sha256}" for member in manifest.members
    ]
    return lines


def _proof(proof: "Proof") -> str:
    if not proof.equal:
        return f"{proof.engine}: not proved: {proof.why_not}"
    told = f"{proof.engine}: equal on {proof.rows} rows"
    return told + (f", scores differ by at most {proof.difference:.1g}" if proof.difference else ", to the bit")
