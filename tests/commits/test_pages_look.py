"""The published pages in a real browser, from the file system, with every other host cut off."""

import re
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect
from synthetic_history import HOSTILE, history

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.front_part import added_part
from hbitmap_bench.commits.front import front_page
from hbitmap_bench.commits.pages.npm import install_parts
from hbitmap_bench.commits.pages.writer import write_pages
from hbitmap_bench.commits.store import load_histories

ROOT = Path(__file__).parents[2]
SECONDS = "buildup.seconds"


@pytest.fixture(scope="session")
def parts(tmp_path_factory):
    try:
        return install_parts(tmp_path_factory.mktemp("parts"))
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def published(tmp_path_factory, parts, committed):
    """Pages of a history with a regression of the deny check at its fourth commit of six."""
    folder = tmp_path_factory.mktemp("published") / "html"
    fronts = [
        front_page(history(6, text=HOSTILE, regression=(3, 2.0)), added_part(committed)),
        front_page(history(100, measured=0.2, seed=2), None),
        front_page(load_histories(committed / "results", ROOT)[0], None),
    ]
    write_pages(folder, fronts, parts)
    return folder


@pytest.fixture
def visit(browser, published):
    """Open a page; whatever its console says or could not be loaded fails the test."""
    complaints = []

    @contextmanager
    def visit(address, *, width=1280, scheme="light", javascript=True):
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            java_script_enabled=javascript,
            offline=True,
        )
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.goto(f"file://{published}/{address}")
        if javascript and page.locator("#explore").count():  # which suites' pages have
            page.wait_for_selector("#plot-title:not(:empty)", state="attached")
        yield page
        context.close()

    yield visit
    assert complaints == []


def n_lines(page, box="#plot"):
    return page.locator(f"{box} .series path").count()


def wait_for(page, part):
    """Wait until the address has a part, and the script that gives it has drawn."""
    page.wait_for_url(f"**{part}*")
    page.evaluate("0")  # runs after that script's task


def hash_of(page):
    return page.evaluate("location.hash")


@pytest.mark.parametrize("width", [400, 1280])
def test_no_page_is_wider_than_the_window(visit, published, width):
    for path in sorted(published.rglob("*.html")):
        with visit(path.relative_to(published).as_posix(), width=width) as page:
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
            assert page.title() != "broken"
            assert n_lines(page, "body") >= 1 or page.locator("article.document").count() == 1


def test_links_of_changes_are_not_cut_off(visit):
    with visit("index.html") as page:
        box = page.locator(".changes").locator("..")
        assert box.evaluate("box => box.scrollWidth <= box.clientWidth")


@pytest.mark.parametrize("width", [400, 1280])
def test_names_on_the_plots_are_whole(visit, width):
    with visit("index.html", width=width) as page:
        frame = page.locator("#words svg").bounding_box()
        for name in page.locator("#words svg text").all():
            box = name.bounding_box()
            assert frame["x"] <= box["x"], name.text_content()
            assert box["x"] + box["width"] <= frame["x"] + frame["width"], name.text_content()


def test_growth_is_drawn_with_fits_intervals_and_slopes(visit):
    with visit("buildup.html") as page:
        assert n_lines(page) == 5
        assert page.locator("#plot .fit path").count() == 5
        assert page.locator("#plot .interval line").count() == 5 * 9
        legend = page.locator("#legend").inner_text()
        assert re.search(r"access\s+slope 2\.0\d \[", legend)
        assert re.search(r"deny\s+slope 1\.0\d \[|deny\s+slope 0\.99 \[", legend)
        assert page.locator("#plot").get_by_text(re.compile(r"access 2\.0\d")).count() == 1
        rows = page.locator("#numbers tbody tr")
        assert rows.count() == 9 + 1  # sizes, slopes


