"""One headless Chromium for the tests of a file; each test gets a page that can reach nothing but files."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")  # not of the session: while it is open, no other test can run an event loop
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no chromium: run scripts/install_test_tools.sh")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """`open_page(content, **options)` → a page that shows it. What it complains about or asks the network for fails the test."""
    opened, complaints = [], []

    def start(content: bytes, **options):
        file = tmp_path / f"{len(opened)}.html"
        file.write_bytes(content)
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: None if asked.url == file.as_uri() else complaints.append(asked.url))
        page.goto(file.as_uri())
        opened.append(context)
        return page

    yield start
    for context in opened:
        context.close()
    assert not complaints
