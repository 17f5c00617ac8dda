"""One run of the chaos suite: `python -m tests.chaos.run --seed 7 --database postgresql`.

Three workers, two APIs, a broker and a database; users submit jobs while a seed decides what is killed, frozen, emptied
and restarted; then all is left in peace until every job has ended, and the rules are asked.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from app.db.session import Database
from app.db.tables import EventRow
from tests.chaos.cluster import cluster
from tests.chaos.faults import Faults
from tests.chaos.rules import Evidence, delays, violations
from tests.chaos.users import ENDED, Users

_SECONDS_A_JOB = 40.0  # of patience, once all is quiet


@dataclass
class Outcome:
    """What a run found."""

    violations: list[str]
    figures: dict[str, object]


def run(folder: Path, database: str, seed: int, jobs: int, seconds: float) -> Outcome:
    """Do it all in an empty folder."""
    chance = random.Random(seed)  # noqa: S311 - no secrets
    with cluster(folder, database) as running:
        users = Users(running, chance)
        users.prepare()
        faults = Faults(running, chance)
        began = time.monotonic()
        _disturb(users, faults, chance, jobs, seconds)
        faults.cease()
        _settle(users, jobs * _SECONDS_A_JOB)
        faults.close()
        found = violations(running.settings, users.record, faults.deaths, faults.blurred)
        figures = _figures(running.settings.sql_url, users, faults)
        users.close()
        figures |= {"seconds": round(time.monotonic() - began), "starts": sum(node.starts for node in running.nodes)}
    return Outcome(found, figures)


def _disturb(users: Users, faults: Faults, chance: random.Random, jobs: int, seconds: float) -> None:
    """Faults and wishes by turns, jobs spread over two thirds of the time."""
    began, submitted, next_fault = time.monotonic(), 0, 0.0
    while (passed := time.monotonic() - began) < seconds or submitted < jobs:
        if submitted < jobs and submitted <= jobs * passed / (seconds * 2 / 3):
            users.submit()
            submitted += 1
        if passed >= next_fault:
            next_fault = passed + chance.uniform(0.5, 3)
            if passed < seconds:
                faults.one()
            _wish(users, chance)
        time.sleep(0.02)


def _wish(users: Users, chance: random.Random) -> None:
    draw = chance.random()
    if draw < 0.3:
        users.cancel()
    elif draw < 0.45:
        users.pause()
    elif draw < 0.6:
        users.resume()
    elif draw < 0.65:
        users.upload()


def _settle(users: Users, patience: float) -> None:
    """Until every job has ended; what is not by then is a violation."""
    deadline = time.monotonic() + patience
    open_jobs = set(users.record.jobs)
    while open_jobs and time.monotonic() < deadline:
        users.resume()
        open_jobs = {job for job in open_jobs if users.job(job)["status"] not in ENDED}
        time.sleep(3)  # the machines are to work for jobs rather than for who asks after them
    while time.monotonic() < deadline and _preparing(users):
        time.sleep(0.5)


def _preparing(users: Users) -> bool:
    found = users.ask("GET", "/v1/datasets?limit=100").json()["data"]
    return any(one["status"] == "preparing" for one in found)


def _figures(sql_url: str, users: Users, faults: Faults) -> dict[str, object]:
    database = Database(sql_url)
    with database.reading() as session:
        seen = Evidence.of(session)
        late = delays(seen, faults.deaths, faults.blurred)
        endings = [one.ending for attempts in seen.attempts.values() for one in attempts]
        found: dict[str, object] = {
            "jobs": len(seen.jobs),
            "ended": {status: sum(row.status == status for row in seen.jobs.values()) for status in ENDED},
            "attempts": len(endings),
            "endings": {str(one): endings.count(one) for one in sorted(set(map(str, endings)))},
            "gangs": dict(Counter(nodes for events in seen.events.values() for nodes in _gathered(events))),
            "faults": dict(faults.counts),
            "deaths with a job": len(faults.deaths),
            "longest until queued again": round(max(late, default=0.0), 1),
            "requests repeated": users.record.repeated,
            "slowest answer": round(users.record.slowest, 1),
        }
    database.close()
    return found


def _gathered(events: list[EventRow]) -> list[int]:
    """With how many workers each attempt of several nodes began."""
    return [event.data["nodes"] for event in events if event.type == "gang.gathered"]


def main() -> None:
    """Run what the command line asks for; exit with 1 where a rule was violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--database", choices=["sqlite", "postgresql"], nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=90)
    asked = parser.parse_args()
    failed = False
    for database in asked.database:
        folder = Path(tempfile.mkdtemp(prefix="graftwork-chaos-"))
        outcome = run(folder, database, asked.seed, asked.jobs, asked.seconds)
        print(f"seed {asked.seed} on {database}: {len(outcome.violations)} violations {outcome.figures}", flush=True)  # noqa: T201
        for violation in outcome.violations:
            print(f"  {violation}", flush=True)  # noqa: T201
        if outcome.violations:
            print(f"  everything is left in {folder}")  # noqa: T201
            failed = True
        else:
            shutil.rmtree(folder)
    sys.exit(failed)


if __name__ == "__main__":
    main()
