"""speedscope itself opens what we write, in five formats' clothes: its page is driven as its users drive it."""

import base64
import json
from pathlib import Path

import pytest

from pellucid.export.profiles import encode
from tests.unit.export.build import ordinary

RELEASE = Path(__file__).parents[1] / "viewers/node_modules/speedscope/dist/release"
pytestmark = pytest.mark.skipif(
    not RELEASE.is_dir(), reason="speedscope is not installed: run scripts/install_test_tools.sh"
)


@pytest.mark.parametrize(
    ("name", "file", "said"),
    [
        ("speedscope", "a.speedscope.json", "Importing as speedscope json file"),
        ("pprof", "a.pb.gz", "Importing as protobuf encoded pprof file"),
        ("collapsed", "a.collapsed", "Importing as collapsed stack format"),
        ("chrome", "a.trace.json", "Importing as Trace Event Format profile"),
    ],
)
def test_speedscope_opens_it(browser, tmp_path, name, file, said):
    content = base64.b64encode(encode(ordinary(), name)).decode()
    (tmp_path / "load.js").write_text(f"speedscope.loadFileFromBase64({json.dumps(file)}, {json.dumps(content)})")
    page = browser.new_page()
    heard = []
    page.on("console", lambda told: heard.append(told.text))
    page.on("pageerror", lambda error: heard.append(f"error: {error}"))
    page.goto(f"{(RELEASE / 'index.html').as_uri()}#localProfilePath={tmp_path / 'load.js'}")
    page.wait_for_selector("text=Time Order", timeout=20_000)
    page.close()
    assert said in heard
    assert not [one for one in heard if "error" in one.lower() or "tried to end" in one.lower()]
