"""What the page of one node of a large ring costs a browser, and the node.

``python -m benchmarks.page --nodes 1000 --minutes 10`` prints one JSON object. The page is served by the real web side;
the node that it shows is one of so many on a simulated network, all of which run the node's real code, and every five
seconds one of them dies and another joins, while the one that is shown looks keys up. Chromium, driven by playwright
(``make web``), shows it for so long:

- ``updates``: pictures that came; ``median_ms``, ``p99_ms``, ``most_ms``: from the picture to the page laid out anew;
- ``long``: how often the page, whatever it did, did nothing else for 50 ms;
- ``heap_mb``: JavaScript's, after collecting, at the end, and ``heap_first_mb`` after the first tenth of the time;
- ``renderer_mb``: memory of the page's process that is its own, and ``blank_mb`` of an empty page's;
- ``picture_bytes``, ``status_bytes``: what the node writes for each; ``drawn``: nodes in the picture;
- ``simulated_s``: how much of the ring's time passed meanwhile.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

from twisted.internet.task import LoopingCall
from twisted.internet.testing import MemoryReactorClock

from chordtwist.app.config import WebSection
from chordtwist.app.config_file import read_text
from chordtwist.app.service import build, fitted
from chordtwist.app.web import Measured, web_of_node
from chordtwist.app.web_view import NodeView
from chordtwist.core.quantile import quantile
from chordtwist.simulation.world import World

KEYS = 500
STEP_S = 0.1
CHURN_EVERY_S = 5
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

COUNTED = """() => {
  const show = showRing;
  window.took = [];
  window.long = 0;
  new PerformanceObserver(list => long += list.getEntries().length).observe({type: "longtask"});
  showRing = () => {
    const began = performance.now();
    show();
    document.body.offsetHeight;  // until it is laid out
    took.push(performance.now() - began);
  };
}"""


def serve(port: int, count: int) -> None:
    """Run the ring, and serve the page of its first node; say ready when it stands."""
    from twisted.internet import reactor

    here: Any = reactor
    world = World(seed=1)
    world.grow(count)
    world.settle(600)
    me = world.members()[0]
    node = world.node(me)
    keys = [sha256(b"key %d" % number).digest() for number in range(KEYS)]
    for key in keys:
        node.put(key, key)
        world.run(STEP_S)
    # What a status has of a node's process, links and health, of one that idles.
    idle = build(read_text("[tls]\nmode = off\n[dht]", "node.ini", Path("/")), MemoryReactorClock(), lambda: None)
    of_process = idle.dht.status()

    def status() -> dict[str, object]:
        events = [{"at_ms": event.at_ms, "text": event.text} for event in node.events]
        return fitted({**of_process, **node.status(), **node.records.status(), "events": events})

    view = NodeView(node, node, {}, here)
    view.status = status
    web = web_of_node(WebSection(), view, Measured(list, node.searches.measured, {}), here)
    here.listenTCP(port, web.site, interface="127.0.0.1")

    def pass_time() -> None:
        was_s = world.now_s
        world.run(STEP_S)
        if int(was_s) != int(world.now_s):
            node.get(world.rng.choice(keys))
            if int(world.now_s) % CHURN_EVERY_S == 0:
                world.crash(world.rng.choice([peer for peer in world.members() if peer != me]))
                world.start()

    def told() -> None:
        print(json.dumps({"simulated_s": world.now_s, "members": len(world.members())}), flush=True)

    LoopingCall(pass_time).start(STEP_S)
    told()
    LoopingCall(told).start(5, now=False)
    here.run()


def own_mb(pid: int) -> float:
    """Memory of a process that no other shares, in millions of bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024 / 1e6


def renderer_of(browser: Any, page: Any) -> int:
    """The process that shows a page: the one that worked for it last."""
    before = {one["id"]: one["cpuTime"] for one in processes(browser)}
    page.evaluate("() => { const ends = performance.now() + 300; while (performance.now() < ends); }")
    worked = {one["id"]: one["cpuTime"] - before.get(one["id"], 0) for one in processes(browser)}
    return max(worked, key=lambda pid: worked[pid])


def processes(browser: Any) -> list[dict[str, Any]]:
    """Chromium's processes that show pages."""
    told = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    return [one for one in told if one["type"] == "renderer"]


def watched(url: str, minutes: float) -> dict[str, object]:
    """Look on for so long."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playing:
        browser = playing.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        blank = browser.new_page()
        blank_mb = own_mb(renderer_of(browser, blank))
        blank.close()
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        page.goto(url, wait_until="domcontentloaded")
        page.wait_for_selector(".node")
        page.evaluate(COUNTED)
        devtools = page.context.new_cdp_session(page)

        def heap_mb() -> float:
            devtools.send("HeapProfiler.collectGarbage")
            return float(devtools.send("Runtime.getHeapUsage")["usedSize"]) / 1e6

        page.wait_for_timeout(minutes * 6_000)
        heap_first_mb = heap_mb()
        page.wait_for_timeout(minutes * 54_000)
        took = page.evaluate("took")
        found = {
            "updates": len(took),
            "median_ms": round(median(took), 1),
            "p99_ms": round(quantile(took, 0.99), 1),
            "most_ms": round(max(took), 1),
            "long": page.evaluate("long"),
            "heap_first_mb": round(heap_first_mb, 1),
            "heap_mb": round(heap_mb(), 1),
            "blank_mb": round(blank_mb, 1),
            "renderer_mb": round(own_mb(renderer_of(browser, page)), 1),
            "drawn": page.evaluate("drawn.size"),
            "members": page.evaluate("ring.members"),
        }
        browser.close()
    return found


def main() -> None:
    """Measure, or serve what is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.nodes)
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.page", "--serve", str(port), "--nodes", str(options.nodes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ring:
        assert ring.stdout is not None
        try:
            began = json.loads(ring.stdout.readline())
            url = f"http://127.0.0.1:{port}/"
            with urlopen(f"{url}status.json") as reply:
                status_bytes = len(reply.read())
            with urlopen(f"{url}events") as reply:
                picture_bytes = max(len(reply.readline()) for _ in range(5))
            found = watched(url, options.minutes)
        finally:
            ring.kill()
        ended = json.loads(ring.stdout.read().splitlines()[-1])
    passed_s = round(ended["simulated_s"] - began["simulated_s"])
    print(json.dumps({**found, "picture_bytes": picture_bytes, "status_bytes": status_bytes, "simulated_s": passed_s}))


if __name__ == "__main__":
    main()
