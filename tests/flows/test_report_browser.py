"""The page in a real headless Chromium: no error, no network, sorts, filters, and shows what the records hold."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from report_records import DIGITS, LIMITS, failed, grid, realistic, record

from harness import report
from harness.claims import Claim, Compare
from harness.report.build import build
from harness.report.card import card
from harness.report.columns import columns
from harness.report.efficiency import efficiency
from harness.report.to_html import PAGE
from harness.trial import Trial

pytestmark = pytest.mark.browser
QUESTION = "Which recurrent cell, how far back in time, and where to clip?"
CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1400,1000",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def claims(trials: list[Trial]) -> tuple[Claim, ...]:
    """One claim of each verdict, by seeds that do not suffice for more."""
    one, other = ({"cell": c, "task": "digits", "clip_norm": 1.0, "bptt_length": 16} for c in ("gru", "elman"))
    checks = [Compare("parameters", "greater", one, other), Compare("parameters", "less", one, other)]
    checks.append(Compare("score", "better", one, other))
    return tuple(Claim(f"{c.relation} {c.measure}", "a book", tuple(trials), (c,)) for c in checks)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records, trials = realistic()
    made = report.make("quick", QUESTION, records, trials, claims(trials))
    return report.write(made, tmp_path_factory.mktemp("report"))["html"]


@pytest.fixture
def page(browser, written: Path):
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(written.as_uri())
    yield browser
    assert browser.get_log("browser") == []  # no error, no warning, nothing refused by the security policy


def find_all(page, css: str) -> list:
    return page.find_elements("css selector", css)


def cells(page, title: str, table: str = "table-1") -> list[list[str]]:
    """Texts of a column by task, as they stand on the page; hidden rows left out."""
    script = """
    const table = document.getElementById(arguments[1]);
    const titles = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim());
    return [...table.tBodies].map((body) => [...body.querySelectorAll("tr.row")].filter((row) => !row.hidden)
      .map((row) => row.cells[titles.indexOf(arguments[0])].textContent.trim()));"""
    return page.execute_script(script, title, table)


def press(page, title: str) -> str:
    """Press the button in a column's head and return its aria-sort."""
    head = next(h for h in find_all(page, "table.variants thead th") if h.text.replace("\n", " ").strip(" ▴▾") == title)
    head.find_element("css selector", "button").send_keys("\ue007")  # Enter: a keyboard must do
    return head.get_attribute("aria-sort")


def test_the_page_shows_what_the_records_hold(page) -> None:
    records, trials = realistic()
    (table,) = build("quick", QUESTION, records, trials).machines
    for column in columns(table):
        assert cells(page, column.title) == [[column.text(row) for row in group.rows] for group in table.groups]
    for column in card(table):
        shown = [[column.text(row) for row in group.rows] for group in table.groups]
        assert cells(page, column.title, "stability-1") == shown
    rows = "[...document.querySelectorAll('details tbody tr')]"
    listed = page.execute_script(f"return {rows}.map((row) => [0, 4].map((i) => row.cells[i].textContent))")
    assert sorted(map(tuple, listed)) == sorted((r.trial_id, r.status) for r in records)
    assert page.title == "quick" and QUESTION in page.find_element("css selector", "header").text


def test_each_claim_stands_with_its_verdict_and_numbers(page) -> None:
    rows = [row.text for row in find_all(page, ".claims tbody tr")]
    assert [row.split("\n")[0].strip() for row in rows] == [
        "holds greater parameters", "does not hold less parameters", "inconclusive better score",
    ]  # fmt: skip
    assert "better in 3 of 3 seeds (sign test p = 0.12)" in rows[2] and "the same on every seed" in rows[0]
    assert (
        "Of 3 claims 1 holds, 1 does not hold, 1 is inconclusive." in page.find_element("css selector", ".claims").text
    )


def test_nothing_is_fetched_and_no_foreign_script_can_run(page, written: Path) -> None:
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in sent if not url.startswith("data:")] == [written.as_uri()]
    page.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.broken = 1'; document.body.append(s)"
    )
    assert page.execute_script("return window.broken") is None
    (refused,) = page.get_log("browser")
    assert "Content Security Policy" in refused["message"]


def test_sorting_stays_within_a_task_and_goes_up_down_and_back(page) -> None:
    as_written = cells(page, "parameters")
    assert press(page, "parameters") == "ascending"
    up = [[int(text.replace(",", "")) for text in task] for task in cells(page, "parameters")]
    assert up == [sorted(task) for task in up] and [len(task) for task in up] == [14, 4]
    assert cells(page, "cell", "stability-1")[1] != cells(page, "cell")[1]  # each table is sorted by itself
    assert press(page, "parameters") == "descending"
    down = [[int(text.replace(",", "")) for text in task] for task in cells(page, "parameters")]
    assert down == [task[::-1] for task in up]
    assert press(page, "parameters") == "none"
    assert cells(page, "parameters") == as_written
    press(page, "kernel")
    assert press(page, "score") == "ascending"
    states = [head.get_attribute("aria-sort") for head in find_all(page, "table.variants thead th")]
    assert states.count("none") == len(states) - 1


