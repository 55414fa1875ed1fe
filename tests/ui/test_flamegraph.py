"""The flame graph as a person meets it: with a mouse, with the keyboard alone, on a telephone, in the dark, by the table alone."""

import re
from pathlib import Path

import msgspec
import pytest

from pellucid.export import flamegraph
from pellucid.model.profile import Run
from tests.unit.export.build import HOSTILE, MS, empty, hostile, ordinary, recursion

ROW = 20
AXE = Path(__file__).parents[1] / "viewers/node_modules/axe-core/axe.min.js"


def cells(page):
    return page.eval_on_selector_all(
        "#table tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.firstChild.textContent))"
    )


def selected(page):
    return page.inner_text("#selected").splitlines()


def pixel(page, x, y):
    """The colour of the canvas at a point, in CSS pixels."""
    return page.evaluate(
        """([x, y]) => [...document.getElementById('canvas').getContext('2d').getImageData(x * devicePixelRatio, y * devicePixelRatio, 1, 1).data]""",
        [x, y],
    )


def test_what_was_measured_and_what_was_not_stand_above_the_picture(open_page):
    page = open_page(flamegraph.encode(ordinary()))
    assert page.title() == "python app/main.py - pellucid"
    facts = page.inner_text("#facts")
    assert "97 of 100 samples at 100 Hz were taken" in facts
    assert "2 came too late" in facts
    assert "the sampler took 1.0 % of a CPU" in facts
    page.click("#gaps summary")
    assert "pid 411: it ended before it could be read" in page.inner_text("#gaps")


def test_the_table_has_the_same_numbers_and_can_be_sorted(open_page):
    page = open_page(flamegraph.encode(ordinary()))
    assert cells(page)[:3] == [
        ["Event.wait", "48.8 % · 1.00 s", "48.8 % · 1.00 s"],
        ["parse", "29.3 % · 600.0 ms", "29.3 % · 600.0 ms"],
        ["render", "14.1 % · 290.0 ms", "14.1 % · 290.0 ms"],
    ]
    assert "mostly in line 99, 101" in page.inner_text("#table")
    page.click("th >> text=Total")
    assert page.get_attribute("th >> nth=2", "aria-sort") == "descending"
    assert [row[2].partition(" ")[0] for row in cells(page)][:4] == ["48.8", "48.8", "43.9", "29.3"]
    page.keyboard.press("Enter")  # the button kept the focus
    assert page.get_attribute("th >> nth=2", "aria-sort") == "ascending"
    assert cells(page)[0][0] == "(moving)"


def test_states_threads_lines_and_direction_can_be_chosen(open_page):
    page = open_page(flamegraph.encode(ordinary()))
    page.uncheck("text=waiting (49 %)")
    assert "Event.wait" not in [row[0] for row in cells(page)]
    assert cells(page)[0] == ["parse", "57.1 % · 600.0 ms", "57.1 % · 600.0 ms"]
    page.select_option("#track", label="child 410: MainThread (410)")
    assert [row[0] for row in cells(page)] == ["(no Python)"]
    page.select_option("#track", label="app 400: MainThread (400)")
    page.check("#lines")
    assert [row[0] for row in cells(page)].count("render") == 2
    page.uncheck("#lines")
    page.check("#inverted")
    page.focus("#canvas")
    page.keyboard.press("ArrowDown")
    assert selected(page)[0] == "parse", "where the time was spent is on top now"
    page.keyboard.press("ArrowDown")
    assert selected(page)[0] == "Job.work"
    assert "100 % of its callee parse" in selected(page)[2]


