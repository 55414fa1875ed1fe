"""`pellucid train NAME`: a grid search with progress, and the best pipeline as a new version in the store."""

from typing import TYPE_CHECKING, Literal

import click

from pellucid.serve.cli import output

if TYPE_CHECKING:
    from pellucid.serve.recipe import Recipe
    from pellucid.serve.search import Progress


@click.command("train")
@click.argument("what", metavar="NAME|FILE.csv")
@click.option("--target", metavar="COLUMN", help="The column of FILE.csv that is to be predicted.")
@click.option("--name", help="Name of the model; that of the file by default.")
@click.option(
    "--id",
    "identity",
    metavar="COLUMN",
    help="The column of FILE.csv that is an id: it is no input, and comes back with a prediction.",
)
@click.option(
    "--pipeline", metavar="MODULE:OBJECT", help="Your own pipeline; a function may return it, or it and a grid."
)
@click.option(
    "--folds", type=click.IntRange(2, 20), default=3, show_default=True, help="Parts that the rows are cut into."
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Processes to fit in; as many as this one may use CPUs by default, or as a Ray cluster has.",
)
@click.option(
    "--backend", type=click.Choice(["loky", "ray"]), default="loky", show_default=True, help="Where they run."
)
@click.option("--onnx", is_flag=True, help="Store the ONNX form of the final estimator too (serve --engine onnx).")
@click.option(
    "--plot", metavar="FILE.svg", help="Write the picture of the training there; it is kept with the model too."
)
@output.as_json
def command(
    what: str,
    target: str | None,
    name: str | None,
    identity: str | None,
    pipeline: str | None,
    folds: int,
    jobs: int | None,
    backend: Literal["loky", "ray"],
    onnx: bool,
    plot: str | None,
    as_json: bool,
) -> None:
    """Train a model on FILE.csv (the example NAME is `loan`), print its score on held-out rows, and store it as a new version.

    A training that was interrupted goes on where it was when it is asked for again.
    """
    import os
    import sys
    import time

    from pellucid.model.errors import Interrupted, UsageError
    from pellucid.serve import durable, extras, recipe, tabular, training
    from pellucid.serve.plot import bars
    from pellucid.serve.report import TrainReport
    from pellucid.serve.search import Progress
    from pellucid.serve.store import Store

    extras.need("train", extras.PREDICT)
    is_file = what.endswith(".csv") or os.sep in what
    if is_file and target is None:
        raise UsageError(
            tried=f"train on {what}", said="which column is to be predicted was not told", remedy="--target COLUMN"
        )
    began = time.perf_counter()
    chosen = (
        tabular.recipe(what, target=str(target), name=name, identity=identity, pipeline=pipeline, folds=folds)
        if is_file
        else recipe.named(what)
    )
    live = sys.stderr.isatty()
    told = -1
    last = Progress(0, 0, None)

    def tell(progress: Progress) -> None:
        nonlocal told, last
        last = progress
        share = progress.done * 100 // progress.total
        if live:
            click.echo(f"\r{_line(chosen.name, progress, share):<70}", nl=False, err=True)
        elif share // 20 > told // 20 or told < 0:  # into a file: a line for each fifth
            click.echo(_line(chosen.name, progress, share), err=True)
            told = share

    durable.prepared(Store().root)
    click.echo(f"{chosen.name}: grid search begins", err=True)
    try:
        trained = training.train(chosen, Store(), tell, jobs or 0, onnx=onnx, backend=backend)
    except KeyboardInterrupt:
        click.echo(err=True)
        raise Interrupted(
            tried=f"train {chosen.name}",
            said=f"it was interrupted after {last.done} of {last.total} fits, which are kept",
            remedy="the same command goes on from there",
        ) from None
    manifest = trained.manifest
    if live:
        click.echo(err=True)
    if plot is not None:
        durable.write(os.path.abspath(plot), trained.svg.encode())
    if as_json:
        output.emit(TrainReport(process=None, taken_at=time.time(), gaps=(), model=manifest))
        return
    made, metrics = manifest.training, dict(manifest.metrics)
    metric = "r2" if chosen.regression else "accuracy"
    click.echo(
        f"{manifest.name} version {manifest.version}: {metric} {metrics[metric]:.3f} on"
        f" {metrics['held_out_rows']:.0f} held-out rows, {metrics[f'cross_validated_{metric}']:.3f} cross-validated;"
        f" best of {made.candidates} candidates in {made.folds} folds; {time.perf_counter() - began:.1f} s"
    )
    for line in bars(trained.candidates):
        click.echo(output.inert(line))
    if left_out := _left_out(chosen, what) if is_file else "":
        click.echo(left_out)
    if plot is not None:
        click.echo(f"plot: {plot}")
    click.echo(f"pellucid serve {manifest.name}")


def _left_out(chosen: "Recipe", path: str) -> str:
    """Columns that the pipeline of ours makes nothing of: of free text, or of nothing at all."""
    import csv

    with open(path, encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file), [])
    unused = [name for name in names if name not in {*chosen.columns, chosen.target, chosen.id_column}]
    told = "not used, since they are empty or nearly every row has another text"
    return f"{told}: {', '.join(unused)}  (--pipeline MODULE:OBJECT may use them)" if unused else ""


def _line(name: str, progress: "Progress", share: int) -> str:
    left = "" if progress.left_s is None else f", {progress.left_s:.0f} s left"
    before = f", {progress.before} of them by an earlier run" if progress.before else ""
    return f"{name}: fit {progress.done} of {progress.total}, {share} %{left}{before}"
