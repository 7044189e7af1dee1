"""Publishing: real asv runs of a repository of its own, its pages in a real browser, no network."""

import functools
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.sync_api import expect
from tiny import COMMAND, ROOT, bench, commit, git, make_repo

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits import sources
from hbitmap_bench.commits.pages import stock
from hbitmap_bench.commits.pages.npm import install_parts
from hbitmap_bench.commits.project_file import FILE

HTML = "<img src=x onerror=alert(1)>&amp;"
"""What a machine and a commit are called here."""

SUITE = """
from benchmarks.common import Suite, benchmark, provided


class BuildUp(Suite):
    param_names = ("implementation", "image_tib", "cluster_kib")
    params = (["access", "deny"], [1, 2, 4], [64, 128])

    def prepare(self, implementation, image_tib, cluster_kib):
        words = provided("words", "WORDS")
        self.words = words * (image_tib if implementation == "access" else 1)
        self.steps = range(3000 * image_tib * self.words)

    @benchmark(version="1", timeout=60)
    def time_queries(self, *_):
        for _ in self.steps:
            pass

    @benchmark(version="1", timeout=60, unit="queries")
    def track_queries(self, *_):
        return 64


class Words(Suite):
    param_names, params, prepare = BuildUp.param_names, BuildUp.params, BuildUp.prepare

    @benchmark(version="1", timeout=60, unit="words/query")
    def track_extra_words_a_query(self, *_):
        return self.words
"""

GROWTH = "".join(
    f"""
[[growth]]
of = "buildup.{benchmark}"
quantity = "{quantity}"
size = "image_tib"
series = "implementation"
by = ["cluster_kib"]
limits = {{ access = 2.0, deny = 2.0 }}
"""
    for quantity, benchmark in (
        ("seconds", "BuildUp.time_queries"),
        ("words", "Words.track_extra_words_a_query"),
    )
)


@pytest.fixture(scope="module")
def repo(tmp_path_factory, made):
    """Two measured commits, the second one worse; the machine renamed to markup afterwards."""
    repo = tmp_path_factory.mktemp("publish") / "repo"
    make_repo(repo, {"buildup": SUITE}, made)
    files = {"hbitmap_impl/words.py": "WORDS = 9\n", FILE: (repo / FILE).read_text() + GROWTH}
    commit(repo, files, f"Read more {HTML}")
    git(repo, "tag", "<b>v1</b>")
    ran = bench(repo, "HEAD")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    rename_machine(repo / "results", HTML)
    return repo


def rename_machine(results: Path, name: str) -> None:
    (results / "test").rename(results / name)
    for path in [*sources.result_paths(results), results / name / "machine.json"]:
        path.write_text(path.read_text().replace('"test"', json.dumps(name)))
    for path in sources.result_paths(results):
        hash_ = json.loads(path.read_text())["commit_hash"]
        record = json.loads(path.with_suffix(sources.SUFFIX).read_text())
        sources.write_record(path, hash_, record["imported"])


