"""The views of the live page as a person meets them, over processes that are in trouble. Each is audited with what it shows then: contrast in
the light and in the dark, names for who hears it, no scrolling sideways on a telephone. What is seen is kept as pictures in build/screenshots.
"""

import re
import subprocess
import time

import pytest

from pellucid.kernel import bpf
from tests.ui.conftest import AXE, TARGETS, harmless, text


def test_who_needs_somebody_stands_on_top_in_a_sentence_with_the_way_to_it(open_web, shown, audit):
    page = open_web(shown.address("deadlock", "now"))  # the walk over all may take its time on a crowded machine
    assert shown.web.token not in page.url, "the token does not stay in the address"
    page.locator(".finding", has_text="Deadlock: pay-1 and pay-2").wait_for()
    page.keyboard.press("Escape")
    mine = page.locator(
        f"#needy-heading ~ .findings .finding:has(a[href='#/p/{shown.pids['deadlock']}/now'])",
        has_text="Deadlock: pay-1 and pay-2 wait for each other",
    )
    mine.wait_for()
    assert "Neither can ever go on" in mine.inner_text()
    mine.locator("summary").click()
    assert f"pellucid waits {shown.pids['deadlock']}" in mine.inner_text()
    assert re.search(r"\d+ of \d+ Python process(es)? looked at", text(page))
    row = page.locator(f"#processes tbody tr[data-key='{shown.pids['deadlock']}']")
    row.filter(has_text="stuck or failing").filter(has_text="asleep in futex").wait_for()
    page.fill("#filter", str(shown.pids["deadlock"]))  # an audit looks at each row, and other tests have many processes
    audit(page, "list")
    mine.locator("text=who waits").click()
    assert page.url.endswith(f"#/p/{shown.pids['deadlock']}/waits")


def test_waits_are_drawn_and_stand_in_a_table_as_well(open_web, shown, audit):
    page = open_web(shown.address("deadlock", "waits"))
    page.locator("svg.graph g.stuck").nth(1).wait_for()
    told = page.get_attribute("svg.graph", "aria-label")
    assert "pay-1 waits for Lock" in told
    assert "which pay-2 has or owes" in told
    assert page.locator("svg.graph g.stuck").count() == 2
    page.locator("table tbody tr", has_text="the end of thread pay-1").wait_for()
    rows = page.locator("table tbody tr").all_inner_texts()
    assert len([row for row in rows if "can never go on" in row]) == 2
    assert "pellucid waits" in text(page)
    audit(page, "waits")


def test_equal_stacks_are_one_group_with_what_it_waits_for(open_web, shown, audit):
    page = open_web(shown.address("deadlock", "now"))
    group = page.locator(".group", has_text="pay-1, pay-2").filter(has_text="waits for Lock")
    group.wait_for()
    assert "×2" in group.inner_text()
    line = (TARGETS / "waiting.py").read_text().splitlines().index("        with other._lock:") + 1
    assert f"waiting.py:{line}" in group.inner_text()
    assert "frames of libraries" in group.inner_text()
    page.wait_for_selector("text=Nothing is missing from this look")
    page.click("[data-action=why]")
    page.wait_for_selector("text=What two seconds showed")
    audit(page, "now")


def test_the_tasks_of_a_loop_stand_below_its_threads(open_web, shown, audit):
    page = open_web(shown.address("tasks", "now"))
    page.click("summary >> text=asyncio tasks")
    task = page.locator(".tasks li", has_text="waits for asyncio.Lock").filter(has=page.get_by_text("AB", exact=True))
    task.wait_for()
    assert "held by BA" in task.inner_text()
    assert "user" in task.inner_text()
    audit(page, "tasks")


