"""What an error of Twilio means: one table of its codes (twilio.com/docs/api/errors). No I/O."""

from __future__ import annotations

from enum import StrEnum
from http import HTTPStatus


class Fault(StrEnum):
    """Whose fault it is, and so what helps."""

    NUMBER = "number"
    """Nothing can be sent to this number: permanent, for every message to it."""
    MESSAGE = "message"
    """This message: permanent."""
    SETUP = "setup"
    """The account or a setting: every message, until an operator acts."""
    PASSING = "passing"
    """Twilio or the network, for now."""


_ACCOUNT = (
    *(10001, 10002, 10003, 20003, 20004, 20005, 20006, 20008, 20010),  # inactive, trial, credentials
    *(20011, 20012, 20403, 20404, 20410, 20423, 20426),  # TLS, wrong account
    *range(20101, 20108),
    *range(20151, 20161),
    30002,  # suspended
    30037,  # outbound messaging is disabled
    *(30023, 30027, 30454, 63038),  # daily limits
)
_SENDER = (
    *(21210, 21212, 21213, 21264, 21267, 21601, 21603, 21606, 21607, 21613, 21616, 21621, 21622),
    *(21657, 21659, 21660, 21661, 21663, *range(21664, 21669)),
    *(set(range(21701, 21742)) - {21730}),  # the messaging service, A2P brands and campaigns
    *(21609, 21626, 21900, 21901),  # the URL of status callbacks; ids for India
    *range(30028, 30036),  # unregistered, unverified or suspended
    *(30041, 30042, 30044, 30045, 30404, *range(30100, 30141)),  # link shortening of the service
    *(63001, 63002, 63007, 63008, 63020, 63022, 63051),
)
_ROUTES = (
    *(21203, 21215, 21408),  # the receiver's region isn't enabled
    *(21219, 21608, 63015),  # a trial account, and a receiver that isn't verified
    *(21612, 21662, 21910, 30015, 30016, 30043),  # not from this sender to this receiver
    *(30018, 30024, 30040),  # the receiver's carrier wants the sender registered
)
_NUMBERS = (
    *(21211, 21214, 21217, 21265, 21268, 21401, 21421, 21614, 21635),  # no such number, landline, premium
    21610,  # the person has opted out (STOP)
    *(30004, 30005, 30006),  # blocked, unknown, landline or unreachable carrier
    *(63003, 63014, 63024, 63033),  # unknown to the channel, or blocked by the receiver
)
_MESSAGES = (
    *(
        20001,
        20413,
        20422,
        21201,
        21266,
        21602,
        21604,
        21605,
        21617,
        21618,
        21619,
        21620,
        21623,
        21624,
        21627,
    ),
    *(*range(21652, 21657), 21658, 21902),
    *(30007, *range(30010, 30015), 30019, 30036, 30038, 30039, 30046, 30400, 30409, 30450, 30453),
    *(63005, 63013, 63016, 63019, 63021, 63027, 63028, 63030, 63031, 63032, 63040, 63041, 63042, 63049),
)
_FOR_NOW = (
    *(14107, 20162, 20409, 20429, 20500, 20503, 20504, 21611, 21730),
    *(30001, 30003, 30008, 30009, 30017, 30020, 30021, 30022, 30410, 30500),
    *(63009, 63010, 63012, 63017, 63018),
)
_CODES = {
    code: fault
    for codes, fault in (
        (_ACCOUNT, Fault.SETUP),
        (_SENDER, Fault.SETUP),
        (_ROUTES, Fault.SETUP),
        (_NUMBERS, Fault.NUMBER),
        (_MESSAGES, Fault.MESSAGE),
        (_FOR_NOW, Fault.PASSING),
    )
    for code in codes
}
_OF_THE_ACCOUNT = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.PAYMENT_REQUIRED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
)
_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


def fault(status: int, code: int | None) -> Fault:
    """What an answer with this HTTP status and Twilio code means; the code decides if it is known."""
    if code in _CODES:
        return _CODES[code]
    if status >= 500 or status in _AGAIN:
        return Fault.PASSING
    return Fault.SETUP if status in _OF_THE_ACCOUNT else Fault.MESSAGE


def of_some_receivers(code: int | None) -> bool:
    """Whether a fault of the set-up concerns some receivers only: a country that isn't enabled, say."""
    return code in _ROUTES


def of_delivery(code: int | None) -> Fault:
    """What the error code of a status callback means, for a message that Twilio had taken over."""
    return _CODES.get(code or 0, Fault.MESSAGE)
