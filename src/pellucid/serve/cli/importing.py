"""What `models import` and `serve PLACE` share: a place outside of the store becomes a version in it."""

import os
from typing import TYPE_CHECKING

import click

from pellucid.serve.cli import output

if TYPE_CHECKING:
    from pellucid.serve.foreign import Wishes
    from pellucid.serve.manifest import Manifest
    from pellucid.serve.store import Store


def is_place(name: str) -> bool:
    """Whether this is a file, a folder or `models:/…` rather than the name of a stored model."""
    from pellucid.serve.manifest import FILES

    return (
        name.startswith(("models:/", "runs:/")) or os.sep in name or name.lower().endswith((".pellucid-model", *FILES))
    )


def imported(store: "Store", place: str, wishes: "Wishes") -> "tuple[Manifest, bool]":
    """Store what lies there. (the version, whether it is new)."""
    from pellucid.serve import bundle, foreign

    if place.endswith(bundle.SUFFIX):
        return bundle.bring_in(store, place, wishes)
    return foreign.bring_in(store, place, wishes, lambda line: click.echo(output.inert(line), err=True))
