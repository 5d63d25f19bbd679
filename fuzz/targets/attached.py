"""Where mail goes, and what is attached to it."""

from __future__ import annotations

import tempfile
from email import message_from_bytes
from email.policy import default
from functools import cache
from pathlib import Path

import msgspec
from hypothesis import strategies as st

from app.domain.addresses import MAX_ADDRESS_BYTES, Mailbox, mailbox
from app.domain.deliveries import GivenAttachment, masked
from app.domain.errors import DeliveryFailed
from app.outbox.attachments import load
from app.outbox.email.message import MAX_FILE_NAME_CHARS, sender, to_bytes
from fuzz.hostile import TEXTS, as_json, spoiled
from fuzz.target import CANARY, Target
from fuzz.targets.mail import check_message, message

MAX_ATTACHED = 100_000  # bytes
_temporary = tempfile.TemporaryDirectory(prefix="hub-fuzz-")  # removed when the process ends


def check_address(data: bytes) -> None:
    """An address that mail can be sent to and no header is added by, or ValueError that doesn't repeat it."""
    text = data.decode("utf-8", "surrogateescape")
    masked(text)
    for read in (mailbox, sender):
        try:
            found = read(text)
        except ValueError as error:
            assert len(text) < 6 or text not in str(error), "the error repeats the address"
            continue
        box = found if isinstance(found, Mailbox) else found.mailbox
        assert str(box).isprintable()
        assert not set(str(box)) & set(' ,;<>"()[]\\'), f"{box} is more than an address"
        assert box.domain.isascii()
        assert len(str(box).encode()) <= MAX_ADDRESS_BYTES
        assert mailbox(str(box)) == box, "read again it is another"


class _Mail(msgspec.Struct):
    subject: str = "s"
    text: str = "t"
    html: str = "<p>t</p>"


def check_attachments(data: bytes) -> None:
    """JSON of attachments: files of the folder and no others, and headers that nobody adds to."""
    try:
        given = msgspec.json.decode(data, type=tuple[GivenAttachment, ...])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    try:
        loaded = load(given, str(_folder()), MAX_ATTACHED)
    except DeliveryFailed as error:
        assert error.code == "attachment"
        assert not error.retryable, "it would be retried without success"
        str(error).encode()
        return
    assert sum(len(each.content) for each in loaded) <= MAX_ATTACHED
    for asked, attachment in zip(given, loaded, strict=True):
        assert attachment.content == (b"inside" if asked.path is not None else asked.content)
    written = to_bytes(message(_Mail(), loaded))
    check_message(written, "s")
    parts = [*message_from_bytes(written, policy=default).iter_attachments()]
    assert len(parts) == len(loaded)
    for part, attachment in zip(parts, loaded, strict=True):
        allowed = {"Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "MIME-Version"}
        assert {*part.keys()} <= allowed, f"a part's headers: {part.keys()}"
        assert part.get_payload(decode=True) == attachment.content
        assert len(part.get_filename() or "") <= MAX_FILE_NAME_CHARS


@cache
def _folder() -> Path:
    """A folder with a file, and paths out of it."""
    outside = Path(_temporary.name)
    (outside / "secret").write_text(CANARY)
    folder = outside / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("inside")
    (folder / "sub" / "b.pdf").write_text("inside")
    (folder / "out").symlink_to(outside)
    (folder / "file").symlink_to(outside / "secret")
    (folder / "round").symlink_to(folder / "round")
    return folder


_PATHS = st.lists(
    st.sampled_from(
        ("..", ".", "a.txt", "sub", "b.pdf", "out", "secret", "file", "round", "", "\0", "x" * 300)
    ),
    min_size=1,
    max_size=4,
).map("/".join)
_ATTACHMENTS = st.lists(
    st.fixed_dictionaries({"path": _PATHS}, optional={"name": TEXTS, "content_type": TEXTS})
    | st.fixed_dictionaries(
        {"content": st.sampled_from(("", "JVBERg==", "AAEC")), "name": TEXTS},
        optional={"content_type": TEXTS | st.sampled_from(("text/html", "image/png; x=y", "a/b"))},
    ),
    max_size=3,
)
_TEXT = TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass"))
TARGETS = (
    Target(
        "addresses",
        "an address that is one, and stays the same read again; or `ValueError` that doesn't repeat it",
        check_address,
        spoiled(
            st.tuples(
                _TEXT, st.just(b"@"), st.sampled_from((b"b.example", b"xn--nxasmq6b", b"\xc3\xa9.fr")) | _TEXT
            ).map(b"".join)
        ),
        [b"@", b"<", b">", b"xn--", b".example", b"\xc3\xa9", b"\r\n", b'"'],
        longest=4096,
    ),
    Target(
        "attachments",
        "files of their folder only, read as they are; names that add no header; or `DeliveryFailed`",
        check_attachments,
        spoiled(_ATTACHMENTS.map(as_json)),
        [b'[{"path":"', b'"name":"', b'"content":"', b'"content_type":"', b"../", b"a.txt", b"//[", b"data:"],
        longest=60_000,
        weight=0.1,
    ),
)