def publish(repo: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, "publish", *arguments]
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    return subprocess.run(command, cwd=repo, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(repo):
    ran = publish(repo)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "is REGRESSED" in ran.stdout
    return repo / "reports" / "html"


@pytest.fixture(scope="module")
def served(site):
    """The site over HTTP, on this host."""
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(quiet, directory=site)
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=["file", "http"])
def page(request, browser, site):
    """A page that may ask its own place alone; at the end, nothing may have gone wrong."""
    place = site.as_uri() if request.param == "file" else request.getfixturevalue("served")
    context = browser.new_context(viewport={"width": 1100, "height": 900}, base_url=place)
    page = context.new_page()
    page.set_default_timeout(6_000)
    wrong = []
    page.on("console", lambda m: wrong.append(f"console: {m.text}"))
    page.on("pageerror", lambda e: wrong.append(f"error: {e}"))
    page.on("dialog", lambda d: (wrong.append(f"dialog: {d.message}"), d.dismiss()))
    page.on("requestfailed", lambda r: wrong.append(f"failed: {r.url}"))
    page.on("response", lambda r: wrong.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    asked = []
    page.on("request", lambda r: asked.append(r.url))
    page.place = place
    yield page
    context.close()
    assert wrong == []
    assert [url for url in asked if not url.startswith((place, "data:"))] == []


def open_page(page, address: str) -> None:
    page.goto(f"{page.place}/{address}")


def see_lines(page, plot: str) -> None:
    """Wait for a line of some length in a colour."""
    lines = page.locator(f"{plot} svg .series path")
    expect(lines.first).to_be_attached()
    assert lines.evaluate_all(
        """lines => lines.some(
            line => line.getTotalLength() > 100 && getComputedStyle(line).stroke !== "none")"""
    )


def test_the_front_page_shows_the_verdict_and_plots_growth(page):
    open_page(page, "index.html")
    expect(page.locator("#verdict-title")).to_contain_text("REGRESSED")
    see_lines(page, "#seconds")
    see_lines(page, "#words")
    row = page.locator(".changes tbody tr[data-word=REGRESSED]").first
    expect(row).to_contain_text(f"Read more {HTML}")
    expect(row).to_contain_text(re.compile(r"1\.2[89]"))  # 9 words where 7 were


def test_names_made_of_markup_are_text_on_our_pages(page):
    for address in ("index.html", "buildup.html"):
        open_page(page, address)
        expect(page.locator("body")).to_contain_text(HTML)
        assert page.locator("img[src=x]").count() == 0


def test_a_suites_page_draws_growth_and_switches_a_parameter(page):
    open_page(page, "buildup.html")
    see_lines(page, "#plot")
    expect(page.locator("#plot-title")).to_contain_text("cluster_kib 64")
    page.locator("#parameters select").first.select_option("128")
    expect(page.locator("#plot-title")).to_contain_text("cluster_kib 128")
    see_lines(page, "#plot")
    expect(page.locator("#numbers tbody")).to_contain_text("ms")
    assert "p-cluster_kib=128" in page.url


def test_a_deep_link_shows_its_cell(page):
    open_page(page, "index.html")
    page.locator(".changes tbody tr a", has_text="cell").first.click()
    see_lines(page, "#plot")
    address = page.url
    title = page.locator("#plot-title").text_content()
    assert "view=commits" in address
    open_page(page, "index.html")
    page.goto(address)  # as from a mail
    expect(page.locator("#plot-title")).to_have_text(title)


def painted(page) -> int:
    """Colours on asv's canvas: what was drawn, since a canvas has no elements."""
    return page.evaluate(
        """() => {
            const canvas = document.querySelector('#main-graph canvas.flot-base');
            const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const words = new Uint32Array(pixels.data.buffer);
            return new Set(words).size;
        }"""
    )


def test_asvs_graph_draws_and_follows_a_deep_link(page):
    link = "#buildup.BuildUp.time_queries?x-axis=image_tib&y-axis-scale=log&p-cluster_kib=64"
    open_page(page, f"asv/index.html{link}")
    page.wait_for_selector("#main-graph .legend table")
    assert painted(page) > 10
    legend = page.locator("#main-graph .legend")
    expect(legend).to_contain_text("implementation-deny")
    expect(legend).not_to_contain_text("cluster_kib-128")
    page.locator("#graphdisplay-navigation a.btn", has_text="128").click()
    expect(legend).to_contain_text("cluster_kib-128")


def test_names_made_of_markup_are_text_on_asvs_pages(page):
    for link in ("#buildup.BuildUp.time_queries", "#/summarylist", "#/regressions", "#/"):
        open_page(page, f"asv/index.html{link}")
        page.wait_for_timeout(300)
        assert page.locator("img[src=x]").count() == 0
    open_page(page, "asv/index.html#buildup.BuildUp.time_queries")
    button = page.locator("#graphdisplay-navigation a.btn", has_text=HTML)
    button.hover()  # asv shows the machine's fields in a tip
    expect(page.locator(".tooltip", has_text=HTML)).to_be_visible()
    assert page.locator("img[src=x]").count() == 0
    page.reload()


def test_nothing_in_the_site_names_another_host_to_load_from(site):
    loads = re.compile(r"""(?:src|href)=["']?(?:https?:)?//|@import|url\(["']?https?:""")
    for path in site.rglob("*.html"):
        text = re.sub(r"<a [^>]*>", "", path.read_text())
        assert not loads.search(text), path
        assert "Content-Security-Policy" in text or path.name == "error.html", path


def test_every_link_between_the_pages_leads_somewhere(site):
    for path in site.glob("*.html"):
        for target in re.findall(r'(?:href|src)="([^"#?:]+)', path.read_text()):
            assert (path.parent / unquote(target)).exists(), f"{path.name}: {target}"


def test_an_earlier_site_stays_until_the_new_one_is_complete(repo, site, tmp_path):
    html = tmp_path / "html"
    shutil.copytree(site, html)
    (html / "index.html").write_text("earlier")
    refused = publish(repo, "--html", str(html), "--results", str(tmp_path))
    assert refused.returncode == 2
    assert refused.stderr.startswith("hbitmap-bench: a history needs stored results")
    assert (html / "index.html").read_text() == "earlier"
    assert publish(repo, "--html", str(html)).returncode == 0
    assert (html / "index.html").read_text() != "earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["html"]


def test_a_folder_of_something_else_is_not_replaced(repo, tmp_path):
    (tmp_path / "mine").write_text("kept")
    ran = publish(repo, "--html", str(tmp_path))
    assert ran.returncode == 2
    assert "holds something else" in ran.stderr
    assert (tmp_path / "mine").read_text() == "kept"
    assert "is a file" in publish(repo, "--html", str(tmp_path / "mine")).stderr


def test_refused_results_are_on_no_page(repo, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(repo / "results", results)
    first, second = sorted(sources.result_paths(results))
    first.with_suffix(sources.SUFFIX).unlink()
    ran = publish(repo, "--results", str(results), "--html", str(tmp_path / "html"))
    assert ran.returncode == 0, ran.stderr
    assert f"Refused, not published: {HTML}/{first.name}: no side record" in ran.stdout
    gone = json.loads(first.read_text())["commit_hash"]
    kept = json.loads(second.read_text())["commit_hash"]
    index = (tmp_path / "html" / "asv" / "index.json").read_text()
    assert kept in index
    assert gone not in index.replace(f'"{gone}"', "") or gone not in json.loads(index)["tags"]
    assert "no side record" in (tmp_path / "html" / "index.html").read_text()


def test_ctrl_c_leaves_nothing_behind(repo, tmp_path):
    html = tmp_path / "html"
    command = [COMMAND, "publish", "--html", str(html)]
    environment = {**os.environ, "PATH": f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"}
    with subprocess.Popen(
        command, cwd=repo, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as running:
        while not list(tmp_path.glob("hbitmap-bench-tmp-*")):
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        errors = running.communicate()[1].decode()
    assert running.returncode == 130
    assert errors.strip() == "hbitmap-bench: interrupted"
    assert list(tmp_path.iterdir()) == []


def test_parts_without_npm_or_a_registry_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"npm is not on PATH: install npm"):
        install_parts(tmp_path / "cache")
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\nprintf 'no such host\\nnpm error at x.js:1\\n' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(UserError, match=r"\(no such host\)"):
        install_parts(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_every_part_is_pinned_by_digest_and_names_no_registry():
    lock = (
        ROOT / "hbitmap_bench" / "commits" / "pages" / "parts" / "package-lock.json"
    ).read_text()
    assert "resolved" not in lock
    packages = json.loads(lock)["packages"]
    manifest = packages.pop("")
    assert all(re.fullmatch(r"[\d.]+", version) for version in manifest["dependencies"].values())
    assert all(part["integrity"].startswith("sha512-") for part in packages.values())


def test_another_asv_is_refused_not_half_changed(tmp_path):
    with pytest.raises(UserError, match="no local copy: pin asv"):
        stock._page('<head><script src="https://example.org/new.js"></script>')
    patch = stock.Patch("asv.js", "old", "new")
    assert stock._patched("an old line", patch) == "an new line"
    with pytest.raises(UserError, match=r"asv.js has no 'old'"):
        stock._patched("another line", patch)