def test_what_is_unknown_sorts_last_and_null_beyond_numbers(page) -> None:
    press(page, "BPTT")
    assert cells(page, "BPTT")[0] == ["16"] * 6 + ["whole"] * 6 + ["–"] * 2  # noqa: RUF001
    press(page, "BPTT")
    assert cells(page, "BPTT")[0] == ["whole"] * 6 + ["16"] * 6 + ["–"] * 2  # noqa: RUF001
    press(page, "score")
    assert cells(page, "score")[0][0].startswith("diverged")  # the worst accuracy
    press(page, "decay/step")
    assert cells(page, "decay/step")[0][-2:] == ["–", "–"]  # noqa: RUF001


def test_filters_narrow_the_table_and_say_how_far(page) -> None:
    from selenium.webdriver.support.select import Select

    words = page.find_element("name", "words")
    words.send_keys("LSTM none")
    assert cells(page, "cell") == cells(page, "cell", "stability-1") == [["lstm", "lstm"], []]
    assert page.find_element("css selector", "output").text == "2 of 18 rows"
    assert not find_all(page, "table.variants tbody")[1].is_displayed()
    page.find_element("css selector", "button[type=reset]").click()
    Select(page.find_element("name", "verdict")).select_by_visible_text("diverged")
    assert cells(page, "cell") == [["elman", "elman"], []]
    Select(page.find_element("name", "task")).select_by_visible_text("adding")
    assert page.find_element("css selector", "output").text == "0 of 18 rows"
    page.find_element("css selector", "button[type=reset]").click()
    page.execute_async_script("setTimeout(arguments[0])")
    assert page.find_element("css selector", "output").text == "18 of 18 rows"
    words.send_keys("\ue007")  # Enter in the only text field would submit the form
    assert page.current_url.endswith("quick.html")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_in_both_themes(page, theme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": theme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    worst = page.execute_script(CONTRAST)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert worst["ratio"] >= 4.5, worst  # WCAG AA


def test_nothing_is_wider_than_a_small_window(page) -> None:
    page.set_window_size(500, 900)
    width, inner = page.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    page.set_window_size(1400, 1000)
    assert width <= inner


def test_a_figure_keeps_its_letters_legible_on_a_telephone(page) -> None:
    """It is scrolled in its card, as tables are; scaled to the window its letters were 6 pixels high."""
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    )
    width, shrunk = page.execute_script(
        """const shares = [...document.querySelectorAll("figure svg")].map((svg) => svg.getScreenCTM().a * 3 / 4);
        return [document.documentElement.scrollWidth, Math.min(...shares)]"""
    )
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert width == 400 and shrunk > 0.95


def test_it_prints_without_its_controls_and_nothing_is_cut_off(page) -> None:
    assert base64.b64decode(page.print_page()).startswith(b"%PDF")
    page.set_window_size(1046, 900)  # A4 across, without its margins
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    width, inner = page.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= inner and not page.find_element("css selector", "form.controls").is_displayed()
    tables = find_all(page, "table.variants")
    assert tables and all(table.is_displayed() and table.rect["x"] + table.rect["width"] <= inner for table in tables)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    page.set_window_size(1400, 1000)


def test_hostile_names_and_two_machines_make_a_sound_page(browser, tmp_path: Path) -> None:
    name = '<script>window.broken = 1</script>"><img src=x onerror=alert(1)>'
    trials = grid(2, cells=("lstm", "gru"))
    records = [record(t, kernel=name) for t in trials[:9]] + [failed(t, reason=name, fingerprint=name) for t in trials]
    path = report.write(report.make("quick", name, records, trials), tmp_path)["html"]
    browser.get_log("browser")
    browser.get(path.as_uri())
    assert browser.get_log("browser") == []
    assert browser.execute_script("return window.broken") is None
    assert not find_all(browser, "img") and len(find_all(browser, "table.variants")) == 6
    assert name in browser.find_element("css selector", ".question").text
    press(browser, "score")


def test_an_empty_report_is_a_sound_page(browser, tmp_path: Path) -> None:
    browser.get_log("browser")
    browser.get(report.write(report.make("quick", QUESTION, [], grid()), tmp_path)["html"].as_uri())
    assert browser.get_log("browser") == []
    assert "0 of 54 trials stored" in browser.find_element("css selector", ".status").text


