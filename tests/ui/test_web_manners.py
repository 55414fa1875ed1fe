"""The manners of the live page: the keyboard, news that disturb nobody, a server that goes and comes back, a tab that nobody sees, names that would do harm."""

import subprocess
import sys

from tests.ui.conftest import MINE, SOON, TARGETS, harmless, text
from tests.web import Web


def test_the_list_can_be_filtered_and_sorted(open_web, shown):
    page = open_web()
    page.locator("#processes").wait_for()
    page.keyboard.press("/")
    page.keyboard.type(MINE)
    page.wait_for_function("document.querySelectorAll('#processes tbody tr').length === 1")
    page.locator(f"#processes tbody tr[data-key='{shown.pids['spin']}']", has_text="running").wait_for()
    page.keyboard.press("Escape")
    page.select_option("#kind", "all")
    page.click("th >> text=pid")
    shown_pids = [
        int(key) for key in page.eval_on_selector_all("#processes tbody tr", "rows => rows.map(row => row.dataset.key)")
    ]
    assert shown_pids == sorted(shown_pids)
    assert page.get_attribute("th >> nth=0", "aria-sort") == "ascending"
    page.fill("#filter", "nothing-is-called-this")
    page.wait_for_selector("text=No process has")


def test_the_keyboard_alone_goes_everywhere(open_web, shown):
    page = open_web(shown.address("deadlock", "now"))
    page.locator(".group").first.wait_for()
    page.keyboard.press("2")
    page.locator("svg.graph").wait_for()
    assert page.get_attribute("#views a >> nth=1", "aria-current") == "page"
    page.keyboard.press("Escape")
    page.locator("#processes").wait_for()
    page.keyboard.press("/")
    page.keyboard.type(MINE)
    page.locator(f"#processes tbody tr[data-key='{shown.pids['spin']}']").wait_for()
    page.focus(f"#processes tbody tr[data-key='{shown.pids['spin']}'] a")
    for _ in range(2):  # pieces of news
        news = page.evaluate("import('/page/main.js').then(page => page.known.at)")
        page.wait_for_function("before => import('/page/main.js').then(page => page.known.at > before)", arg=news)
    assert page.evaluate("document.activeElement.closest('tr')?.dataset.key") == str(shown.pids["spin"]), (
        "news keep the focus"
    )
    page.keyboard.press("Enter")
    page.wait_for_selector(f"h2 >> text=pid {shown.pids['spin']}")
    page.keyboard.press("?")
    assert page.is_visible("#keys dl")


def test_names_that_would_do_harm_are_text_in_every_view(open_web, shown):
    page = open_web(shown.address("hostile", "now"))
    page.locator(".group").first.wait_for()
    for view, mark in (
        ("now", "account_lock"),
        ("waits", "account_lock"),
        ("files", "descriptors"),
        ("environment", "variables"),
    ):
        page.goto(shown.address("hostile", view))
        page.wait_for_selector(f"main >> text={mark}")
        harmless(page)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 1280, view
    page.locator("summary", has_text="(all 4,").wait_for()  # no name takes the whole page
    assert "ÿ" not in text(page)
    page.goto(f"{shown.web.base}/#/")
    page.locator(f"#processes tbody tr[data-key='{shown.pids['hostile']}']").wait_for()
    harmless(page)


def test_a_process_that_is_not_there_says_so(open_web, shown):
    page = open_web(f"{shown.web.base}/#/p/4194303/now")
    page.wait_for_selector("text=there is no such process any more")
    page.wait_for_selector("text=there is no process with pid 4194303")


KEYS = "() => [...document.querySelectorAll('#processes tbody tr')].map(row => row.dataset.key)"
MOVED = """() => import('/page/main.js').then(page => {
    document.querySelector('#processes tbody tr').dispatchEvent(new PointerEvent('pointermove', {bubbles: true, pointerType: 'mouse'}));
    page.draw();
    return [...document.querySelectorAll('#processes tbody tr')].map(row => row.dataset.key);
})"""


