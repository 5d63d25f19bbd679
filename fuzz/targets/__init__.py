"""The table of all that is fuzzed. A new one is a check, an inventor of inputs, and a line here."""

from __future__ import annotations

from fuzz.target import Target
from fuzz.targets import attached, dead_letters, events, http, live, mail, others, requests

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (events, live, http, dead_letters, requests, mail, attached, others)
    for target in module.TARGETS
}
