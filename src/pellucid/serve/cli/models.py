"""`pellucid models [list|show NAME]`: what is stored, in which versions, and how good each is."""

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
            click.echo(output.printable(line))
        click.echo()


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
        f"  made with   Python {manifest.python}, "
        + ", ".join(f"{name} {version}" for name, version in manifest.libraries.items()),
        "  trusts      " + (", ".join(manifest.trusted) or "nothing beyond scikit-learn"),
        f"  sample      {manifest.sample_rows} rows with their answers",
        f"  id          {manifest.signature.id_column or 'none'}; predicts {manifest.signature.target}",
    ]
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
