"""What a mail server's refusal means: one table of enhanced status codes (RFC 3463, the IANA registry, and
those of large providers), and one of words for servers that give none or a vague one. No I/O.

A refusal of one recipient or one mail is permanent. One of the sender (a quota, a relay, DMARC, a blocklist)
concerns every mail, and ends when an operator has acted: it waits.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Refusal(StrEnum):
    """Whom or what the server refuses."""

    ADDRESS = "address"
    """There is no such recipient: permanent, for every mail to it."""
    MAIL = "mail"
    """This mail, or mail to this recipient: permanent."""
    SENDER = "sender"
    """The sender's set-up: every mail, until an operator acts."""
    PASSING = "passing"
    """The server or the mailbox, for now."""


_ADDRESS, _MAIL, _SENDER, _PASSING = Refusal.ADDRESS, Refusal.MAIL, Refusal.SENDER, Refusal.PASSING

# By subject and detail. One that isn't here, or has None, is decided by the words.
_BY_STATUS: dict[str, Refusal] = {
    **dict.fromkeys(("1.0", "1.1", "1.2", "1.3", "1.6", "1.10"), _ADDRESS),
    **dict.fromkeys(("1.7", "1.8", "1.9", "1.90", "1.703"), _SENDER),  # 1.90: Microsoft's daily limit
    "2.1": _ADDRESS,  # disabled
    "2.2": _PASSING,  # full
    **dict.fromkeys(("2.3", "3.3", "3.4"), _MAIL),  # too large
    **dict.fromkeys(("2.121", "2.122", "3.1", "3.2"), _PASSING),  # 2.12x: the recipient gets too many
    "3.5": _SENDER,
    "4.5": _SENDER,  # Gmail's daily limit
    **dict.fromkeys(("4.0", "4.2", "4.3", "4.7", "4.9"), _PASSING),
    **dict.fromkeys(("4.4", "4.6", "4.12", "4.14", "4.310"), _ADDRESS),  # no mail server, or loops
    **dict.fromkeys(("4.300", "4.312", "4.316", "4.317"), _PASSING),  # Microsoft gave up: no answer
    **dict.fromkeys(("5.1", "5.5"), _SENDER),
    **{f"6.{detail}": _MAIL for detail in range(1, 11)},
    # Login and TLS.
    **dict.fromkeys(("7.3", "7.4", "7.5", "7.8", "7.9", "7.10", "7.11", "7.13", "7.14", "7.15"), _SENDER),
    # The rules of this recipient.
    **dict.fromkeys(("7.2", "7.12", "7.17", "7.18", "7.124", "7.129"), _MAIL),
    **{f"7.{detail}": _MAIL for detail in range(133, 137)},
    **{f"7.{detail}": _SENDER for detail in range(20, 31)},  # DKIM, SPF, DMARC, reverse DNS, rates
    **dict.fromkeys(("7.40", "7.57", "7.60", "7.64", "7.139", "7.232", "7.233", "7.509", "7.515"), _SENDER),
    # Microsoft: spam from the tenant, blocklists, limits of tenants.
    **{f"7.{detail}": _SENDER for detail in (*range(501, 509), *range(510, 515), *range(606, 650))},
    **{f"7.{detail}": _SENDER for detail in (*range(700, 710), 750)},
}
# The first that matches decides. Each is written for what servers say, in lower case.
_PATTERNS: tuple[tuple[Refusal, tuple[str, ...]], ...] = (
    (_PASSING, (r"maximum sending rate",)),  # SES: so many a second
    (
        _SENDER,  # relays
        (
            r"relay(?:ing)? (?:access )?(?:is )?(?:denied|not permitted|disallowed|not allowed|prohibited)",
            r"(?:unable|not (?:permitted|allowed|authorized)|cannot|do not|refus\w+) (?:to )?relay",
            r"not a relay|no relay",
        ),
    ),
    (
        _SENDER,  # blocklists
        (
            r"block(?:ed|ing)? (?:using|by|list)|(?:black|block|deny) ?list",
            r"\b(?:rbl|dnsbl|spamhaus|spamcop|barracuda|sorbs|uceprotect|proofpoint|cloudmark)\b",
            r"(?<!not )listed (?:at|by|in|on)|reputation|\bbanned\b(?!:)|client host .*(?:blocked|rejected)",
            r"ip (?:address )?.{0,40}(?:blocked|not allowed|rejected)",
            r"\b(?:helo|ehlo)\b|\bptr\b|reverse (?:dns|hostname|lookup)",
            r"access to (?:submit messages|this mail system)|not allowed to connect|outbound ?spam",
        ),
    ),
    (
        _SENDER,  # authentication, of the login and of the domain
        (
            r"\b(?:dmarc|dkim|(?:open)?spf|sender id)\b|unauthenticated (?:mail|email|sender)",
            r"sender (?:policy|verify|verification)|not authenticated|must (?:first )?authenticate",
            r"authenticat(?:ion|e) (?:is )?(?:required|first|unsuccessful)|pop before smtp",
            r"credentials (?:\w+ )?invalid|invalid (?:\w+ )?credentials|not authorized to perform",
            r"(?:must issue a|requires?) (?:starttls|encryption)|log ?in (?:is )?(?:required|first)",
        ),
    ),
    (
        _SENDER,  # quotas
        (
            r"\b(?:daily|hourly|monthly|sending|messages?|mails?|emails?|rate|credits?|plan)\b[\w ]{0,30}"
            r"(?:limit|quota|exceeded|exhausted)(?!.*(?:mailbox|recipient|inbox))",
            r"max(?:imum)? (?:number of )?(?:messages|mails|emails|defers)|sending paused",
            r"too many (?:messages|mails|emails)|sent to too many|unusual (?:rate|sending)|sandbox",
            r"(?:account|domain|sender) (?:is |has been |was )?"
            r"(?:suspended|blocked|locked|restricted|not (?:verified|activated|allowed to send))",
        ),
    ),
    (
        _SENDER,  # the address of the sender
        (
            r"(?:sender|from|return.path|envelope)[\w ':<>@.-]{0,60}"
            r"(?:not (?:verified|allowed|owned|authori[sz]ed|permitted)|does not match|rejected|denied)",
            r"unresolvable [\w. ]*from domain|domain of sender",
            r"(?:address|identit\w+) (?:is|are) not verified|sendas ?denied|send as",
            r"not (?:owned|allowed) (?:by|to send)",
        ),
    ),
    (
        _ADDRESS,
        (
            r"(?:user|mailbox|recipient|address|account|addressee)[\w '<>@.:,-]{0,60}(?:unknown|disabled|"
            r"inactive|no longer|invalid|not (?:found|exist)|do(?:es)?(?:n.t| not) exist)",
            r"not a valid (?:user|mailbox|recipient|address|account)",
            r"mailbox unavailable|no mailbox here",
            r"no such (?:user|mailbox|recipient|address|account|domain)",
            r"does(?:n.t| not) have an? \S+ account",
            r"not listed in (?:the )?\S* ?(?:directory|public)|nxdomain|domain name not found",
            r"(?:host or domain name|host) not found(?!.*try again)|no mx records? found",
            r"(?:unknown|invalid|nonexistent|unrouteable) (?:user|mailbox|recipient|address|account|domain\b"
            r"(?! name))",
        ),
    ),
    (
        _PASSING,
        (
            r"(?:mailbox|inbox|recipient|user)[\w ]{0,30}(?:full|quota)",
            r"receiving mail (?:at a rate|too)",
            r"try (?:again )?later|temporar",
        ),
    ),
)
MAX_WORDS_CHARS = 1000  # looked at; whoever gets a mail can send back a report with any number of them
_BY_WORDS = [(refused, re.compile("|".join(patterns))) for refused, patterns in _PATTERNS]
_ENHANCED = re.compile(r"(?:^|[^0-9.])([245])\.([0-9]{1,3})\.([0-9]{1,3})(?![0-9.])")


