"""`run.py vapid`: make the key that signs web push."""

from __future__ import annotations

from app.cli.group import new_app

app = new_app()


@app.command()
def vapid() -> None:
    """Print a new VAPID_PRIVATE_KEY, and the public key that browsers subscribe with.

    Keep the private key secret, and keep it: with another one, every browser has to subscribe again.
    """
    from app.outbox.webpush.vapid import Vapid, new_private_key

    key = new_private_key()
    print(f"VAPID_PRIVATE_KEY={key}")
    print("VAPID_SUBJECT=mailto:you@example.com")
    print(f"# The public key (GET /devices/key): {Vapid(key, '').public_key}")
