"""The command behind `make fuzz`. The environment has INPUTS (in all), SEED and TARGETS (names, by commas).

If an input fails, it is printed at the end, and the status is 1. Otherwise docs/explanation/fuzzing.md is
written, provided that all targets together had four million inputs: decoding, frames and HTTP then have a
million each.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from shutil import rmtree

from bench.progress import bar, say
from fuzz.child import LINE
from fuzz.report import Result, write
from fuzz.target import CORPUS, Target
from fuzz.targets import TARGETS

ROOT = Path(__file__).parent.parent
DEFAULT = 4_000_000
SHARE_GUIDED = 0.995  # Hypothesis takes some 4 ms of CPU to build one of the others
LINES_SHOWN = 40


def main() -> int:
    """Fuzz the chosen targets; 1 when a promise was broken."""
    inputs = int(os.environ.get("INPUTS") or DEFAULT)
    start = int(os.environ.get("SEED") or random.randrange(2**31))
    names = [name.strip() for name in (os.environ.get("TARGETS") or "").split(",") if name.strip()]
    if unknown := set(names) - TARGETS.keys():
        say(f"No such target: {', '.join(sorted(unknown))}. There are: {', '.join(TARGETS)}.")
        return 2
    chosen = [TARGETS[name] for name in names or TARGETS]
    guided = find_spec("atheris") is not None
    if not guided:
        say("atheris has no wheel for this Python or system: inputs are made by Hypothesis only.")
    say(f"SEED={start} INPUTS={inputs} TARGETS={','.join(target.name for target in chosen)}")
    parts = sum(target.weight for target in chosen)
    results = [_fuzz(target, round(inputs * target.weight / parts) + 1, start, guided) for target in chosen]
    broken = [result for result in results if result.found]
    done = sum(result.inputs for result in results)
    say(f"{done:,} inputs, {len(broken)} of {len(results)} targets broken")
    for result in broken:
        say(f"{result.target.name}: {', '.join(result.found)}. {_WHAT_THEN}")
    if not broken and len(chosen) == len(TARGETS) and done >= DEFAULT:
        write(ROOT / "docs" / "explanation" / "fuzzing.md", results, inputs, start)
    return 1 if broken else 0


_WHAT_THEN = (
    f"Put it into {CORPUS.relative_to(ROOT)}/<target>/ and repeat it by "
    "`make test TESTS=tests/unit/test_fuzz.py`."
)


def _fuzz(target: Target, inputs: int, start: int, with_atheris: bool) -> Result:
    """Give the target so many inputs, and the long ones."""
    guided = round(inputs * SHARE_GUIDED) if with_atheris else 0
    result = Result(target)
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{target.name.replace(' ', '-')}-"))
    numbers = map(str, (inputs - guided, guided, start))
    lines: list[str] = []
    begun, cpu = time.monotonic(), _cpu_seconds()
    with (
        subprocess.Popen(
            [sys.executable, "-m", "fuzz.child", target.name, *numbers, str(folder)],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(folder)},
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as child,
        bar(target.name, inputs, "inputs") as progress,
    ):
        assert child.stderr is not None
        for line in child.stderr:
            lines = [*lines, line.rstrip()][-LINES_SHOWN:]
            if progress_line := LINE.match(line):
                result.note(
                    int(progress_line[1]),
                    bool(progress_line[2]),
                    *(int(progress_line[n] or 0) for n in (3, 4, 5)),
                )
                progress(result.inputs)
    result.seconds, result.cpu_seconds = time.monotonic() - begun, _cpu_seconds() - cpu
    if child.returncode:
        say("\n".join(lines))
        result.found += [str(path) for path in sorted(folder.glob("crash-*"))] or ["see above"]
    else:
        rmtree(folder)
        say(f"  {result.inputs:,} in {result.seconds:.0f} s, {result.cpu_seconds:.0f} s of CPU")
    return result


def _cpu_seconds() -> float:
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
