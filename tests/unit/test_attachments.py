"""Attachments: from bytes, or from files of one folder and of no other."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import msgspec
import pytest

from app.domain.deliveries import GivenAttachment
from app.domain.errors import DeliveryFailed
from app.outbox.attachments import load
from app.outbox.channel import Attachment

MOST = 1000  # bytes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    (folder / "tickets").mkdir(parents=True)
    (folder / "tickets" / "vé 1.pdf").write_bytes(b"%PDF")
    (tmp_path / "secret.txt").write_text("hunter2")
    (tmp_path / "files-of-others").mkdir()
    (tmp_path / "files-of-others" / "secret.txt").write_text("hunter2")
    return folder


def refusal(*given: GivenAttachment, folder: Path | None = None, retryable: bool = False) -> str:
    """Why they can't be attached."""
    with pytest.raises(DeliveryFailed) as failed:
        load(given, None if folder is None else str(folder), MOST)
    assert (failed.value.code, failed.value.retryable) == ("attachment", retryable)
    return str(failed.value)


def of(path: str) -> GivenAttachment:
    return GivenAttachment(path=path)


def test_bytes_come_as_base64_in_json() -> None:
    event = [{"name": "ticket.pdf", "content": base64.b64encode(b"%PDF").decode()}]
    given = msgspec.json.decode(msgspec.json.encode(event), type=list[GivenAttachment])
    assert load(given, None, MOST) == (Attachment("ticket.pdf", "application/pdf", b"%PDF"),)


def test_a_file_is_found_by_its_path_in_the_folder(folder: Path) -> None:
    ticket = Attachment("vé 1.pdf", "application/pdf", b"%PDF")
    inside = str(folder / "tickets" / "vé 1.pdf")
    given = (of("tickets/vé 1.pdf"), of(inside), of("tickets/../tickets/vé 1.pdf"))
    assert load(given, str(folder), MOST) == (ticket, ticket, ticket)
    named = GivenAttachment(path="tickets/vé 1.pdf", name="a.bin", content_type="image/png")
    assert load((named,), str(folder), MOST) == (Attachment("a.bin", "image/png", b"%PDF"),)


def test_a_link_may_lead_within_the_folder(folder: Path) -> None:
    (folder / "latest.pdf").symlink_to("tickets/vé 1.pdf")
    assert load((of("latest.pdf"),), str(folder), MOST)[0].content == b"%PDF"
    (folder.parent / "alias").symlink_to(folder)
    assert load((of("latest.pdf"),), str(folder.parent / "alias"), MOST)[0].content == b"%PDF"


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "tickets/../../secret.txt",
        "../files-of-others/secret.txt",
        "/etc/passwd",
        "link.txt",
        "linked/secret.txt",
        "dangling.txt",
    ],
)
def test_nothing_outside_the_folder_is_read(folder: Path, path: str) -> None:
    (folder / "link.txt").symlink_to("../secret.txt")
    (folder / "linked").symlink_to(folder.parent)
    (folder / "dangling.txt").symlink_to("/no/such/file")
    assert refusal(of(path), folder=folder) == f"{path!r} is outside the folder for attachments"


def test_what_is_no_file_is_refused_without_waiting(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "round").symlink_to("round")
    assert "'pipe'" in refusal(of("pipe"), folder=folder)
    assert "'tickets'" in refusal(of("tickets"), folder=folder)
    assert "''" in refusal(of(""), folder=folder)
    assert "'a\\x00b'" in refusal(of("a\0b"), folder=folder)
    assert "'round'" in refusal(of("round"), folder=folder)
    assert "300" in refusal(of("x" * 300), folder=folder)
    for path in ("none.pdf", "tickets/vé 1.pdf/x"):
        assert refusal(of(path), folder=folder) == f"{path!r} isn't in the folder for attachments"


def test_a_file_that_can_not_be_read_now_may_be_later(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "open", fail)
    text = refusal(of("tickets/vé 1.pdf"), folder=folder, retryable=True)
    assert text == "'tickets/vé 1.pdf' can't be read: Input/output error"


def test_without_a_folder_no_path_will_do() -> None:
    assert "ATTACHMENTS_DIR" in refusal(of("tickets/vé 1.pdf"))


def test_all_together_have_one_limit(folder: Path) -> None:
    (folder / "half").write_bytes(bytes(MOST // 2))
    half = GivenAttachment(name="half", content=bytes(MOST // 2))
    assert len(load((half, of("half")), str(folder), MOST)) == 2
    one = GivenAttachment(name="one", content=b"1")
    for given in ((half, of("half"), one), (half, half, of("tickets/vé 1.pdf"))):
        assert "ATTACHMENTS_MAX_BYTES" in refusal(*given, folder=folder)


def test_either_bytes_with_a_name_or_a_path() -> None:
    assert "either" in refusal(GivenAttachment(name="a"))
    assert "either" in refusal(GivenAttachment(name="a", content=b"", path="a"))
    assert "name" in refusal(GivenAttachment(content=b""))
    assert load((GivenAttachment(name="empty", content=b""),), None, MOST)[0].content_type.endswith("stream")
