"""A model that a server serves: what it takes, an example, and predictions, all asked over HTTP. Nothing of it need be stored here."""

import json
import os
import ssl
import urllib.error
import urllib.request
from typing import Any

from pellucid.model.errors import UsageError, os_words
from pellucid.serve.callable_names import is_callable, plain
from pellucid.serve.signature import Column, Kind, Signature

ANSWER_S = 60.0
KEY = "PELLUCID_API_KEY"
"""Where the API key stands: others see the command line of a process, and not its environment."""
_KINDS: dict[str, Kind] = {"number": "number", "integer": "whole", "string": "text", "boolean": "boolean"}


class Served:
    """The model `name` at `url`. UsageError where nobody answers there, not as our server does, or another model is served."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url.rstrip("/")
        self._name = _model(name)

    def example(self) -> list[dict[str, Any]]:
        """Records of the stored sample, which the server's description has."""
        described = self._asked("/openapi.json")
        try:
            found = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
        except (KeyError, TypeError):
            found = None
        if not found:
            raise UsageError(
                tried=f"ask {self.url} for example records",
                said="its description has none",
                remedy=f"pellucid predict NAME FILE --url {self.url}",
            )
        return list(found)

    def signature(self) -> Signature:
        """The columns by their names and kinds; without categories, for the server judges those."""
        described = self._asked("/openapi.json")
        try:
            properties = described["components"]["schemas"]["Record"].get("properties", {})
            kinds = {name: _kind(one.get("type")) for name, one in properties.items()}
        except (KeyError, TypeError, AttributeError):
            kinds = {}
        columns = tuple(Column(name, kind, nullable=True) for name, kind in kinds.items() if kind is not None)
        return Signature(columns, None, "")

    def predict(self, found: Any) -> dict[str, Any]:
        """The answer, without keys that the report does not have."""
        told = self._asked("/predict", found)
        try:
            answer = {key: told[key] for key in ("predictions", "model", "version")}
        except (KeyError, TypeError) as error:
            raise self._strange("/predict", f"the answer has no {error}") from error
        if self._name and answer["model"] != self._name:
            raise UsageError(
                tried=f"predict with {self._name} at {self.url}",
                said=f"that server serves {answer['model']} version {answer['version']}",
                remedy=f"pellucid predict {answer['model']} ... --url {self.url}",
            )
        return answer

    def _asked(self, path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, content, {"content-type": "application/json", **_key()})
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            detail = _detail(error.read())
            if isinstance(detail, list):
                raise wrong(detail) from error
            raise UsageError(
                tried=f"ask {self.url}{path}",
                said=f"{error.code} {error.reason}: {detail}",
                remedy=f"export {KEY}=...  (a key of that server)" if error.code == 401 else f"curl {self.url}/healthz",
            ) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            remedy = _NOT_TRUSTED if isinstance(reason, ssl.SSLCertVerificationError) else _NOBODY
            said = os_words(reason) if isinstance(reason, OSError) else str(reason)
            raise self._strange(path, said, remedy) from error

    def _strange(self, path: str, said: str, remedy: str = "") -> UsageError:
        return UsageError(tried=f"ask {self.url}{path}", said=said, remedy=remedy or _NOBODY)


_NOBODY = "pellucid serve NAME  (starts a server)"
_NOT_TRUSTED = "export SSL_CERT_FILE=FILE.pem  (the certificate, or that of who signed it)"


def _key() -> dict[str, str]:
    key = os.environ.get(KEY, "").strip()
    if not key:
        return {}
    if not (key.isascii() and key.isprintable()):
        raise UsageError(
            tried=f"use the API key in ${KEY}",
            said="it has signs that no key has",
            remedy=f"export {KEY}=...  (as pellucid serve --new-key printed it)",
        )
    return {"authorization": f"Bearer {key}"}


def _model(wanted: str) -> str:
    """What the server has to call it; "" where its own name decides: of a file, a place, an MLflow model."""
    if is_callable(wanted):
        return plain(wanted.partition(":")[2])
    name = wanted.partition(":")[0].partition("@")[0]
    return "" if "/" in wanted or "." in name else name


def _kind(told: Any) -> Kind | None:
    """Of a JSON schema's `type`, `["number", "null"]` for one."""
    names = told if isinstance(told, list) else [told]
    kinds = {_KINDS[name] for name in names if name in _KINDS}
    return kinds.pop() if len(kinds) == 1 else None  # an id may be a text or a number: it stays a text


def _detail(body: bytes) -> Any:
    try:
        return json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")


def wrong(problems: list[Any]) -> UsageError:
    """The first fields that are wrong, by their paths."""
    told = [f"{'.'.join(map(str, problem['loc'][1:])) or 'the whole'} {problem['msg']}" for problem in problems[:5]]
    more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
    return UsageError(
        tried="predict these records",
        said="; ".join(told) + more,
        remedy="mend these fields  (pellucid models show NAME lists the columns)",
    )