def test_a_dump_of_a_jvm_says_who_holds_most_and_two_say_what_changed(open_web, shown, audit, java):
    with java("MemLeak", "20000") as leaking:
        page = open_web(f"{shown.web.base}/#/p/{leaking.pid}/memory")
        page.locator("svg.chart").first.wait_for()
        page.wait_for_selector("text=Pauses it: the JVM counts its own objects")
        page.click("[data-action=dump]")
        page.locator(".finding", has_text="20,000 of its keys are MemLeak").wait_for()
        page.click("[data-action=dump]")
        page.click("text=What has changed since then?")
        page.wait_for_selector("text=What became more or fewer")
        with page.expect_download() as download:
            page.locator("a", has_text="the snapshot").first.click()
        assert download.value.suggested_filename == f"pid-{leaking.pid}.hprof"
        page.wait_for_selector("text=/Capacity: eden .*old/")
        audit(page, "jvm")


def test_time_is_recorded_shown_and_compared(open_web, shown, audit):
    page = open_web(shown.address("spin", "time"))
    page.wait_for_selector("text=Nothing was recorded yet")
    page.select_option("#time-seconds", "5")
    for many in (
        1,
        2,
    ):  # to their ends: one that is stopped before it has begun, on a crowded machine, has nothing to keep
        page.click("[data-action=profile]")
        page.locator("[data-key=recordings] tbody tr").nth(many - 1).wait_for()
    assert "Does not pause it" in text(page)
    flame = page.frame_locator("iframe")
    flame.locator("#table >> text=hot").first.wait_for()
    assert "samples at 100 Hz were taken" in flame.locator("#facts").inner_text()
    audit(page, "time")
    page.click("text=Compare with what is shown")
    flame.locator("text=Own, change").wait_for()
    page.goto(f"{shown.web.base}/#/")
    page.goto(shown.address("spin", "time"))
    page.wait_for_selector("[data-key=recordings]")
    with page.expect_download() as download:
        page.locator("a", has_text="speedscope").first.click()
    assert download.value.suggested_filename == f"pid-{shown.pids['spin']}.speedscope.json"


def test_memory_is_drawn_over_time_and_its_objects_are_counted(open_web, shown, audit):
    page = open_web(shown.address("deadlock", "memory"))
    page.locator("svg.chart").nth(1).wait_for()
    assert "Objects that the collector tracks, by generation, now: young" in page.locator("svg.chart").nth(
        1
    ).get_attribute("aria-label")
    page.locator("figure summary").first.click()
    assert page.locator("figure table tbody tr").count() >= 2
    page.click("[data-action=memory]")
    page.wait_for_selector("text=Python objects, up to 512 bytes each")
    assert "Pauses it: stands still while its memory is copied" in text(page)
    page.click("[data-action=heap]")
    page.wait_for_selector("text=Objects by type")
    assert re.search(r"It stood still for \d+ ms", text(page))
    page.check("#heap-still")
    page.click("[data-action=heap]")
    page.wait_for_selector("text=It was not paused")
    page.click("text=What has changed since then?")
    page.wait_for_selector("text=What became more or fewer")
    audit(page, "memory")


def test_the_past_is_recorded_and_can_be_gone_through(open_web, shown, audit):
    page = open_web(shown.address("deadlock", "history"))
    page.wait_for_selector("text=No recording in")
    page.click("[data-action=record]")
    page.wait_for_selector("text=/It runs, for/")
    group = page.locator("section[data-key=moment] .group", has_text="pay-1, pay-2")
    limit = time.monotonic() + 90.0
    while not shown.recorded_s("deadlock") > 3.0:
        assert time.monotonic() < limit, "the recorder writes nothing down"
        time.sleep(0.5)
    page.click("text=Stop and keep what it has")
    page.wait_for_selector("text=/It runs, for/", state="detached")
    group.wait_for()
    page.click("section[data-key=moment] >> text=Waits")
    page.locator("section[data-key=moment] svg.graph g.stuck").nth(1).wait_for()
    page.click("section[data-key=moment] >> text=Files & sockets")
    page.locator("section[data-key=moment] table").or_(page.get_by_text("had not been read by then")).first.wait_for()
    page.click("section[data-key=moment] >> text=Now")
    before = page.inner_text("#moment-heading")
    page.focus("#moment")
    page.keyboard.press("Home")
    page.wait_for_function("before => document.getElementById('moment-heading').innerText !== before", arg=before)
    assert re.search(r"The recorder took \d+\.\d\d % of a core", text(page))
    audit(page, "history")