def test_a_changed_parameter_changes_plot_numbers_and_address(visit):
    with visit("buildup.html") as page:
        before = page.locator("#numbers").inner_text()
        page.get_by_label("cluster_kib", exact=True).select_option(label="1024")
        wait_for(page, "p-cluster_kib=1024")
        assert page.locator("#numbers").inner_text() != before
        assert "cluster_kib 1024" in page.locator("#plot-title").inner_text()
        page.get_by_text("Ratio of two implementations").click()
        wait_for(page, "view=ratio")
        assert "cluster_kib 1024" in page.locator("#plot-title").inner_text()
        assert "access / plain" in page.locator("#legend").inner_text()
        page.go_back()
        wait_for(page, "p-cluster_kib=1024")
        expect(page.locator("#legend")).to_contain_text("slope")
        page.go_back()
        expect(page.locator("#plot-title")).to_contain_text("kib 64")


def test_a_mailed_link_shows_the_same_view(visit):
    with visit("buildup.html") as page:
        page.get_by_label("what", exact=True).select_option(label="Extra words a query")
        wait_for(page, "Words")
        page.get_by_label("a line for each", exact=True).select_option(label="cluster_kib")
        wait_for(page, "lines=cluster_kib")
        page.get_by_label("at commit", exact=True).select_option(index=3)
        wait_for(page, "commit=")
        page.get_by_label("value axis", exact=True).select_option(label="linear")
        wait_for(page, "y=linear")
        page.locator("#legend").get_by_text("cluster_kib 512").click()
        wait_for(page, "hide=512")
        link, numbers = hash_of(page), page.locator("#numbers").inner_text()
        title, lines = page.locator("#plot-title").inner_text(), n_lines(page)
    with visit(f"buildup.html{link}") as page:
        assert page.locator("#plot-title").inner_text() == title
        assert page.locator("#numbers").inner_text() == numbers
        assert n_lines(page) == lines == 5
        assert page.get_by_label("value axis", exact=True).input_value() == "linear"


def test_a_link_to_what_is_not_there_says_so(visit):
    wrong = f"#{SECONDS}?view=commits&p-image_tib=9999&commit=ffff"
    with visit(f"buildup.html{wrong}") as page:
        notes = page.locator("#notes").inner_text()
        assert "no image_tib 9999" in notes
        assert "no commit ffff" in notes
        assert n_lines(page) == 5
    with visit("buildup.html#%E0%A4?x") as page:
        assert "no benchmark %E0%A4" in page.locator("#notes").inner_text()


def test_every_cell_of_a_table_can_be_chosen_by_keyboard(visit):
    with visit("access_check.html") as page:
        cell = page.locator("tr[data-cell]:visible").nth(77)
        values = [cell.locator("td").nth(i).inner_text() for i in range(5)]
        cell.locator("a").focus()
        page.keyboard.press("Enter")
        wait_for(page, "view=commits")
        title = page.locator("#plot-title").inner_text()
        assert f"image_tib {values[1]}, copy_cluster_kib {values[2]}" in title
        assert f"position {values[3]}, denied {values[4]}" in title
        current = page.locator("tr[aria-current]:visible")
        assert current.count() == 1
        assert current.get_attribute("data-cell") == cell.get_attribute("data-cell")


def test_points_are_told_by_keyboard_and_by_pointer(visit):
    with visit(f"buildup.html#{SECONDS}?view=commits&p-image_tib=4") as page:
        page.locator("#plot").focus()
        page.keyboard.press("End")
        said = page.locator("#plot [aria-live]").inner_text()
        assert "Change the bitmap 5 </script><img src=x" in said
        assert "deny" in said
        page.keyboard.press("ArrowLeft")
        assert "Change the bitmap 4" in page.locator("#plot [aria-live]").inner_text()
        assert "Change the bitmap 4" in page.locator("#plot .tip").text_content()
        page.keyboard.press("Escape")
        dot = page.locator("#plot .marker path").first.bounding_box()
        page.mouse.move(dot["x"] + 4, dot["y"] + 4)
        assert "99% interval" in page.locator("#plot .tip").text_content()


