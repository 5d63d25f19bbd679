"""Names of fields that a form doesn't have: which is meant, in words. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

_MEANT = {
    **dict.fromkeys(
        ("scheduledat", "scheduledfor", "schedule", "sendtime", "deliverat", "sendlater"), "send_at"
    ),
    **dict.fromkeys(
        ("recipient", "recipients", "receiver", "address", "emailaddress", "phone", "number"), "to"
    ),
    **dict.fromkeys(("body", "content", "text", "msg"), "message"),
    **dict.fromkeys(("subject", "heading"), "title"),
    **dict.fromkeys(("channel", "kind", "medium"), "type"),
    **dict.fromkeys(("language", "lang"), "locale"),
    **dict.fromkeys(("template", "templateid", "templatename"), "template_code"),
    **dict.fromkeys(("params", "variables", "context", "payload", "metadata"), "data"),
    **dict.fromkeys(("files", "attachment"), "attachments"),
    **dict.fromkeys(("priority", "important"), "urgent"),
    **dict.fromkeys(("user", "userid", "uid"), "user_id"),
    **dict.fromkeys(("idempotencykey", "id", "messageid"), "event_id"),
    **dict.fromkeys(("filename", "file"), "name"),
    **dict.fromkeys(("contenttype", "mimetype", "mime"), "content_type"),
    **dict.fromkeys(("on", "active", "isenabled"), "enabled"),
}
"""Fields of other systems, without separators and in lower case."""
MIN_LIKENESS = 0.75  # of 1
MAX_NAME_CHARS = 60
MAX_DIGITS_COUNT = 2  # `address2` is a name, `482913` is none


def unknown_field(given: Iterable[str], known: Collection[str]) -> str | None:
    """What is wrong with the first of the `given` fields that isn't `known`; None if all are."""
    return next((described(name, known) for name in given if name not in known), None)


def described(name: str, known: Collection[str]) -> str:
    """That `name` isn't among the `known` fields, and which of them is meant.

    What looks like a value is not repeated: a body that was put together wrongly may have a secret there.
    """
    if not _like_a_name(name):
        return (
            "the body has an unknown field; its name is not shown because it looks like a value. The "
            f"fields are {', '.join(sorted(known))}"
        )
    shown = name if len(name) <= MAX_NAME_CHARS else f"{name[:MAX_NAME_CHARS]}…"
    meant = _nearest(name[:MAX_NAME_CHARS], known)
    hint = f"did you mean `{meant}`?" if meant else f"the fields are {', '.join(sorted(known))}"
    return f"`{shown}` is not a field of this body; {hint}"


def _like_a_name(name: str) -> bool:
    return sum(c.isdigit() for c in name) <= MAX_DIGITS_COUNT and not any(c.isspace() for c in name)


def _nearest(name: str, known: Collection[str]) -> str | None:
    bare = {_bare(each): each for each in known}
    asked = _bare(name)
    if asked in bare:
        return bare[asked]
    if (meant := _MEANT.get(asked)) in known:
        return meant
    close = get_close_matches(asked, bare, 1, MIN_LIKENESS)
    return bare[close[0]] if close else None


def _bare(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
