"""What the server counts, in Prometheus' text form."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
    multiprocess,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Where several processes keep what they count, each its files: prometheus_client's own variable."""

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_PICTURES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """A process's counters; `inside` tells how many pictures are being worked on."""

    def __init__(self, inside: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._inside = inside
        self.requests = Counter(
            "alexnet_requests", "Requests answered", ("path", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            "alexnet_request_seconds",
            "From a request's headers to its answer",
            ("path",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.batches = Histogram(
            "alexnet_batch_pictures",
            "Pictures answered at a time",
            buckets=_PICTURES,
            registry=self._registry,
        )
        self.unreadable = Counter(
            "alexnet_unreadable_pictures",
            "Pictures answered with a reason, not labels",
            registry=self._registry,
        )
        self._pictures_inside = Gauge(
            "alexnet_pictures_inside",
            "Pictures being decoded, waiting, or being answered",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        if SHARED_FOLDER not in os.environ:
            ProcessCollector(registry=self._registry)

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Count one that was answered."""
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)
        self._pictures_inside.set(self._inside())

    def text(self) -> bytes:
        """All of it, of all processes."""
        self._pictures_inside.set(self._inside())
        registry = self._registry
        if SHARED_FOLDER in os.environ:
            self._forget_the_dead()
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    @staticmethod
    def _forget_the_dead() -> None:
        """A process that was killed has no pictures inside; what it had answered still counts."""
        for path in Path(os.environ[SHARED_FOLDER]).glob("gauge_live*.db"):
            process = int(path.stem.rpartition("_")[2])
            try:
                os.kill(process, 0)
            except (ProcessLookupError, PermissionError):  # or its number is another user's process by now
                with suppress(FileNotFoundError):  # another process forgets it, too
                    multiprocess.mark_process_dead(process)  # type: ignore[no-untyped-call]