def enhanced_status(words: str) -> tuple[int, str] | None:
    """Class, and subject with detail, of the first enhanced status code in a server's words."""
    found = _ENHANCED.search(words[:200])
    return (int(found[1]), f"{int(found[2])}.{int(found[3])}") if found else None


def refusal(code: int, words: str, *, recipient: bool) -> Refusal:
    """What a refusal of 4xx or 5xx means, after the connection and MAIL FROM were fine.

    Args:
        code: The basic status code.
        words: The text after it, of all lines.
        recipient: Whether RCPT TO was refused, or else the mail itself.
    """
    status = enhanced_status(words)
    said = " ".join(words[:MAX_WORDS_CHARS].lower().split())
    of_words = next((refused for refused, pattern in _BY_WORDS if pattern.search(said)), None)
    if status is not None:
        severity, detail = status
        if severity == 4 and detail == "3.5":
            return _PASSING  # of the receiver's server
        if severity == 4:
            return _SENDER if _BY_STATUS.get(detail) is _SENDER or of_words is _SENDER else _PASSING
        if (known := _known(detail, of_words, recipient=recipient)) is not None:
            return known
    elif code < 500:
        return _SENDER if of_words is _SENDER else _PASSING
    if of_words is _ADDRESS and recipient:
        return _ADDRESS
    if code in (552, 555) and of_words is not _SENDER:
        return _MAIL if of_words is not _PASSING else _PASSING
    if of_words is _ADDRESS and not recipient:
        return _MAIL
    if of_words is None and recipient and code in (550, 551, 553) and status is None:
        return _MAIL
    return of_words or _MAIL


def _known(detail: str, of_words: Refusal | None, *, recipient: bool) -> Refusal | None:
    found = _BY_STATUS.get(detail)
    if detail == "4.1":  # no answer from the next host; at Microsoft, no such recipient
        return _ADDRESS if recipient else _PASSING
    if found is _ADDRESS and of_words is _SENDER:
        return _SENDER  # such as 5.1.1 "sender not verified"
    if found is _ADDRESS and of_words is _PASSING:
        return _PASSING  # such as 5.1.1 "over quota temporarily"
    if found is _MAIL and of_words is _SENDER and detail.startswith("6."):
        return _SENDER
    return found
