"""One target in a separate process: `python -m fuzz.child <target> <built> <guided> <seed> <folder>`.

First come the long inputs and those that Hypothesis builds; then those by atheris. It says how far it is as
libFuzzer does, in lines on standard error that begin with `#` and a number. Its status isn't 0 when a promise
was broken; then the input is in the folder, in a file whose name begins with `crash-`.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

from fuzz.engines import LONG, WITHIN, Found, examples, long, structured
from fuzz.target import Target, checked, name_of

INSTRUMENTED = ["app", "handlers", "websockets", "pamqp", "jwt", "h11"]
EXAMPLES = 50
HANGS_AFTER = 120  # seconds
MEMORY_MB = 1024


def main() -> None:
    """Try to break one target's promise."""
    name, built, guided, start, folder = sys.argv[1:]
    if not int(guided):
        from fuzz.targets import TARGETS

        _build(TARGETS[name], int(built), int(start), Path(folder))
        return
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        from fuzz.targets import TARGETS
    _build(TARGETS[name], int(built), int(start), Path(folder))
    arguments = _arguments(TARGETS[name], int(guided), int(start), Path(folder))
    atheris.Setup([sys.argv[0], *arguments], lambda data: checked(TARGETS[name], data, WITHIN))
    atheris.Fuzz()  # doesn't return


def _build(target: Target, inputs: int, start: int, folder: Path) -> None:
    bases = [*(path.read_bytes() for path in target.corpus()), *examples(target, EXAMPLES, start)]
    try:
        done = long(target, LONG, start, bases)
        done += structured(target, inputs, start)
    except Found as found:
        (folder / f"crash-{name_of(found.data)}").write_bytes(found.data)
        raise
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"#{done} BUILT rss: {megabytes}Mb", file=sys.stderr, flush=True)


def _arguments(target: Target, inputs: int, start: int, folder: Path) -> list[str]:
    """libFuzzer's: how to fuzz, and the folders with inputs to start from."""
    reached, seeds = folder / "reached", folder / "seeds"
    for each in (reached, seeds):
        each.mkdir(exist_ok=True)
    for data in examples(target, EXAMPLES, start):
        (seeds / name_of(data)).write_bytes(data)
    words = folder / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words or (b"\0",)))
    options = {
        "runs": inputs,
        "seed": start,
        "max_len": target.largest,
        "dict": words,
        "artifact_prefix": f"{folder}/",
        "timeout": HANGS_AFTER,
        "rss_limit_mb": MEMORY_MB,
    }
    corpora = [reached, seeds, *([target.folder] if target.folder.exists() else [])]
    return [*(f"-{option}={value}" for option, value in options.items()), *map(str, corpora)]


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


LINE = re.compile(r"#(\d+)\s*(BUILT)?(?:.*?cov: (\d+) ft: (\d+))?(?:.*?rss: (\d+)Mb)?")
"""What such a line says: inputs so far, whether those were built, branches and features reached, memory."""

if __name__ == "__main__":
    main()
