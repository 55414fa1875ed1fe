"""`pellucid train NAME`: a grid search with progress, and the best pipeline as a new version in the store."""

from typing import TYPE_CHECKING

import click

from pellucid.serve.cli import output

if TYPE_CHECKING:
    from pellucid.serve.training import Progress


@click.command("train")
@click.argument("name")
@click.option(
    "--jobs", type=click.IntRange(1), help="Processes to fit in; as many as this one may use CPUs by default."
)
@click.option("--onnx", is_flag=True, help="Store the ONNX form of the final estimator too (serve --engine onnx).")
@output.as_json
def command(name: str, jobs: int | None, onnx: bool, as_json: bool) -> None:
    """Train the model NAME (the example is `loan`), tell its score on held-out rows, and store it as a new version."""
    import os
    import sys
    import time

    from pellucid.serve import extras, recipe, training
    from pellucid.serve.report import TrainReport
    from pellucid.serve.store import Store

    extras.need("train", extras.PREDICT)
    began = time.perf_counter()
    live = sys.stderr.isatty()
    told = -1

    def tell(progress: training.Progress) -> None:
        nonlocal told
        share = progress.done * 100 // progress.total
        if live:
            click.echo(f"\r{_line(name, progress, share):<60}", nl=False, err=True)
        elif share // 20 > told // 20 or told < 0:  # into a file: a line for each fifth
            click.echo(_line(name, progress, share), err=True)
            told = share

    chosen = recipe.named(name)
    click.echo(f"{name}: grid search begins", err=True)
    manifest = training.train(chosen, Store(), tell, jobs or len(os.sched_getaffinity(0)), onnx=onnx)
    if live:
        click.echo(err=True)
    if as_json:
        output.emit(TrainReport(process=None, taken_at=time.time(), gaps=(), model=manifest))
        return
    made = manifest.training
    click.echo(
        f"{manifest.name} version {manifest.version}: accuracy {manifest.metrics['accuracy']:.3f} on"
        f" {manifest.metrics['held_out_rows']:.0f} held-out rows, {manifest.metrics['cross_validated_accuracy']:.3f} cross-validated;"
        f" best of {made.candidates} candidates in {made.folds} folds; {time.perf_counter() - began:.1f} s"
    )
    click.echo("parameters: " + ", ".join(f"{key} {value}" for key, value in made.parameters.items()))
    click.echo(f"pellucid serve {manifest.name}")


def _line(name: str, progress: "Progress", share: int) -> str:
    left = "" if progress.left_s is None else f", {progress.left_s:.0f} s left"
    return f"{name}: candidate {progress.done} of {progress.total}, {share} %{left}"
