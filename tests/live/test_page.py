"""The page in a real browser: the system's Chromium, driven by playwright; without them the tests are skipped."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest import SkipTest
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

from tests.fleet import BIN, ROOT, free_port
from tests.web_client import need

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WITHIN_MS = 60_000
FIRST, BASE_PORT = "127.77.0.1", 6401
PAGE_AT = f"http://{FIRST}:{BASE_PORT + 2000}/"
DRAWN = "document.querySelectorAll('.node:not(.going)').length"


class BrowserCase(SynchronousTestCase):
    """A browser, and what it had to say."""

    def setUp(self) -> None:
        """Open it."""
        need("playwright")
        need("prometheus_client")
        if CHROMIUM is None:
            raise SkipTest("there is no Chromium here")
        from playwright.sync_api import sync_playwright

        playing = sync_playwright().start()
        self.addCleanup(playing.stop)
        self.browser = playing.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        self.addCleanup(self.browser.close)
        self.said: list[str] = []
        self.hosts: set[str] = set()

    def open(self, url: str, **options: Any) -> Any:
        """A page, when it has drawn something."""
        page = self.browser.new_context(**options).new_page()
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        page.goto(url, wait_until="domcontentloaded")
        page.wait_for_selector(".node", timeout=WITHIN_MS)
        return page

    def until(self, page: Any, condition: str) -> None:
        """Wait for a condition; not by playwright's own way, which our policy forbids: it makes code of text."""
        for _ in range(WITHIN_MS // 50):
            if page.evaluate(condition):
                return
            page.wait_for_timeout(50)
        self.fail(f"never: {condition}")

    def start(self, *words: str) -> None:
        """A process that ends with the test."""
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    def wait_for(self, url: str, holds: Callable[[bytes], bool] = bool) -> None:
        """Until a page of a process that has just been started says something."""
        for _ in range(600):
            try:
                with urlopen(url) as reply:
                    if holds(reply.read()):
                        return
            except OSError:
                pass
            time.sleep(0.1)
        self.fail(f"nothing at {url}")


class TestnetTests(BrowserCase):
    """``testnet 16``."""

    def setUp(self) -> None:
        """Start it, and wait until its nodes are members."""
        super().setUp()
        self.start(str(BIN / "chordtwist"), "testnet", "16", "--first", FIRST)
        self.wait_for(PAGE_AT, lambda text: text.count(b"<td>member") == 16)

    def test_lives(self) -> None:
        """All nodes are drawn; one that is added appears, one that is killed goes, a lookup is seen. No other host is
        asked for anything, and the console stays empty.
        """
        page = self.open(PAGE_AT)
        self.until(page, f"{DRAWN} === 16")
        page.click("#add")
        self.until(page, f"{DRAWN} === 17")
        self.until(page, "ring.nodes.every(node => node.member)")
        page.evaluate("choose(ring.nodes[ring.nodes.length - 1].address)")
        page.click("#kill")
        self.until(page, f"{DRAWN} === 16")
        page.evaluate("window.seen = 0; new MutationObserver(() => seen++).observe($('ways'), {childList: true})")
        put = [str(BIN / "chordtwist"), "put", "greeting", "hello", "--api", "127.77.0.5:7401"]
        subprocess.run(put, check=True, capture_output=True, timeout=60)
        self.until(page, "seen > 0")
        page.fill("#key", "greeting")
        page.click("#look button")
        page.wait_for_selector("#found tbody tr", timeout=WITHIN_MS)
        self.assertIn("5 B", page.inner_text("#found"))
        self.assertEqual(([], {f"{FIRST}:{BASE_PORT + 2000}"}), (self.said, self.hosts))

    def test_fits(self) -> None:
        """On a telephone nothing stands beyond its edge; without scripts there are the facts."""
        page = self.open(PAGE_AT, viewport={"width": 360, "height": 740}, color_scheme="dark")
        self.assertEqual(360, page.evaluate("document.documentElement.scrollWidth"))
        plain = self.browser.new_context(java_script_enabled=False).new_page()
        plain.goto(PAGE_AT)
        self.assertIn("127.77.0.16:6401", plain.inner_text("noscript table"))


class HostileTests(BrowserCase):
    """A page about peers that chose every text."""

    def test_nothing_runs(self) -> None:
        """Nothing of it becomes markup or runs, in any part of the page, a looked-up key included."""
        port = free_port()
        self.start(sys.executable, "-m", "tests.hostile_page", str(port))
        self.wait_for(f"http://127.0.0.1:{port}/healthz")
        page = self.open(f"http://127.0.0.1:{port}/")
        self.until(page, "$('events').textContent.includes('onerror')")
        page.click("#more summary")
        self.until(page, "$('config').textContent.includes('onerror')")
        page.fill("#key", "<img src=x onerror=\"document.title='hit'\">")
        page.click("#look button")
        page.wait_for_selector("#found table", timeout=WITHIN_MS)
        for part in "#health", "#network", "#chosen", "#facts", "#members", "#nodes":
            self.assertIn("<script>", page.text_content(part), part)
        found = page.evaluate("[document.title, document.querySelectorAll('body img, body script').length]")
        self.assertEqual((["chordtwist", 1], []), (found, self.said))
