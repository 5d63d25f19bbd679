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


_OPERATOR = (
    *(10001, 10002),  # the account is inactive, or a trial
    *(
        20003,
        20004,
        20005,
        20006,
        20008,
        20009,
        20010,
        20403,
        20404,
        20426,
    ),  # credentials, suspended, wrong account
    *(
        21212,
        21408,
        21606,
        21607,
        21608,
        21611,
        21612,
        21620,
        21659,
        21660,
        21661,
    ),  # the sender; regions not enabled
    *(
        21701,
        21702,
        21703,
        21704,
        21705,
        21706,
        21708,
        21710,
        21711,
        21712,
        21714,
        21718,
    ),  # the messaging service
    *(
        30002,
        30023,
        30027,
        30032,
        30034,
        30035,
        30038,
    ),  # suspended, unregistered or unverified sender, daily cap
    *(63016, 63018, 63038),
)
_NUMBERS = (
    *(21211, 21214, 21217, 21401, 21421, 21614, 21635),  # no such number, a landline
    21610,  # the person has opted out (STOP)
    *(30004, 30005, 30006, 30012),  # blocked, unknown, landline or unreachable carrier
)
_MESSAGES = (
    *(21602, 21603, 21604, 21605, 21617, 21619, 21623, 21654, 21656, 30007, 30013, 30019, 30022, 30037),
)
_FOR_NOW = (
    *(14107, 20429, 20500, 20503, 21609, 30001, 30003, 30008, 30009, 30010, 30017, 30018),
    *(30410, 30500, 63017),
)
_CODES = {
    code: fault
    for codes, fault in (
        (_OPERATOR, Fault.SETUP),
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


def of_delivery(code: int | None) -> Fault:
    """What the error code of a status callback means, for a message that Twilio had taken over."""
    return _CODES.get(code or 0, Fault.MESSAGE)