def test_cells_without_a_measurement_are_said_to_have_none(visit, published):
    machine = "on-bench-*"  # as the synthetic history calls it
    (other,) = [path.name for path in published.glob(machine)]
    with visit(f"{other}/buildup.html") as page:
        hidden = page.locator("tr.unmeasured")
        assert hidden.first.is_hidden()
        page.locator(".all-cells:visible").check()
        row = page.locator("tr.unmeasured:visible").first
        row.locator("a").click()
        wait_for(page, "view=commits")
        assert "not measured" in page.locator("#legend").inner_text()


def test_the_front_page_draws_exponents_and_filters_changes(visit):
    with visit("index.html") as page:
        assert n_lines(page, "#seconds") == 5
        assert n_lines(page, "#words") == 4
        page.get_by_label("cluster_kib", exact=True).select_option(label="2048")
        wait_for(page, "cluster_kib=2048")
        page.locator("#legend").get_by_text("access").click()
        expect(page.locator("#seconds .series path")).to_have_count(4)
        shown = page.locator(".changes tbody tr:visible")
        n_changes = shown.count()
        page.get_by_text("Improved", exact=True).click()
        assert shown.count() < n_changes
        assert "unconfirmed" not in page.locator(".changes tbody").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_slight_changes_are_folded_away(visit, published, width, scheme):
    paths = published.glob("*/index.html")
    (path,) = [path for path in paths if 'id="folded"' in path.read_text()]
    with visit(path.relative_to(published), width=width, scheme=scheme) as page:
        rows = page.locator("#folded tbody tr")
        line = page.locator("#folded-summary")
        assert line.is_visible()
        assert re.search(
            rf"^{rows.count()} changes of less than 1%: .*REGRESSED", line.inner_text()
        )
        assert not rows.first.is_visible()
        assert page.locator(".changes tbody tr:visible").count() > 0
        line.click()
        assert rows.first.is_visible()
        box = rows.first.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        page.get_by_text("Improved", exact=True).click()
        assert not rows.first.is_visible()


def test_a_change_leads_to_its_plot(visit):
    with visit("index.html") as page:
        page.locator(".changes a", has_text="cell").first.click()
        page.wait_for_selector("#plot .series path")
        assert "over commits" in page.locator("#plot-title").inner_text()
        assert page.locator("tr[aria-current]:visible").count() == 1
        assert page.locator("#plot .marked line").count() == 1
        assert "Change the bitmap" in page.locator("#numbers tr.marked").inner_text()


def test_without_javascript_the_newest_numbers_are_there(visit):
    with visit("buildup.html", javascript=False) as page:
        assert page.get_by_text("Plots need JavaScript").is_visible()
        assert page.locator("tr[data-cell]:visible").count() == 270 * 3 + 216 * 3
        assert page.locator("#explore").is_hidden()


TEXT = ("text", "muted", "link", "bad", "good", "same", "open")
GROUNDS = {"bad": "bad-ground", "good": "good-ground", "same": "same-ground", "open": "open-ground"}
LINES = ("plain", "access", "deny", *(f"line-{i}" for i in range(7)), "border-strong", "focus")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_contrast(visit, scheme):
    """WCAG 2 AA: 4.5 for text, 3 for what is drawn."""
    with visit("index.html", scheme=scheme) as page:
        names = {*TEXT, *LINES, *GROUNDS.values(), "ground", "surface", "mark"}
        script = "n => getComputedStyle(document.documentElement).getPropertyValue('--' + n)"
        colours = {name: luminance(page.evaluate(script, name)) for name in names}
    for name in TEXT:
        for ground in {"ground", "surface", GROUNDS.get(name, "ground")}:
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    for ground in [*GROUNDS.values(), "mark"]:
        for name in ("text", "muted", "link"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    for name in LINES:
        assert contrast(colours[name], colours["ground"]) >= 3, name


def luminance(colour):
    """Relative luminance as WCAG 2 defines it, of ``#rrggbb``."""
    channels = [int(colour.strip()[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a, b):
    low, high = sorted((a, b))
    return (high + 0.05) / (low + 0.05)
