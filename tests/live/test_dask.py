"""A sweep on a Dask cluster of two workers, each a process of its own, of which one is killed in the middle."""

from __future__ import annotations

import os
import signal
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.simulation.run import Options
from chordtwist.simulation.sweep import Sweep, work
from chordtwist.simulation.sweep_command import cluster, processes

try:
    from distributed import LocalCluster
except ImportError:
    raise SkipTest("Dask is not installed: pip install 'chordtwist[sweep]'") from None

SEEDS = range(95, 105)


class DaskTests(SynchronousTestCase):
    """The executor of a cluster that runs here."""

    def test_a_worker_is_killed(self) -> None:
        """The sweep comes to the digest of a sweep by processes; what the killed worker had begun is run elsewhere."""
        options = Options(4, 0, 0.2, "mixed", successors=3, replication=2, lookups=0, records=0)
        here = Sweep(options, SEEDS, work)
        list(here.run(processes(2)))
        there = Sweep(options, SEEDS, work)
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as made:
            for count, _ in enumerate(there.run(cluster(made.scheduler_address))):
                if count == 1:
                    os.kill(next(iter(made.workers.values())).pid, signal.SIGKILL)
        self.assertEqual((here.failed, there.failed), ([], []))
        self.assertEqual(there.digest(), here.digest())
