"""What a service writes itself, or asks a template for: one message to one person over one channel."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from app.domain.addresses import mailbox
from app.domain.channels import CHANNELS, DELIVERY_CHANNELS, EMAIL, INAPP, SMS, WEBPUSH
from app.domain.deliveries import REPLY_TO, DeliveryDraft, GivenAttachment
from app.domain.details import (
    NOTHING,
    Actions,
    Actor,
    Details,
    DetailUrl,
    Icon,
    Image,
    Severity,
    ThreadKey,
)
from app.domain.digests import DIGEST_TEMPLATE
from app.domain.effects import Effects, Text
from app.domain.errors import InvalidEvent
from app.domain.notifications import MAX_GROUP_NAME_CHARS, MAX_TITLE_CHARS, Group, NotificationDraft
from app.domain.planning import DETAILS, shown_details
from app.domain.preferences import ALWAYS_ON, CATEGORIES
from app.domain.user_ids import foreign_id
from app.texts.hygiene import clean, is_visible
from app.texts.i18n import LOCALES, N_, negotiate, render
from app.texts.rendering import TEMPLATES, UnfitData, sms_text
from app.texts.shortening import shortened
from app.texts.sms import DEFAULT_LIMIT, SmsLimit, TooLong
from handlers.base import BaseMessageHandler, NotificationHandler, S, kept
from handlers.details import EARLIEST, GIVEN_FIELDS, LATEST, usable

PLAIN = "plain"
OPEN = sorted(name for name in TEMPLATES if not name.startswith("otp_") and name != DIGEST_TEMPLATE)
"""The mail templates that a message may name: not those of codes and digests."""
TITLE = N_("You have a new message")
MAX_MESSAGE_CHARS = 10_000

Category = Annotated[str, Meta(extra_json_schema={"enum": [c for c in CATEGORIES if c != ALWAYS_ON]})]
Channel = Annotated[str, Meta(extra_json_schema={"enum": list(CHANNELS)})]
AnyUserId = Annotated[str | int | float, Meta(examples=["456e7890-e89b-12d3-a456-426614174001"])]


class MessageRequest(Struct, kw_only=True):
    """What POST /notifications takes, and any source where `event_type` is left out.

    `to` is an address, a phone number (E.164) or, in-app, a user id; without it the message goes to the
    address of the profile of `user_id`. With an address `user_id` may be any system's id: it is kept.
    It has `message` (and `title`, `html` for mail), or it names a template by `template_code`, which `data`
    fills: a mail template, or in-app an event type. In-app and by web push it may have `severity` and the
    fields that follow.
    """

    type: Channel
    to: Annotated[str, Meta(min_length=1, max_length=320)] | None = None
    user_id: AnyUserId | None = None
    title: Annotated[str, Meta(max_length=MAX_MESSAGE_CHARS)] | None = None
    message: Annotated[str, Meta(min_length=1, max_length=MAX_MESSAGE_CHARS)] | None = None
    html: Annotated[str, Meta(min_length=1, max_length=200_000)] | None = None
    template_code: Annotated[str, Meta(max_length=100)] | None = None
    data: dict[str, Any] = {}
    locale: Annotated[str, Meta(max_length=35)] | None = None
    category: Category = "messages"
    urgent: bool = False
    attachments: Annotated[tuple[GivenAttachment, ...], Meta(max_length=20)] = ()
    reply_to: Annotated[str, Meta(min_length=3, max_length=320)] | None = None
    send_at: Annotated[datetime, Meta(tz=True)] | None = None
    severity: Severity | None = None
    url: DetailUrl | None = None
    actions: Actions = ()
    icon: Icon | None = None
    image: Image | None = None
    actor: Actor | None = None
    thread_key: ThreadKey | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None

    def __post_init__(self) -> None:
        """msgspec passes the text of a ValueError on to the sender."""
        if self.type not in CHANNELS:
            raise ValueError(f"`type` must be one of {', '.join(CHANNELS)}")
        if self.to is None and self.user_id is None:
            raise ValueError("`to` or `user_id` is required")
        if self.template_code is None and self.message is None and self.html is None:
            raise ValueError("`message` is required, or `html`, or `template_code` with `data`")
        for name, text in (("title", self.title), ("message", self.message), ("html", self.html)):
            if text and not is_visible(text):
                raise ValueError(f"`{name}` has no visible character")
        if self.html is not None and self.type != EMAIL:
            raise ValueError("`html` is accepted for mail only")
        if self.type == EMAIL and (self.title or "").splitlines() not in ([], [self.title]):
            raise ValueError("`title`, the subject of a mail, must be one line")
        if self.attachments and self.type != EMAIL:
            raise ValueError("`attachments` are accepted for mail only")
        if self.reply_to is not None:
            check_reply_to(self.reply_to, self.type)
        if any((each.content is None) == (each.path is None) for each in self.attachments):
            raise ValueError("an attachment must have either `content` or `path`")
        if any(each.content is not None and not each.name for each in self.attachments):
            raise ValueError("an attachment with `content` must have a `name`")
        if self.send_at is not None and not EARLIEST < self.send_at < LATEST:
            raise ValueError("`send_at` must be between 2000-01-01 and 3000-01-01")
        if self.category not in CATEGORIES or self.category == ALWAYS_ON:
            allowed = ", ".join(each for each in CATEGORIES if each != ALWAYS_ON)
            raise ValueError(f"`category` must be one of {allowed}")
        if self.locale is not None and not negotiate(self.locale, ""):
            raise ValueError(f"`locale` must be one of {', '.join(LOCALES)}")


def check_reply_to(address: str, channel: str = EMAIL) -> None:
    """Raises `ValueError` unless the address can stand in a mail's header Reply-To, whoever reads it."""
    if channel != EMAIL:
        raise ValueError("`reply_to` is accepted for mail only")
    try:
        if not mailbox(address).ascii:
            raise ValueError("the address has non-ASCII characters before the @")
    except ValueError as error:
        raise ValueError(f"`reply_to`: {error}") from None


