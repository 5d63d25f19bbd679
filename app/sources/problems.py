"""What is wrong with an event, in words."""

from __future__ import annotations

from typing import NamedTuple

UNUSED = "unused"
"""The code of what doesn't cost the event: something of it would not be used."""


class EventProblem(NamedTuple):
    """Why an event would be dead-lettered, or, with the code `unused`, what of it would not be used."""

    code: str
    """The reason of the dead letter, or `unused`."""
    path: str
    """The place in the message as a JSONPath (RFC 9535)."""
    text: str
    accepted: str = ""
    """What is accepted there."""
    nearest: str = ""
    """The name that may be meant."""

    @property
    def fatal(self) -> bool:
        """Whether the event would be dead-lettered."""
        return self.code != UNUSED

    def __str__(self) -> str:
        sentences = [
            f"{self.path}: {self.text}",
            f"accepted: {self.accepted}" if self.accepted else "",
            f"did you mean `{self.nearest}`?" if self.nearest else "",
        ]
        level = f"error[{self.code}]" if self.fatal else "warning"
        return f"{level} {'; '.join(filter(None, sentences))}"