def test_no_row_comes_or_goes_under_the_mouse_and_who_moves_keeps_the_focus(open_web, shown):
    page = open_web()
    page.fill("#filter", MINE)
    old = str(shown.pids["spin"])
    page.locator(f"#processes tbody tr[data-key='{old}']").wait_for()
    page.click("th >> text=pid")
    assert page.evaluate(MOVED) == [old]
    with subprocess.Popen([sys.executable, TARGETS / "states.py", "lock", MINE], stdout=subprocess.PIPE) as other:
        new = str(other.pid)
        page.wait_for_function("pid => import('/page/main.js').then(page => page.known.rows.has(pid))", arg=other.pid)
        if page.evaluate(KEYS) == [old]:  # on a crowded machine it may have come before the mouse did
            assert page.evaluate(MOVED) == [old], "somebody aims at a row"
        page.focus(f"#processes tbody tr[data-key='{old}'] a")
        page.locator(f"#processes tbody tr[data-key='{new}']").wait_for()
        order = sorted((old, new), key=int)
        assert page.evaluate(KEYS) == order
        page.evaluate("() => import('/page/main.js').then(page => { page.known.down = true; page.draw(); })")
        assert page.evaluate(KEYS) == order[::-1]
        assert page.evaluate("() => document.activeElement.closest('tr')?.dataset.key") == old
        assert page.evaluate(MOVED) == order[::-1]
        other.kill()
    page.wait_for_function("pid => import('/page/main.js').then(page => !page.known.rows.has(pid))", arg=int(new))
    page.wait_for_function("() => document.querySelectorAll('#processes tbody tr').length === 1")


def test_text_that_is_marked_stays_marked(open_web, shown):
    page = open_web(shown.address("deadlock", "now"))
    page.locator(".finding", has_text="Neither can ever go on").first.wait_for()
    page.locator(".group").first.wait_for()  # the closer look has come
    marked, after, at_last = page.evaluate("""() => import('/page/main.js').then(page => {
        const finding = page.known.deep.findings[0], selection = getSelection(), shown = document.querySelector('.finding p:nth-child(2)');
        selection.selectAllChildren(shown);
        const marked = String(selection);
        page.known.deep = {...page.known.deep, taken_at: Date.now() / 1000 + 60, findings: [{...finding, sentence: 'something else'}]};
        page.draw();
        const after = String(selection);
        selection.removeAllRanges();
        page.draw();
        return [marked, after, shown.textContent];
    })""")
    assert "Neither can ever go on" in marked
    assert after == marked
    assert at_last == "something else"


def test_a_tab_that_nobody_sees_is_told_nothing(open_web):
    page = open_web()
    page.locator("#processes").wait_for()
    hide = "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true}); document.dispatchEvent(new Event('visibilitychange')); }"
    with page.expect_event("requestfailed", lambda asked: "/api/live" in asked.url):
        page.evaluate(hide, True)
    assert page.locator("#processes tbody tr").count()
    with page.expect_request(lambda asked: "/api/live" in asked.url):
        page.evaluate(hide, False)
    before = page.evaluate("() => import('/page/main.js').then(page => page.known.at)")
    page.wait_for_function("before => import('/page/main.js').then(page => page.known.at > before)", arg=before)


def test_a_server_that_ends_and_comes_back_is_told_of(browser):
    context = browser.new_context()
    context.set_default_timeout(SOON)
    page = context.new_page()
    with Web() as first:
        page.goto(first.url)
        page.locator("#processes").wait_for()
    page.wait_for_selector("#count >> text=No connection to pellucid")
    assert page.locator("#processes tbody tr").count(), "what was known stays, and says of when it is"
    with Web("--port", str(first.port)) as second:
        page.wait_for_selector("#count >> text=open the address that it has printed")
        other = context.new_page()
        other.goto(second.url)
        other.locator("#processes").wait_for()
        page.wait_for_function("() => !document.getElementById('count').classList.contains('failing')")
        context.close()
