"""The JSON documents of the server's commands."""

from typing import Any

from msgspec import Struct

from pellucid.model.incident import Incident
from pellucid.model.report import Report
from pellucid.serve.incidents import Row
from pellucid.serve.manifest import Manifest
from pellucid.serve.store import Listed


class ModelRow(Struct, frozen=True):
    """One version in `models --json`."""

    name: str
    version: int
    aliases: tuple[str, ...]
    metrics: dict[str, float]
    created_at: float
    size: int


class ModelsReport(Report, frozen=True, kw_only=True):
    models: tuple[ModelRow, ...]


class ModelReport(Report, frozen=True, kw_only=True):
    """`models show NAME --json`: every version with its whole manifest, newest first."""

    versions: tuple[Listed, ...]


class AliasReport(Report, frozen=True, kw_only=True):
    """`models promote|rollback --json`: `before` is the version that the alias pointed at, null where there was none."""

    name: str
    alias: str
    version: int
    before: int | None


class VerifyReport(Report, frozen=True, kw_only=True):
    """`models verify NAME --json`: what was found whole; `drift`: libraries of other versions than at its training, in words."""

    name: str
    version: int
    members: int
    sample_rows: int
    engines: tuple[str, ...]
    drift: str


class TrainReport(Report, frozen=True, kw_only=True):
    """`train NAME --json`: the manifest of the new version."""

    model: Manifest


class PredictReport(Report, frozen=True, kw_only=True):
    """`predict NAME FILE --json`: the same keys as an answer of POST /predict."""

    predictions: tuple[dict[str, Any], ...]
    model: str
    version: int


class IncidentsReport(Report, frozen=True, kw_only=True):
    """`incidents --json`, and GET /incidents."""

    incidents: tuple[Row, ...]


class IncidentReport(Report, frozen=True, kw_only=True):
    """`incidents show ID --json`."""

    incident: Incident


def model_row(listed: Listed) -> ModelRow:
    manifest = listed.manifest
    return ModelRow(
        name=manifest.name,
        version=manifest.version,
        aliases=listed.aliases,
        metrics=manifest.metrics,
        created_at=manifest.created_at,
        size=sum(member.size for member in manifest.members),
    )