def test_the_keyboard_alone_goes_everywhere(open_page):
    page = open_page(flamegraph.encode(ordinary()))
    page.focus("#canvas")
    for key in ("ArrowDown", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    assert selected(page)[:2] == ["parse", "/srv/app/parsing.py"]
    assert "total 29.3 % (600.0 ms), own 29.3 %, 67 % of its caller Job.work" in selected(page)[2]
    page.keyboard.press("ArrowRight")
    assert selected(page)[0] == "render"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert re.sub(r"\s+", " ", page.inner_text("#trail")) == "all <module> Job.work"
    page.keyboard.press("ArrowUp")
    assert selected(page)[0] == "Job.work", "not out of what is zoomed into"
    page.keyboard.press("Escape")
    assert re.sub(r"\s+", " ", page.inner_text("#trail")) == "all <module>"
    page.keyboard.press("0")
    assert page.is_hidden("#trail")
    page.keyboard.press("?")
    assert page.is_visible("#help dl")


def test_search_counts_each_moment_once_and_goes_through_what_it_found(open_page):
    page = open_page(flamegraph.encode(ordinary()))
    page.focus("#canvas")
    page.keyboard.press("/")
    page.keyboard.type("MAIN.PY")
    assert "2 functions in 2 places, 48.8 % of the time" in page.inner_text("#found")
    assert [row[0] for row in cells(page)] == ["<module>", "Job.work"]
    page.keyboard.press("Enter")
    assert selected(page)[0] == "<module>"
    page.focus("#canvas")
    page.keyboard.press("n")
    assert selected(page)[0] == "Job.work"
    page.fill("#search", "nowhere")
    assert "Nothing has this" in page.inner_text("#found")
    page.focus("#search")
    page.keyboard.press("Escape")
    assert page.inner_text("#found") == ""


def test_a_click_zooms_and_the_picture_shows_it(open_page):
    page = open_page(flamegraph.encode(ordinary()))
    width = page.evaluate("document.getElementById('flame').clientWidth")
    beside = pixel(page, width - 100, 3 * ROW + 10)
    page.click("#canvas", position={"x": 100, "y": 3 * ROW + 10})
    assert selected(page)[0] == "parse"
    assert pixel(page, width - 100, 3 * ROW + 4) != beside, "parse has the whole width now"
    page.click("#trail >> text=all")
    assert pixel(page, width - 100, 3 * ROW + 10) == beside


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_themes(open_page, scheme):
    """WCAG 2.2, 1.4.3: a contrast of 4.5 to 1, of what is drawn and of what is written."""
    page = open_page(flamegraph.encode(ordinary()), color_scheme=scheme)

    def luminance(colour):
        linear = [
            one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in (c / 255 for c in colour)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one, other):
        light, dark = sorted((luminance(one), luminance(other)), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    def rgb(name):
        text = page.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('--{name}').trim()")
        return [int(text[at : at + 2], 16) for at in (1, 3, 5)]

    text = rgb("frame-text")
    light = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--frame-light').trim()")
    hues = page.evaluate(
        """light => [...Array(360).keys()].map(hue => { const pen = document.createElement('canvas').getContext('2d');
            pen.fillStyle = `hsl(${hue} 62% ${light})`; pen.fillRect(0, 0, 1, 1); return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3); })""",
        light,
    )
    assert min(contrast(text, hue) for hue in hues) >= 4.5
    for back in ("library", "other", "found"):
        assert contrast(text, rgb(back)) >= 4.5, back
    for front in ("text", "faint", "accent", "focus"):
        assert contrast(rgb(front), rgb("page")) >= 4.5, front
        assert contrast(rgb(front), rgb("panel")) >= 4.5, front
    assert (luminance(pixel(page, 700, 3 * ROW + 10)[:3]) < 0.5) == (scheme == "dark"), "the canvas follows the theme"
    page.click("#theme")
    page.click("#theme")
    assert page.inner_text("#theme") == "Theme: dark"
    assert luminance(pixel(page, 700, 3 * ROW + 10)[:3]) < 0.5


def test_a_telephone_shows_all_of_it_without_scrolling_sideways(open_page):
    page = open_page(flamegraph.encode(ordinary()), viewport={"width": 360, "height": 740}, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.tap("#canvas", position={"x": 50, "y": 3 * ROW + 10})
    assert selected(page)[0] == "parse"


def test_names_that_would_do_harm_are_text(open_page):
    page = open_page(flamegraph.encode(hostile()))
    assert page.title().startswith("</script><img src=x"), "owned"
    assert page.query_selector("img") is None
    shown = page.inner_text("body")
    assert "\\x1b[31mred" in shown
    assert not set(shown) & set("\x1b\u202e"), HOSTILE
    assert "{title}" in shown, "what looks like a part of the page is none"


def test_an_empty_profile_says_why_it_is_empty(open_page):
    page = open_page(flamegraph.encode(empty()))
    assert page.inner_text("#selected") == "Nothing to show: all threads: none of them had the GIL"


def test_a_recursion_of_twenty_thousand_calls_can_be_walked_and_counts_once(open_page):
    page = open_page(flamegraph.encode(recursion()))
    assert cells(page) == [["deeper", "100.0 % · 10.0 ms", "100.0 % · 10.0 ms"]]
    page.evaluate("document.getElementById('flame').scrollTop = 15000 * 20")
    page.wait_for_timeout(50)
    before = pixel(page, 10, 2)
    assert before != pixel(open_page(flamegraph.encode(empty())), 10, 2 + ROW), "what is in sight is drawn"
    page.click("#canvas", position={"x": 100, "y": 50})
    assert "100 % of its caller deeper" in selected(page)[2]


def test_a_comparison_is_told_in_words_and_signs_as_well_as_in_colours(open_page):
    before = ordinary()
    main, *others = before.tracks
    faster = msgspec.structs.replace(main, runs=(Run(0, 2, 20, 200 * MS, "running"), *main.runs[2:]))
    after = msgspec.structs.replace(before, tracks=(faster, *others), command="python app/main.py --fast")
    page = open_page(flamegraph.encode_diff(before, after))
    assert page.title() == "python app/main.py → python app/main.py --fast - pellucid"
    assert "Red calls take a larger share" in page.inner_text("#legend")
    heads = page.eval_on_selector_all("th", "all => all.map(one => one.textContent)")
    assert heads == ["Function", "Own", "Total", "Own, change ▾", "Total, change"]
    first = cells(page)[0]
    assert first == ["parse", "12.1 % · 200.0 ms", "12.1 % · 200.0 ms", "−17.1 points", "−17.1 points"]
    page.click("#table >> text=parse")
    assert "−17.1 points since the earlier profile" in page.inner_text("#selected")


def test_a_function_that_is_gone_is_still_in_the_table(open_page):
    before = ordinary()
    main, *others = before.tracks
    after = msgspec.structs.replace(before, tracks=(msgspec.structs.replace(main, runs=main.runs[2:]), *others))
    page = open_page(flamegraph.encode_diff(before, after))
    assert ["parse", "0.0 % · 0 µs", "0.0 % · 0 µs", "−29.3 points", "−29.3 points"] in cells(page)


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: run scripts/install_test_tools.sh")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_audit_of_accessibility_finds_nothing(open_page, scheme):
    for content in (flamegraph.encode(ordinary()), flamegraph.encode_diff(ordinary(), ordinary())):
        page = open_page(content, color_scheme=scheme, bypass_csp=True)
        page.evaluate(AXE.read_text())
        found = page.evaluate("axe.run()")
        assert [(one["id"], one["nodes"][0]["target"]) for one in found["violations"]] == []
        assert len(found["passes"]) > 30
