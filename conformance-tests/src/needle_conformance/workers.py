"""Runs that pytest-xdist spreads over processes: what the workers saw, brought together where the report is made."""

from dataclasses import astuple, replace
from typing import Any

import pytest

from needle.fallback import Fallback, fallbacks
from needle_conformance.progress import Progress

KEY = "needle_conformance"  # in what a worker hands over; xdist takes plain values alone


class Gathering:
    """A pytest plug-in: a worker hands over its counts, and the process that reports adds them to its own."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            counts = [(str(device), *rest, n) for (device, *rest), n in self.progress.counts.items()]
            records = [astuple(replace(r, device=str(r.device))) for r in fallbacks()]  # type: ignore[arg-type]  # as text
            output[KEY] = {"counts": counts, "fallbacks": records}

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """xdist's hook. A worker that crashed hands over nothing; xdist counts its test as failed."""
        seen = getattr(node, "workeroutput", {}).get(KEY, {})
        devices = {str(device): device for device in self.progress.devices}
        for name, stage, outcome, n in seen.get("counts", ()):
            self.progress.counts[devices[name], stage, outcome] += n
        for op, dtype, name, *rest in seen.get("fallbacks", ()):
            if name in devices:
                self.progress.elsewhere.append(Fallback(op, dtype, devices[name], *rest))