class MessageRequested(BaseMessageHandler[MessageRequest]):
    """Delivers the message over the channel that it names."""

    event_type = "message"
    category = "messages"
    icon = "message"
    message_type = MessageRequest
    addressed_by = ("user_id", "to")

    def __init__(
        self,
        handler_of: Callable[[str], BaseMessageHandler[Any] | None],
        sms_limit: SmsLimit = DEFAULT_LIMIT,
        image_hosts: Collection[str] = (),
    ) -> None:
        """`handler_of` knows the handler of an event type; `sms_limit` how long an SMS may be; `image_hosts`
        are those that images may come from.
        """
        self._handler_of = handler_of
        self._sms_limit = sms_limit
        self.image_hosts = image_hosts

    def converted(self, body: Mapping[str, Any], form: type[S]) -> S:
        """Null is as good as absent, and so are details that can't be used: they are checked over HTTP only
        (`handlers.details`). What else is wrong is refused: left out, it could change what is sent and when,
        and a service gets the answer at once.
        """
        given = {name: value for name, value in body.items() if value is not None}
        if not GIVEN_FIELDS.isdisjoint(given):
            rest = {name: value for name, value in given.items() if name not in GIVEN_FIELDS}
            given = rest | usable(given, self.image_hosts)
        return msgspec.convert(given, form)

    def handle(
        self, message: MessageRequest, body: Mapping[str, Any], group: Group | None, locale: str
    ) -> Effects:
        """Notify the user in-app, or make one delivery for the address or user."""
        spoken = negotiate(message.locale, locale)
        if message.type == INAPP:
            effects = Effects(self._notification(message, spoken))
        else:
            effects = Effects(deliveries=[self._delivery(message, spoken)])
        return msgspec.structs.replace(
            effects, category=message.category, urgent=message.urgent, send_at=message.send_at
        )

    def _notification(self, message: MessageRequest, locale: str) -> NotificationDraft:
        named = [self.user_ids.read(each) for each in (message.user_id, message.to) if each not in (None, "")]
        receiver = named[0] if named else None
        if receiver is None:
            raise self._refused("in-app, `user_id` or `to` must be the id of a user, a UUID")
        if named[-1] != receiver:
            raise self._refused("`to` and `user_id` name different users; send one of them")
        raw_data = kept(message.data)
        group_name = message.data.get("group_name")  # texts in other languages need it
        shown = shortened(group_name, MAX_GROUP_NAME_CHARS) if isinstance(group_name, str) else None
        if message.template_code is None:
            title = message.title or render(locale, TITLE, {})
            text = Text(shortened(clean(title), MAX_TITLE_CHARS), clean(message.message or ""))
        else:
            text = self._text(message, raw_data.encode(), shown or "", receiver, locale)
        code = (message.template_code or self.event_type).upper()
        details = self._details(message)
        return NotificationDraft(
            None, shown, [receiver], code, raw_data, text.title, text.content, details=details
        )

    def _details(self, message: MessageRequest) -> Details | None:
        """What the message says beside its texts; its category if that isn't the one of its event type."""
        handler = self if message.template_code is None else self._handler_of(message.template_code.lower())
        usual = handler is not None and message.category == handler.category
        details = Details(
            category=None if usual else message.category,
            severity=message.severity,
            url=message.url,
            actions=message.actions,
            icon=message.icon,
            image=message.image,
            actor=message.actor,
            thread_key=message.thread_key,
            expires_at=message.expires_at,
        )
        return None if details == NOTHING else details

    def _text(
        self, message: MessageRequest, raw_data: bytes, group_name: str, receiver: UUID, locale: str
    ) -> Text:
        handler = self._handler_of((message.template_code or "").lower())
        if not isinstance(handler, NotificationHandler):
            raise self._refused("`template_code` must be an event type with texts")
        try:
            return handler.text(raw_data, group_name, locale, receiver)
        except msgspec.ValidationError as error:
            raise self._refused(f"data doesn't fill the template: {error}") from None

    def _delivery(self, message: MessageRequest, locale: str) -> DeliveryDraft:
        user_id = self.user_ids.read(message.user_id)
        if message.to is not None:
            self._check_address(message.type, message.to)
        elif user_id is None:
            raise self._refused("without `to`, `user_id` must be the id of a user, a UUID")
        template, data = self._content(message)
        if template not in OPEN:
            raise self._refused(f"`template_code` must be one of {', '.join(OPEN)}")
        if template != PLAIN or message.type == SMS:  # a mail of texts always fits, and HTML takes a while
            try:
                text = sms_text(template, locale, data)  # what fills the one fills the other
                if message.type == SMS:
                    self._sms_limit.fit(text)
            except TooLong as error:
                raise self._refused(str(error)) from None
            except UnfitData as error:
                raise self._refused(f"data doesn't fill the template: {error}") from None
        draft = DeliveryDraft(
            message.type,
            template,
            message.to,
            locale,
            data,
            user_id=user_id,
            attachments=message.attachments,
            foreign_user_id=foreign_id(message.user_id),
        )
        return draft if message.type != WEBPUSH else self._with_details(draft, message)

    def _with_details(self, draft: DeliveryDraft, message: MessageRequest) -> DeliveryDraft:
        shown = shown_details(self._details(message) or NOTHING)
        data = {**draft.data, DETAILS: shown} if shown else draft.data
        return msgspec.structs.replace(draft, data=data, expires_at=message.expires_at)

    def _content(self, message: MessageRequest) -> tuple[str, dict[str, Any]]:
        """The template and what fills it."""
        own = {REPLY_TO: message.reply_to} if message.reply_to is not None else {}
        if message.template_code is not None:
            given = {name: value for name, value in message.data.items() if name != REPLY_TO}
            return message.template_code.lower(), given | own
        title = shortened(message.title or "", MAX_TITLE_CHARS)
        texts = {"title": title, "message": message.message, "html": message.html}
        return PLAIN, {name: text for name, text in texts.items() if text is not None} | own

    def _check_address(self, channel: str, address: str) -> None:
        try:
            DELIVERY_CHANNELS[channel](address)
        except ValueError as error:
            raise self._refused(f"to: {error}") from None

    def _refused(self, why: str) -> InvalidEvent:
        return InvalidEvent("bad_field", f"{self.event_type}: {why}")
