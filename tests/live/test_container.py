"""etc/container without containers: the image's commands in a folder, the services of the compose file on loopback."""

from __future__ import annotations

import ipaddress
import json
import os
import random
import shlex
import shutil
import signal
import site
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import SkipTest
from urllib.request import Request, urlopen

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests import CHECKOUT
from tests.fleet import BIN

CONTAINER = CHECKOUT / "etc" / "container"
WITHIN_S = 120.0


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Containerfile, each with its words."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, words = line.partition(" ")
        yield name, words.strip()


class Image:
    """What a Containerfile makes, in a folder that stands for the file system of the container."""

    def __init__(self, folder: Path, network: str) -> None:
        self.folder = folder
        self._network = network
        self.environment: dict[str, str] = {}
        self.entrypoint: list[str] = []
        self.command: list[str] = []
        self.health: list[str] = []

    def here(self, text: str) -> str:
        """The text with paths and addresses of the container's as they are on this machine."""
        for path in "/opt/chordtwist", "/source", "/var/lib/chordtwist", "/network":
            text = text.replace(path, str(self.folder) + path)
        return text.replace("172.30.0.", self._network).replace("$$", "$")

    def build(self, text: str) -> None:
        """Carry the instructions out. What pip would fetch is found where the tests have it."""
        bases = 0
        for name, words in instructions(text):
            if name == "FROM":
                bases += 1
            elif name == "COPY" and not words.startswith("--from="):
                *sources, target = words.split()
                into = Path(self.here(target))
                for source in sources:
                    if (CHECKOUT / source).is_dir():
                        shutil.copytree(
                            CHECKOUT / source, into, ignore=shutil.ignore_patterns("__pycache__", "*.cache")
                        )
                    else:
                        into.mkdir(parents=True, exist_ok=True)
                        shutil.copy(CHECKOUT / source, into)
            elif name == "RUN":
                self.run(["sh", "-euc", self.here(words)])
            elif name == "ENV":
                variable, _, value = words.partition("=")
                self.environment[variable] = self.here(value)
            elif name == "HEALTHCHECK":
                self.health = json.loads(words[words.index("CMD ") + 4 :])
            elif name == "ENTRYPOINT":
                self.entrypoint = json.loads(words)
            elif name == "CMD":
                self.command = json.loads(words)
            elif name not in ("COPY", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL"):
                raise AssertionError(f"{name} {words}: no such instruction is known here")
        assert bases == 2, bases

    def surroundings(self, of_service: dict[str, str]) -> dict[str, str]:
        """The environment of a process in a container of this image."""
        inside = self.environment | {name: self.here(value) for name, value in of_service.items()}
        without = {name: value for name, value in os.environ.items() if not name.startswith("CHORDTWIST_")}
        path = f"{inside.get('PATH', '')}:{BIN}:{os.environ['PATH']}"
        offline = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
        return without | offline | inside | {"PATH": path, "PYTHONPATH": ":".join(site.getsitepackages())}

    def run(self, words: list[str], of_service: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, which has to be a good one."""
        ran = subprocess.run(
            words,
            env=self.surroundings(of_service or {}),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
        )
        if ran.returncode != 0:
            raise AssertionError(f"{shlex.join(words)} ends with {ran.returncode}: {ran.stdout}{ran.stderr}")
        return ran


class ContainerTests(SynchronousTestCase):
    """The two files."""

    def setUp(self) -> None:
        """Read them."""
        self.compose: dict[str, Any] = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
        self.services = self.compose["services"]

    def test_compose_is_whole(self) -> None:
        """What a service names is there: networks, volumes, files, other services; addresses lie in the network."""
        (pool,) = self.compose["networks"]["ring"]["ipam"]["config"]
        subnet = ipaddress.ip_network(pool["subnet"])
        for name, service in self.services.items():
            self.assertLessEqual(set(service.get("depends_on", {})), set(self.services), name)
            for network, options in service.get("networks", {}).items():
                self.assertIn(network, self.compose["networks"])
                if options:
                    self.assertIn(ipaddress.ip_address(options["ipv4_address"]), subnet)
            for volume in service.get("volumes", ()):
                source = volume.split(":")[0]
                there = (CONTAINER / source).exists() if source.startswith(".") else source in self.compose["volumes"]
                self.assertTrue(there, volume)
            build = service.get("build")
            if build:
                self.assertEqual(CHECKOUT.resolve(), (CONTAINER / build["context"]).resolve())
                self.assertTrue((CHECKOUT / build["dockerfile"]).exists())
            for port in service.get("ports", ()):
                self.assertTrue(port.startswith("127.0.0.1:"), f"{port} is for everybody")

    def test_three_nodes(self) -> None:
        """The image's commands make a node that runs; the three are one closed ring, healthy by the image's own check,
        with a value that one takes and another gives, and Prometheus is let in where it is told to look.
        """
        if os.getuid() != 0:
            raise SkipTest("needs root, as the build of an image does: its folders are another user's")
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        network = f"127.{random.randrange(1, 255)}.{random.randrange(255)}."
        image = Image(folder, network)
        image.build((CONTAINER / "Containerfile").read_text())
        self.assertEqual(image.here("/opt/chordtwist/bin/chordtwist\n"), image.run(["which", "chordtwist"]).stdout)
        authority = self.services["authority"]
        for _ in range(2):  # the second time it finds all there
            image.run([*authority["entrypoint"], *map(image.here, authority["command"])])

        nodes = {}
        for name in "node1", "node2", "node3":
            service = self.services[name]
            (address,) = (options["ipv4_address"] for options in service["networks"].values())
            # A container has a loopback interface and a state of its own.
            api = image.here(f"{address}:7401")
            nodes[name] = service["environment"] | {
                "CHORDTWIST_DHT_STATE_DIR": f"/var/lib/chordtwist/{name}",
                "CHORDTWIST_DHT_API_ADDRESS": api,
                "CHORDTWIST_API": api,
            }
            self._start(image, nodes[name], name)
        for name, environment in nodes.items():
            self._wait_for(image, environment, name)
        image.run(["chordtwist", "put", "greeting", "good morning"], nodes["node1"])
        self.assertEqual("good morning", image.run(["chordtwist", "get", "greeting"], nodes["node3"]).stdout)

        watched = yaml.safe_load((CONTAINER / "prometheus.yaml").read_text())
        (job,) = watched["scrape_configs"]
        trusted = ssl.create_default_context(cafile=image.here(job["tls_config"]["ca_file"]))
        token = Path(image.here(job["authorization"]["credentials_file"])).read_text().strip()
        (targets,) = (one["targets"] for one in job["static_configs"])
        self.assertEqual(len(nodes), len(targets))
        for target in targets:
            asked = Request(
                f"{job['scheme']}://{image.here(target)}/metrics", headers={"Authorization": f"Bearer {token}"}
            )
            with urlopen(asked, context=trusted, timeout=WITHIN_S) as answer:
                self.assertIn("chordtwist_member 1.0", answer.read().decode())

    def _start(self, image: Image, environment: dict[str, str], name: str) -> None:
        log = self.enterContext((image.folder / f"{name}.log").open("ab"))
        process = subprocess.Popen(
            [*image.entrypoint, *image.command], env=image.surroundings(environment), cwd=image.folder, stderr=log
        )
        self.addCleanup(self._end, process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End it as a container is ended; it leaves in good order."""
        process.send_signal(signal.SIGTERM)
        self.assertEqual(0, process.wait(WITHIN_S))

    def _wait_for(self, image: Image, environment: dict[str, str], name: str) -> None:
        until = time.monotonic() + WITHIN_S
        while True:
            try:
                image.run(image.health, environment)
            except AssertionError as unwell:
                if time.monotonic() > until:
                    raise AssertionError(f"{name} is not healthy: {unwell}") from None
                time.sleep(0.3)
            else:
                return
