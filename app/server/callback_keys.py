"""What the calls of providers and mail servers are checked with, from the settings."""

from __future__ import annotations

from app.api.callbacks import BounceKeys, CallbackKeys, TwilioKeys
from app.auth.callback_signatures import ecdsa_key
from app.auth.secrets import SecretBox
from app.auth.sns import SnsVerifier
from app.domain.errors import ConfigurationError
from app.outbox.email.return_path import ReturnPath
from app.settings import Settings


def callback_keys(settings: Settings, box: SecretBox) -> CallbackKeys:
    """Raises `ConfigurationError`."""
    sendgrid, mailgun, sms = settings.sendgrid.webhook_key, settings.mailgun.webhook_key, settings.sms
    try:
        key = None if sendgrid is None else ecdsa_key(sendgrid)
    except ValueError:
        raise ConfigurationError(
            "SENDGRID_WEBHOOK_KEY is no public key; copy the verification key that SendGrid shows."
        ) from None
    twilio = None
    if sms.account_sid and sms.auth_token and sms.callback_url:
        twilio = TwilioKeys(sms.account_sid, sms.auth_token.get_secret_value(), sms.callback_url)
    hook, bounces = settings.bounces.hook_token, None
    if hook is not None:
        bounces = BounceKeys(hook.get_secret_value(), signing_return_path(settings, box, "BOUNCE_HOOK_TOKEN"))
    return CallbackKeys(
        key,
        None if mailgun is None else mailgun.get_secret_value(),
        SnsVerifier(settings.ses.topic_arns) if settings.ses.topic_arns else None,
        twilio,
        bounces,
    )


def signing_return_path(settings: Settings, box: SecretBox, because: str) -> ReturnPath:
    """The addresses of deliveries, by which a mail that comes back is known. Raises `ConfigurationError` when
    they have none; `because` is what needs them.
    """
    path = None if settings.smtp.return_path is None else ReturnPath(settings.smtp.return_path, box)
    if path is None or not path.signs:
        raise ConfigurationError(
            f"{because} needs MAIL_RETURN_PATH with a *, such as bounces+*@example.com: the hub only acts on "
            "mails to addresses that it signed."
        )
    return path
