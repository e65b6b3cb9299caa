"""The page in a real browser: the system's Chromium, driven by playwright; ``make web`` gets both, and axe-core, which
judges whether those can use it who cannot see or point. Without them the tests are skipped.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any
from unittest import SkipTest
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

from tests import SOAK
from tests.fleet import BIN, ROOT, free_port
from tests.web_client import need

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WITHIN_MS = 60_000
SEEN_WITHIN_S = 5
DRAWN = "document.querySelectorAll('.node:not(.going)').length"


class BrowserCase(SynchronousTestCase):
    """A browser, and what it had to say."""

    def setUp(self) -> None:
        """Open it."""
        need("playwright", "web")
        need("axe_playwright_python", "web")
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

    def until(self, page: Any, condition: str) -> float:
        """Wait for a condition, and say for how many seconds; not by playwright's own way, which our policy forbids: it
        makes code of text.
        """
        began_s = time.monotonic()
        for _ in range(WITHIN_MS // 50):
            if page.evaluate(condition):
                return time.monotonic() - began_s
            page.wait_for_timeout(50)
        self.fail(f"never: {condition}")

    def assert_usable(self, page: Any) -> None:
        """Nothing of all that axe-core knows stands against the page as it is now."""
        page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
        against = page.evaluate("axe.run().then(found => found.violations)")
        self.assertEqual([], [(one["id"], one["impact"], [at["html"] for at in one["nodes"]]) for one in against])

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
    """The page of a testnet."""

    def start_testnet(self, nodes: int) -> None:
        """Start it, and wait until its nodes are members."""
        self.prefix = f"127.{random.randrange(1, 255)}.{random.randrange(255)}."
        self.host = f"{self.prefix}1:8401"
        self.start(str(BIN / "chordtwist"), "testnet", str(nodes), "--first", f"{self.prefix}1")
        self.wait_for(f"http://{self.host}/", lambda text: text.count(b"<td>member") == nodes)

    def test_lives(self) -> None:
        """All nodes are drawn; one that is added appears, one that is killed goes (within five seconds, asked with
        CHORDTWIST_SOAK=6), and is there when the last minute is played back; a lookup is seen, and the chores. No other
        host is asked for anything, the console stays empty.
        """
        self.start_testnet(16)
        page = self.open(f"http://{self.host}/")
        self.until(page, f"{DRAWN} === 16")
        page.click("#add")
        appeared_s = self.until(page, f"{DRAWN} === 17")
        appeared_s += self.until(page, "ring.nodes.every(node => node.member)")
        page.evaluate("choose(ring.nodes[ring.nodes.length - 1].address)")
        asked = page.evaluate("""() => {
            const asked = [], get = fetch;
            window.fetch = (...what) => (asked.push(what[0]), get(...what));
            $("kill").click();
            readStatus();  // as every 1.5 s, also while the order is on its way
            window.fetch = get;
            return asked; }""")
        self.assertEqual(1, len(asked), asked)
        went_s = self.until(page, f"{DRAWN} === 16")
        if SOAK > 1:
            self.assertLess(max(appeared_s, went_s), SEEN_WITHIN_S, (appeared_s, went_s))
        back = f"at => {{ $('back').value = -at; $('back').dispatchEvent(new Event('input')); return {DRAWN} }}"
        self.assertIn(17, [page.evaluate(back, at) for at in range(60)])
        self.assertEqual(16, page.evaluate(back, 0))
        page.evaluate("window.seen = 0; new MutationObserver(() => seen++).observe($('ways'), {childList: true})")
        put = [str(BIN / "chordtwist"), "put", "greeting", "hello", "--api", f"{self.prefix}5:7401"]
        subprocess.run(put, check=True, capture_output=True, timeout=60)
        self.until(page, "seen > 0")
        page.fill("#key", "greeting")
        page.click("#look button")
        page.wait_for_selector("#found tbody tr", timeout=WITHIN_MS)
        self.assertIn("5 B", page.inner_text("#found"))
        page.evaluate("choose(ring.nodes[3].address)")
        page.click("#look button")
        self.until(page, "location.hash.includes('key')")
        linked = self.open(page.url)  # by somebody to whom the address of the page was sent
        linked.wait_for_selector("#found tbody tr", timeout=WITHIN_MS)
        self.assertEqual(page.evaluate("chosen"), linked.evaluate("chosen"))
        linked.close()
        page.evaluate("choose(ring.nodes[1].address)")
        page.click("#pause")
        self.until(page, "isPaused()")
        self.assertIn("paused", page.inner_text("#members"))
        page.click("#pause")
        self.until(page, "!isPaused()")
        page.click("#duties summary")
        self.assertIn("stabilize", page.inner_text("#chores"))
        self.assertEqual(([], {self.host}), (self.said, self.hosts))

    def test_fits(self) -> None:
        """On a telephone nothing stands beyond its edge; everybody can use it, by day and by night, whatever is
        open; without scripts there are the facts.
        """
        self.start_testnet(3)
        for scheme in "light", "dark":
            page = self.open(f"http://{self.host}/", viewport={"width": 360, "height": 740}, color_scheme=scheme)
            page.fill("#key", "greeting")
            page.click("#look button")
            page.wait_for_selector("#found table", timeout=WITHIN_MS)
            page.click("#duties summary")
            page.click("#more summary")
            self.until(page, "$('config').textContent.includes('p2p_address')")
            self.assertEqual(360, page.evaluate("document.documentElement.scrollWidth"))
            self.assert_usable(page)
            page.set_viewport_size({"width": 1280, "height": 800})
            self.assert_usable(page)
        self.assertEqual([], self.said)
        plain = self.browser.new_context(java_script_enabled=False).new_page()
        plain.goto(f"http://{self.host}/")
        self.assertIn(f"{self.prefix}3:6401", plain.inner_text("noscript table"))


class NameTests(BrowserCase):
    """The names that stand beside the nodes."""

    def test_whole(self) -> None:
        """However long, they stand within the picture; what all have in common is left out, the longest cut."""
        port = free_port()
        self.start(sys.executable, "-m", "tests.hostile_page", str(port))
        self.wait_for(f"http://127.0.0.1:{port}/healthz")
        page = self.open(f"http://127.0.0.1:{port}/")
        page.evaluate("source.close()")
        for addresses, names in (
            (["10.0.0.1:6401", "10.0.0.20:6401"], [".1", ".20"]),
            (["10.0.0.1:6401", "10.0.1.2:6402"], [".0.1:6401", ".1.2:6402"]),
            (["127.0.0.1:6401", "127.0.0.1:6402"], [":6401", ":6402"]),
            (["127.0.0.1:6401"], ["127.0.0.1:6401"]),
            (["192.168.100.100:64001", "203.0.113.255:64002"], ["192.168.100.100:64001", "203.0.113.255:64002"]),
            (["[2001:db8:1:2::a:b]:6401", "node.example:6401"], ["[2001:db8:\u2026:a:b]:6401", "node.example:6401"]),
        ):
            nodes = [
                {"address": address, "place": 0.25 + 0.5 * n, "role": "known"} for n, address in enumerate(addresses)
            ]
            data = json.dumps({"network": "n", "me": addresses[0], "members": 2, "nodes": nodes, "records": 0})
            page.evaluate("data => source.dispatchEvent(new MessageEvent('ring', {data}))", data)
            self.assertEqual(
                names, page.evaluate("[...drawn.values()].filter(m => !m.gone).map(m => m.text.textContent)")
            )
            beyond = """[...document.querySelectorAll('.node:not(.going) text')].some(text => {
                const name = text.getBoundingClientRect(), edge = $('ring').getBoundingClientRect();
                return name.left < edge.left || name.right > edge.right; })"""
            self.assertFalse(page.evaluate(beyond), addresses)


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


UPDATES = """async updates => {
  let seed = 7;
  const random = () => (seed = seed * 16807 % 2147483647) / 2147483647;
  const everybody = [...Array(1000).keys()].map(n => ({address: `10.${n >> 8}.${n & 255}.1:6401`, place: random()}));
  const took = [];
  let data, still = 0;
  const role = n => n < 16 ? `successor ${n + 1}` : n < 26 ? `finger ${230 + n}` : "known";
  const show = () => source.dispatchEvent(new MessageEvent("ring", {data}));
  for (let round = 0; round < updates; round++) {
    const nodes = [{address: ring.me, place: .1, role: "me", silent: false}];
    for (let n = 0; n < 399; n++)
      nodes.push({...everybody[n < 60 ? n : 60 + (n - 60 + 3 * round) % 940], role: role(n), silent: random() < .01});
    const shades = [...Array(120)].map(() => Math.floor(40 * random()));
    data = JSON.stringify({network: "large", me: ring.me, members: 1000 + round % 9, nodes, records: 5000, shades});
    const began = performance.now();
    show();
    document.body.offsetHeight;  // until it is laid out
    took.push(performance.now() - began);
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  await new Promise(resolve => setTimeout(resolve, 2500));  // those who have gone have faded, newcomers have arrived
  show();
  const observer = new MutationObserver(() => {});
  for (const part of ["nodes", "members"])
    observer.observe($(part), {subtree: true, childList: true, attributes: true, characterData: true});
  show();
  return {median: took.sort((a, b) => a - b)[took.length >> 1], touched: observer.takeRecords().length,
          drawn: drawn.size, rows: $("members").childElementCount};
}"""
UPDATE_WITHIN_MS, HEAP_BYTES_MAX = 50, 60_000_000


class LargeTests(BrowserCase):
    """The page of one node that shows as many others as it ever does, in a ring of a thousand."""

    def test_updates(self) -> None:
        """What has not changed is not touched; what has gone leaves nothing behind. With CHORDTWIST_SOAK=6, ten minutes
        of updates, half of them take less than 50 ms until they are laid out.
        """
        port, door, peers = free_port(), free_port(), free_port()
        places = {"web.address": port, "dht.api_address": door, "dht.p2p_address": peers}
        words = [word for name, at in places.items() for word in ("--set", f"{name}=127.0.0.1:{at}")]
        self.start(str(BIN / "chordtwist"), "run", *words)
        self.wait_for(f"http://127.0.0.1:{port}/healthz")
        page = self.open(f"http://127.0.0.1:{port}/")
        self.until(page, f"{DRAWN} === 1")
        self.assert_usable(page)
        page.evaluate("source.close()")  # from here on the test is the node
        seen = page.evaluate(UPDATES, 100 * SOAK)
        self.assertEqual((0, 400, 400), (seen["touched"], seen["drawn"], seen["rows"]))
        devtools = page.context.new_cdp_session(page)
        devtools.send("HeapProfiler.collectGarbage")
        self.assertLess(devtools.send("Runtime.getHeapUsage")["usedSize"], HEAP_BYTES_MAX)
        if SOAK > 1:
            self.assertLess(seen["median"], UPDATE_WITHIN_MS)
        self.assertEqual([], self.said)
