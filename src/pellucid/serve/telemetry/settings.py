"""What is exported and where to: `serve --otlp URL`, or the environment variables that OpenTelemetry defines for all SDKs and exporters.

(opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables and .../protocol/exporter.) An empty variable is as good as none. One
that can't be understood is told, and the default holds: a server must not stay away because of it.
"""

import os
import socket
import uuid
from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Struct

from pellucid import __version__
from pellucid.model.errors import UsageError
from pellucid.serve.board import Board
from pellucid.serve.sampling import Root, Sampling

HERE = "http://localhost:4318"
"""Where a collector listens by default; taken where an exporter is asked for by name alone."""
PROTOCOL = "http/protobuf"
MOST_MS = 86_400_000
_ON = {"true", "1"}


class Target(Struct, frozen=True):
    """Where one signal goes. `headers` may have secrets in them: they stand in no message and in no log."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 10.0
    gzip: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""

    @property
    def shown(self) -> str:
        """The address without a password and a query."""
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


class Settings(Struct, frozen=True):
    """`resource`: who tells; `delay_s`: spans and log records go out so often, metrics every `metrics_s`. `warnings`: what was not understood."""

    traces: Target | None
    metrics: Target | None
    logs: Target | None
    resource: tuple[tuple[str, str], ...]
    sampling: Sampling
    delay_s: float
    metrics_s: float
    warnings: tuple[str, ...]

    def target(self, signal: str) -> Target | None:
        return {"traces": self.traces, "metrics": self.metrics, "logs": self.logs}[signal]


def read(environment: Mapping[str, str], url: str | None, model: str, version: int) -> Settings | None:
    """None where nothing is wanted. `url`: what was given on the command line; UsageError where that is no address."""
    asked = _Asked({name: value.strip() for name, value in environment.items() if name.startswith("OTEL_")})
    if asked.text("OTEL_SDK_DISABLED").lower() == "true":
        return None
    if url is not None and not _usable(url):
        _refuse(url)
    targets = {signal: _target(asked, signal, url) for signal in Board.SIGNALS}
    if not any(targets.values()) and not asked.warnings:
        return None
    return Settings(
        **targets,
        resource=tuple(_resource(asked, model, version).items()),
        sampling=_sampling(asked),
        delay_s=asked.milliseconds("OTEL_BSP_SCHEDULE_DELAY", 5000),
        metrics_s=asked.milliseconds("OTEL_METRIC_EXPORT_INTERVAL", 60_000),
        warnings=tuple(asked.warnings),
    )


class _Asked:
    """The variables, and what was wrong with some of them. Their values are not repeated: they may be secrets."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.warnings: list[str] = []

    def text(self, name: str) -> str:
        return self._variables.get(name, "")

    def of_signal(self, signal: str, what: str) -> str:
        """`OTEL_EXPORTER_OTLP_TRACES_TIMEOUT`, else `OTEL_EXPORTER_OTLP_TIMEOUT`."""
        return self.text(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{what}") or self.text(f"OTEL_EXPORTER_OTLP_{what}")

    def warn(self, name: str, why: str) -> None:
        told = f"{name} {why}"
        if told not in self.warnings:
            self.warnings.append(told)

    def milliseconds(self, name: str, default: int) -> float:
        """In seconds."""
        return self._milliseconds(name, self.text(name), default)

    def timeout(self, signal: str) -> float:
        return self._milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", self.of_signal(signal, "TIMEOUT"), 10_000)

    def _milliseconds(self, name: str, value: str, default: int) -> float:
        if value and not (value.isascii() and value.isdigit() and 0 < int(value) <= MOST_MS):
            self.warn(name, f"is no number of milliseconds: {default} it is")
            value = ""
        return int(value or default) / 1000

    def pairs(self, name: str, value: str) -> dict[str, str]:
        """`key1=value1,key2=value2`, percent-encoded (W3C Baggage)."""
        found = {}
        for pair in filter(None, map(str.strip, value.split(","))):
            key, equals, content = (unquote(part.strip()) for part in pair.partition("="))
            if not equals or not key or not (key + content).isprintable() or not key.isascii():
                self.warn(name, "has an entry that is not KEY=VALUE: it is left out")
            else:
                found[key] = content
        return found


def _target(asked: _Asked, signal: str, url: str | None) -> Target | None:
    exporter = asked.text(f"OTEL_{signal.upper()}_EXPORTER")
    if exporter not in ("", "otlp"):
        return None
    own = asked.text(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    base = url or asked.text("OTEL_EXPORTER_OTLP_ENDPOINT") or (HERE if exporter else "")
    where = own if own and not url else f"{base.rstrip('/')}/v1/{signal}" if base else ""
    if not where:
        return None
    if not _usable(where):
        asked.warn("OTEL_EXPORTER_OTLP_ENDPOINT", f"is no http or https address: no {signal} are sent")
        return None
    if not url and asked.of_signal(signal, "PROTOCOL") not in ("", PROTOCOL):
        said = f"asks for another protocol than {PROTOCOL}, the only one here: no {signal} are sent. A collector takes it at port 4318"
        asked.warn("OTEL_EXPORTER_OTLP_PROTOCOL", said)
        return None
    target = Target(
        url=where,
        headers=tuple(asked.pairs("OTEL_EXPORTER_OTLP_HEADERS", asked.of_signal(signal, "HEADERS")).items()),
        timeout_s=asked.timeout(signal),
        gzip=asked.of_signal(signal, "COMPRESSION") == "gzip",
        ca=asked.of_signal(signal, "CERTIFICATE"),
        certificate=asked.of_signal(signal, "CLIENT_CERTIFICATE"),
        key=asked.of_signal(signal, "CLIENT_KEY"),
    )
    for name in filter(None, (target.ca, target.certificate, target.key)):
        if not os.access(name, os.R_OK):
            asked.warn(
                "OTEL_EXPORTER_OTLP_CERTIFICATE",
                f"or a CLIENT one names a file that can't be read: no {signal} are sent",
            )
            return None
    return target


def _usable(url: str) -> bool:
    try:
        parts: SplitResult = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _refuse(url: str) -> NoReturn:
    raise UsageError(
        tried=f"send telemetry to {url}",
        said="it is no http or https address",
        remedy=f"--otlp {HERE}  (a collector of OpenTelemetry on this machine)",
    )


def _resource(asked: _Asked, model: str, version: int) -> dict[str, str]:
    """What was given comes before what is known (opentelemetry.io/docs/specs/semconv/resource)."""
    known = {
        "service.name": f"pellucid-{model}",
        "service.version": str(version),
        "service.instance.id": str(uuid.uuid4()),
        "host.name": socket.gethostname(),
        "telemetry.sdk.name": "pellucid",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": __version__,
    }
    known |= asked.pairs("OTEL_RESOURCE_ATTRIBUTES", asked.text("OTEL_RESOURCE_ATTRIBUTES"))
    if name := asked.text("OTEL_SERVICE_NAME"):
        known["service.name"] = name
    return known


def _sampling(asked: _Asked) -> Sampling:
    name = asked.text("OTEL_TRACES_SAMPLER")
    roots: dict[str, Root] = {"always_on": "always_on", "always_off": "always_off", "traceidratio": "traceidratio"}
    root = roots.get(name.removeprefix("parentbased_")) if name else "always_on"
    if root is None:
        asked.warn(
            "OTEL_TRACES_SAMPLER",
            f"is none of {', '.join(roots)}, each also with parentbased_: every request is traced",
        )
        return Sampling()
    ratio = 1.0
    if root == "traceidratio" and (given := asked.text("OTEL_TRACES_SAMPLER_ARG")):
        try:
            ratio = float(given)
        except ValueError:
            ratio = -1.0
        if not 0 <= ratio <= 1:
            asked.warn("OTEL_TRACES_SAMPLER_ARG", "is no ratio from 0 to 1: every request is traced")
            ratio = 1.0
    return Sampling(root, not name or name.startswith("parentbased_"), ratio)
