# SPDX-License-Identifier: Apache-2.0
"""``make nightly``: random networks through every engine, damaged files, and every planted fault.

Jobs take turns, and after each turn the result is written as JSON: a night that was ended goes on where it was. Seeds
are printed, and stand in the result beside what failed. Ends with exit code 1 where anything did, or where fewer than
95 % of the planted faults were noticed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from spikefold import __version__
from spikefold.files import read_json, write_json
from tests.faults.planting import copied, faults, planter
from tests.nightly.jobs import JOBS

NOTICED_SHARE = 0.95
_MOST_FAILURES = 20


class Night:
    """What was done so far, and its file."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        fresh: dict[str, Any] = {"spikefold": __version__, "seed": seed, "seconds": 0.0, "jobs": {}, "faults": {}}
        known = read_json(path) if path.is_file() else fresh
        self.state: dict[str, Any] = known if known["seed"] == seed else fresh

    def keep(self) -> None:
        """Write it down."""
        write_json(self.path, self.state | {"summary": self.summary()})

    def job(self, name: str) -> dict[str, Any]:
        """One job's record."""
        empty = {"rounds": 0, "seconds": 0.0, "counts": {}, "failures": []}
        found: dict[str, Any] = self.state["jobs"].setdefault(name, empty)
        return found

    def summary(self) -> dict[str, Any]:
        """What one looks at first."""
        noticed = list(self.state["faults"].values())
        return {
            "done": {
                name: f"{one['counts'].get('done', 0):,} of {JOBS[name].wanted:,} {JOBS[name].kind}"
                for name, one in self.state["jobs"].items()
            },
            "failures": sum(len(one["failures"]) for one in self.state["jobs"].values()),
            "faults": f"{sum(noticed)} of {len(noticed)} noticed, {len(faults())} there are",
            "survived": [name for name, was_noticed in self.state["faults"].items() if not was_noticed],
        }

    def passed(self) -> bool:
        """Whether nothing failed and enough faults were noticed."""
        noticed = list(self.state["faults"].values())
        enough = not noticed or sum(noticed) >= NOTICED_SHARE * len(noticed)
        return enough and not any(one["failures"] for one in self.state["jobs"].values())


def round_of(night: Night, name: str) -> bool:
    """One round of a job; False where it has done enough."""
    planned, record = JOBS[name], night.job(name)
    if record["counts"].get("done", 0) >= planned.wanted or len(record["failures"]) >= _MOST_FAILURES:
        return False
    seed = night.state["seed"] * 1_000_003 + record["rounds"]
    started = time.process_time()
    try:
        counts = planned.run(seed)
    except Exception as error:  # noqa: BLE001  whatever it is, it is the finding, and the night goes on
        traceback.print_exc()
        record["failures"].append({"seed": seed, "error": f"{type(error).__name__}: {error}"[:2000]})
        counts = Counter()
    record["counts"] = dict(Counter(record["counts"]) + counts)
    record["rounds"] += 1
    record["seconds"] += time.process_time() - started
    print(
        f"{name}: seed {seed}, {record['counts'].get('done', 0):,} of {planned.wanted:,} {planned.kind}", flush=True
    )
    return True


def main() -> int:
    """Work through a night, or as much of it as there is time for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=480, help="of the clock, after which no new round begins")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("nightly.json"))
    parser.add_argument("--jobs", nargs="*", choices=[*JOBS, "faults"], default=[*JOBS, "faults"])
    given = parser.parse_args()
    night, ends = Night(given.out, given.seed), time.monotonic() + 60 * given.minutes
    started, before = time.monotonic(), night.state["seconds"]
    waiting = [fault for fault in faults() if fault.name not in night.state["faults"] and "faults" in given.jobs]
    with tempfile.TemporaryDirectory() as folder:
        home = copied(Path(folder))
        with planter(home) as process:
            busy = True
            while busy and time.monotonic() < ends:
                busy = any([round_of(night, name) for name in given.jobs if name in JOBS])
                if waiting:
                    fault = waiting.pop(0)
                    noticed, output = process.noticed(home, fault)
                    night.state["faults"][fault.name] = noticed
                    print(f"fault {fault.name!r}: {'noticed' if noticed else 'SURVIVED'}", flush=True)
                    if not noticed:
                        print(output[-2000:], flush=True)
                    busy = True
                night.state["seconds"] = before + time.monotonic() - started
                night.keep()
    print(json.dumps(night.summary(), indent=1))
    return 0 if night.passed() else 1


if __name__ == "__main__":
    sys.exit(main())
