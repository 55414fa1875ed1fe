"""GET /docs: one page about the model that is served, with a form that sends a request. It asks nobody but this server for anything."""

import html
from typing import Any

import msgspec

from pellucid.serve.manifest import Manifest

CONTENT_SECURITY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; background: #fff }}
table {{ border-collapse: collapse; width: 100% }} th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ccc }}
textarea, pre {{ width: 100%; box-sizing: border-box; font: 14px/1.4 ui-monospace, monospace; overflow: auto }}
pre {{ background: #f3f3f3; padding: .6rem; min-height: 2rem }} code {{ background: #f3f3f3 }}
button, input, select {{ font: inherit; padding: .3rem .8rem }} label {{ margin-right: 1rem }}
@media (prefers-color-scheme: dark) {{ body {{ color: #e6e6e6; background: #161616 }} pre, code {{ background: #2a2a2a }}
textarea, input, select {{ color: inherit; background: #222 }} }}
</style></head><body>
<h1>{title}</h1>
<p>{metrics}</p>
<h2>Columns of a record</h2>
<table><thead><tr><th>column</th><th>takes</th></tr></thead><tbody>{columns}</tbody></table>
<h2>Ask for predictions</h2>
<form id="ask"><p><label>API key, where one is needed: <input id="key" type="password" autocomplete="off"></label></p>
<p><textarea id="body" rows="16" spellcheck="false" aria-label="request body">{example}</textarea></p>
<p><button>POST /predict</button></p></form>
<pre id="answer" aria-live="polite">The answer will stand here.</pre>
<h2>The same from a shell</h2>
<pre id="curl"></pre>
<h2>All paths</h2>
<table><tbody>{paths}</tbody></table>
<p><a href="openapi.json">openapi.json</a> describes them for programs (OpenAPI 3.1).</p>
<script>
const place = new URL("predict", location.href).href, answer = document.getElementById("answer");
const first = JSON.stringify(JSON.parse(document.getElementById("body").value).slice(0, 1)).replaceAll("'", "'\\\\''");
document.getElementById("curl").textContent = `curl ${{place}} -H 'content-type: application/json' -d '${{first}}'`;
document.getElementById("ask").addEventListener("submit", async event => {{
  event.preventDefault();
  const headers = {{"content-type": "application/json"}}, key = document.getElementById("key").value, began = performance.now();
  if (key) headers.authorization = `Bearer ${{key}}`;
  try {{
    const reply = await fetch(place, {{method: "POST", headers, body: document.getElementById("body").value}});
    const text = await reply.text(), took = (performance.now() - began).toFixed(1);
    let shown = text;
    try {{ shown = JSON.stringify(JSON.parse(text), null, 1); }} catch {{ }}
    answer.textContent = `${{reply.status}} ${{reply.statusText}}, ${{took}} ms\\n${{shown}}`;
  }} catch (error) {{ answer.textContent = `no answer: ${{error}}`; }}
}});
</script></body></html>
"""


def page(manifest: Manifest, example: list[dict[str, Any]], description: dict[str, Any]) -> bytes:
    """The whole page. `description` is its OpenAPI document."""
    metrics = ", ".join(f"{name} {value:g}" for name, value in manifest.metrics.items())
    columns = [(column.name, column.wants()) for column in manifest.signature.columns]
    if manifest.signature.id_column is not None:
        columns.insert(
            0, (manifest.signature.id_column, "an id, which comes back with the prediction; may be left out")
        )
    paths = [
        (f"{method.upper()} {path}", operation["summary"])
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    return _PAGE.format(
        title=html.escape(f"{manifest.name}, version {manifest.version}"),
        metrics=html.escape(
            f"Predicts {manifest.signature.target}. Metrics on held-out rows: {metrics or 'none are stored'}."
        ),
        columns=_rows(columns),
        example=html.escape(msgspec.json.format(msgspec.json.encode(example), indent=1).decode()),
        paths=_rows(paths),
    ).encode()


def _rows(rows: list[tuple[str, str]]) -> str:
    return "".join(
        f"<tr><td><code>{html.escape(one)}</code></td><td>{html.escape(other)}</td></tr>" for one, other in rows
    )
