"""What attacks run on, besides all that every test can have."""

from tests.e2e.conftest import mailbox

__all__ = ["mailbox"]