MANY = 260


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two tasks, one of which has too many variants for it."""
    rates = [Trial(task=DIGITS, cell={"name": "gru"}, learning_rate=k / 1e4, examples=100) for k in range(1, MANY + 1)]
    trials = [*rates, *(trial for trial in grid(1, cells=("lstm",)) if trial.task["name"] == "adding")]
    records = [record(t, **LIMITS, parameters=1 + round(t.learning_rate * 1e4)) for t in trials]
    made = report.make("many", QUESTION, records, trials)
    return report.write(made, tmp_path_factory.mktemp("paged"))["html"]


def unpacked(browser, path: Path) -> None:
    """Open a page and wait for the rows that it holds packed."""
    from selenium.webdriver.support.wait import WebDriverWait

    browser.get(path.as_uri())
    WebDriverWait(browser, 20).until(lambda page: find_all(page, "section.machine[data-ready=yes]"))


def parameters(page) -> list[int]:
    """Parameters in the rows of the first task that are on the page."""
    return [int(text.replace(",", "")) for text in cells(page, "parameters")[0]]


def test_of_very_many_rows_a_page_is_shown_and_all_are_sorted(browser, paged: Path) -> None:
    browser.get_log("browser")
    unpacked(browser, paged)
    assert browser.get_log("browser") == []
    told = browser.find_element("css selector", "#table-1 tr.pager span")
    assert len(parameters(browser)) == PAGE and told.text == f"rows 1 to {PAGE} of {MANY}"
    as_written, (back, on) = parameters(browser), find_all(browser, "#table-1 tr.pager button")
    assert not back.is_enabled()
    on.send_keys("\ue007")
    assert told.text == f"rows {PAGE + 1} to {2 * PAGE} of {MANY}" and not set(parameters(browser)) & set(as_written)
    on.click()
    assert len(parameters(browser)) == MANY - 2 * PAGE and not on.is_enabled()
    press(browser, "parameters")
    assert parameters(browser) == list(range(2, PAGE + 2)), "sorting is of all rows, and shows the first"
    press(browser, "parameters")
    assert parameters(browser) == list(range(MANY + 1, MANY + 1 - PAGE, -1))
    press(browser, "parameters")
    assert parameters(browser) == as_written


def test_a_filter_looks_at_rows_that_are_not_on_the_page(browser, paged: Path) -> None:
    unpacked(browser, paged)
    words = browser.find_element("name", "words")
    words.send_keys("0.0257")
    assert parameters(browser) == [258]
    assert browser.find_element("css selector", "output").text == f"1 of {MANY + 1} rows"
    assert [len(rows) for rows in cells(browser, "cell", "stability-1")] == [1, 0]
    assert [len(rows) for rows in cells(browser, "cell", "efficiency-1")] == [1, 0]
    browser.find_element("css selector", "button[type=reset]").click()
    browser.execute_async_script("setTimeout(arguments[0])")
    assert len(parameters(browser)) == PAGE
    took = browser.execute_script(
        """const field = document.querySelector("[name=words]"), started = performance.now();
        for (const text of ["g", "gr", "gru"]) {
          field.value = text;
          field.dispatchEvent(new Event("input", {bubbles: true}));
        }
        return performance.now() - started"""
    )
    assert took < 3 * 250, "typing stays fluid"


def test_efficiency_is_shown_as_the_records_hold_it(browser, tmp_path: Path) -> None:
    records, trials = realistic()
    known = [r.replace(**LIMITS) if r.status == "ok" else r for r in records]
    made = report.make("quick", QUESTION, known, trials)
    browser.get_log("browser")
    browser.get(report.write(made, tmp_path)["html"].as_uri())
    assert browser.get_log("browser") == []
    (table,) = made.machines
    for column in efficiency(table):
        shown = [[column.text(row) for row in group.rows] for group in table.groups]
        assert cells(browser, column.title, "efficiency-1") == shown
    titles = [title.text for title in find_all(browser, "figure h4")]
    assert titles.count("Throughput against its floors") == 2
    assert "latency-bound: 1.7x its floor" in browser.find_element("css selector", "#efficiency-1").text


CONTRAST = """
const rgb = (color) => {
  const dot = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  dot.fillStyle = color; dot.fillRect(0, 0, 1, 1);
  return [...dot.getImageData(0, 0, 1, 1).data];
};
const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
  .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const color = rgb(getComputedStyle(at).backgroundColor);
    if (color[3] === 255) return color;
  }
  return rgb("Canvas");
};
let worst = {ratio: 21};
const text = "p, strong, h1, h3, h3 span, cite, h4, td, th, li, dt, dd, figcaption, svg text, output, label, .badge";
for (const node of document.querySelectorAll(text)) {
  if (!node.textContent.trim() || !node.getClientRects().length) continue;
  const style = getComputedStyle(node);
  const a = light(rgb(node.closest("svg") ? style.fill : style.color)), b = light(behind(node));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < worst.ratio) worst = {ratio, text: node.textContent.slice(0, 40), tag: node.tagName};
}
return worst;
"""
