"""What tests in several files share: Ctrl-C, no time limits, a browser without a network."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

# `python -m pytest` puts its folder first, where the bitmap is not compiled.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != ROOT]

import pytest  # noqa: E402
import tiny  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# What a shell starts in the background ignores Ctrl-C, and so would all processes of the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)

# On a busy machine an example may take any time.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("few", settings.get_profile("untimed"), max_examples=10)
settings.load_profile("untimed")

QUIET = ("background-networking", "component-update", "sync", "gpu", "quic")
FLAGS = [
    *("--no-sandbox", "--no-first-run", *(f"--disable-{part}" for part in QUIET)),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no name leads anywhere
]


@pytest.fixture(scope="session")
def committed(tmp_path_factory):
    """HEAD's files. A run before the tests may have changed those of the checkout."""
    folder = tmp_path_factory.mktemp("committed")
    packed = subprocess.check_output(["git", "-C", ROOT, "archive", "HEAD"])
    subprocess.run(["tar", "-x", "-C", folder], input=packed, check=True)
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A repository whose environment asv has made, one for all processes that run tests."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    repo = folder / "made"
    with tiny.locked(folder / "made.lock"):
        if not repo.exists():
            tiny.make_repo(repo, {})
        tiny.environment(repo).create()
    return repo


@pytest.fixture(scope="module")
def browser():
    """One for the tests of a file, and none after them.

    While Playwright's synchronous form runs, its thread has a running event loop: neither a second
    one nor anything else with a loop of its own, such as QMP, can be started in it.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs a browser: Debian's package chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield running
        running.close()