def test_what_is_printed_is_captured_and_is_text(open_web, shown, audit):
    try:
        bpf.Map(bpf.ARRAY, 4, 4, 1).close()
    except OSError:
        pytest.skip("BPF programs may not be loaded here (root or CAP_BPF)")
    page = open_web()
    page.goto(shown.address("hostile", "output"))
    page.select_option("#output-seconds", "300")
    page.click("[data-action=output]")
    page.locator("pre", has_text=re.compile(r"stderr: line \d+ <img src=x")).wait_for()
    harmless(page)
    audit(page, "output")
    page.click("text=Stop and keep what it has")
    page.wait_for_selector("text=Ended at")


def test_a_file_and_a_pipe_say_what_they_are(open_web, shown, audit):
    page = open_web(shown.address("hostile", "files"))
    page.wait_for_selector("text=open descriptors")
    assert "\\x1b[31mred" in text(page)
    assert "O_WRONLY" in text(page)
    assert "pipe:[" in text(page)
    audit(page, "files")


def test_the_environment_hides_what_looks_like_a_secret(open_web, shown, audit):
    page = open_web(shown.address("deadlock", "environment"))
    row = page.locator("table tbody tr").filter(has=page.get_by_text("PELLUCID_TEST_PASSWORD", exact=True))
    row.filter(has_text="(hidden)").wait_for()
    assert "working directory" in text(page)
    audit(page, "environment")


def test_a_model_server_tells_of_its_requests_workers_and_incidents(open_web, shown, audit):
    page = open_web(f"{shown.web.base}/#/serving")
    worker = page.locator(f"a[href='#/p/{shown.pids['serving']}/now']")
    server = page.locator("#main section section").filter(has=worker)
    server.locator("svg.chart").first.wait_for()  # from its third answer on
    told = server.inner_text()
    assert re.search(r"99 of 100 (more than a minute|within 10 ms)", told)
    assert "7 predictions of the stored sample, which are in none of these numbers" in told
    assert "worker 2 (pid 41) has been in request r-2-1" in told
    assert "another worker took its place" in told
    assert server.locator("a[href='#/p/41/history']").count() == 1
    assert "its process is not known" in told
    harmless(page)
    audit(page, "serving")


def test_of_a_program_of_another_kind_it_says_what_can_be_seen(open_web, shown, audit):
    with subprocess.Popen(["sleep", "600"]) as other:
        page = open_web(f"{shown.web.base}/#/p/{other.pid}/now")
        page.locator(".group", has_text="runs no code that we can read").wait_for()
        audit(page, "other")
        page.goto(f"{shown.web.base}/#/p/{other.pid}/time")
        page.wait_for_selector("text=As far as can be seen this one is neither")
        page.goto(f"{shown.web.base}/#/p/{other.pid}/memory")
        page.wait_for_selector("text=A collector, and the objects of a heap, can be seen of Python processes and JVMs")
        assert page.locator("[data-action=heap]").count() == 0
        page.locator("svg.chart").wait_for()
        other.kill()
        other.wait()
        page.wait_for_selector("text=there is no such process any more")


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: run scripts/install_test_tools.sh")
def test_the_audit_finds_what_is_wrong(open_web, shown, audit):
    page = open_web(f"{shown.web.base}/#/p/4194303/time")
    picture = "<img src='/page/icon.svg'>"
    page.evaluate("picture => document.getElementById('host').insertAdjacentHTML('afterend', picture)", picture)
    with pytest.raises(AssertionError, match="image-alt"):
        audit(page, "spoilt")
