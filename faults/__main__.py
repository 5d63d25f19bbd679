"""`python -m faults`: run experiments, one after the other, and write down what came of each."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path

import uvloop

from bench.clients import ROOT
from faults import report, results, runner
from faults.experiment import EXPERIMENTS, Experiment
from faults.services import open_site

BUILD = ROOT / "build" / "faults"
_EXAMPLES = """\
examples:
  python -m faults --list                               what each does
  python -m faults                                      all at full size, more than an hour
  python -m faults kill-9 user-service-backlog          some at full size, into docs/reliability.json and .md
  python -m faults kill-9 --size 0.05 --seed 7          a twentieth of one, into build/faults/results.json

At less than full size the limits behind figures don't count; what is lost or doubled always does.
Kafka needs Java; disk-full needs root, as it mounts a small disk.
"""


def main() -> int:
    """1 when an experiment failed."""
    options = _parser().parse_args()
    if options.list:
        for each in EXPERIMENTS.values():
            print(f"{each.name}: {each.what}")
        return 0
    names = [name for words in options.experiments for name in words.split()]
    if unknown := set(names) - EXPERIMENTS.keys():
        print(f"No such experiment: {', '.join(sorted(unknown))}. --list names them.", file=sys.stderr)
        return 2
    chosen = [EXPERIMENTS[name] for name in names] or [*EXPERIMENTS.values()]
    out = options.out or (report.RESULTS if options.size == 1 else BUILD / "results.json")
    # to it a Kafka topic that isn't there yet is an error
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        return uvloop.run(_run(chosen, options.seed, options.size, out.resolve()))
    except KeyboardInterrupt:
        return 130


async def _run(chosen: list[Experiment], seed: int, size: float, out: Path) -> int:
    failed = []
    with tempfile.TemporaryDirectory(prefix="hub-faults-") as home:
        os.chmod(home, 0o755)  # Postgres, which won't run as root, has to reach it
        async with open_site(Path(home)) as site:
            for each in chosen:
                result = await runner.run(each, site, BUILD / "logs" / each.name, seed, size)
                results.add(out, result)
                if out == report.RESULTS:
                    report.write(out)
                print(report.plain(result), flush=True)
                failed += [each.name] if result.problems else []
    print(f"Results in {out}; the nodes' logs in {BUILD / 'logs'}")
    if failed:
        print(f"FAILED: {', '.join(failed)}")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m faults",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("experiments", nargs="*", metavar="NAME", help="which ones; all without")
    parser.add_argument("--list", action="store_true", help="name the experiments, and run none")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random (1)")
    parser.add_argument("--size", type=float, default=1.0, help="a share of the full size, for a look (1)")
    parser.add_argument(
        "--out", type=Path, help="the file of the results; docs/reliability.json at full size"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
