"""An IMAP server for tests: one mailbox, in plain text, with the commands that the hub uses."""

from __future__ import annotations

import base64
import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

USER, PASSWORD = "bounces@hub.example", "imap-hunter2-hunter2"


@dataclass
class FakeMailbox:
    """`mails` by id, the flags of each, and what the server was asked."""

    port: int
    mails: dict[int, bytes] = field(default_factory=dict)
    flags: dict[int, set[str]] = field(default_factory=dict)
    token: str | None = None
    """The access token that is accepted in place of the password."""
    fails: str = ""
    """A command that is answered with NO."""
    asked: list[str] = field(default_factory=list)

    def add(self, mail: bytes) -> int:
        """Put an unread mail there; return its id."""
        uid = max(self.mails, default=10) + 1
        self.mails[uid], self.flags[uid] = mail, set()
        return uid


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    mailbox: FakeMailbox


class _Session(socketserver.StreamRequestHandler):
    """One connection."""

    @property
    def _mailbox(self) -> FakeMailbox:
        assert isinstance(self.server, _Server)
        return self.server.mailbox

    def handle(self) -> None:
        self._say(b"* OK ready")
        while line := self.rfile.readline():
            tag, _, command = line.decode().strip().partition(" ")
            mailbox = self._mailbox
            mailbox.asked.append(command)
            name = " ".join(command.upper().split()[: 2 if command.upper().startswith("UID") else 1])
            if name == mailbox.fails:
                self._say(f"{tag} NO not now".encode())
                continue
            if name == "LOGOUT":
                self._say(b"* BYE", f"{tag} OK bye".encode())
                return
            self._say(f"{tag} {self._answer(name, command)}".encode())

    def _answer(self, name: str, command: str) -> str:
        mailbox = self._mailbox
        match name:
            case "CAPABILITY":
                self._say(b"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2")
            case "LOGIN":
                good = command.split()[1:] == [USER, f'"{PASSWORD}"']
                return "OK done" if good else f"NO [AUTHENTICATIONFAILED] {command.split()[-1]} is wrong"
            case "AUTHENTICATE":
                self._say(b"+ ")
                given = base64.b64decode(self.rfile.readline())
                good = given == f"user={USER}\x01auth=Bearer {mailbox.token}\x01\x01".encode()
                return "OK done" if good else "NO no such token"
            case "SELECT":
                self._say(f"* {len(mailbox.mails)} EXISTS".encode())
            case "UID SEARCH":
                unread = [str(uid) for uid in mailbox.mails if "\\Seen" not in mailbox.flags[uid]]
                self._say(f"* SEARCH {' '.join(unread)}".rstrip().encode())
            case "UID FETCH":
                uid = int(command.split()[2])
                if (mail := mailbox.mails.get(uid)) is not None:
                    head = f"* 1 FETCH (UID {uid} BODY[]<0> {{{len(mail)}}}".encode()
                    self._say(head, mail + b")")
            case "UID STORE":
                uid = int(command.split()[2])
                mailbox.flags[uid].update(re.findall(r"\\\w+", command))
            case "EXPUNGE":
                for uid in [uid for uid, flags in mailbox.flags.items() if "\\Deleted" in flags]:
                    del mailbox.mails[uid], mailbox.flags[uid]
            case _:
                return "BAD what"
        return "OK done"

    def _say(self, *lines: bytes) -> None:
        self.wfile.write(b"".join(line + b"\r\n" for line in lines))


@contextmanager
def run_imap() -> Iterator[FakeMailbox]:
    """Serve an empty mailbox on a free port."""
    with _Server(("127.0.0.1", 0), _Session) as server:
        server.mailbox = FakeMailbox(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.mailbox
        finally:
            server.shutdown()
            thread.join()
