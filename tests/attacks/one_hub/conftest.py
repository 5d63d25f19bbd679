"""One hub for this folder, as for that of the end-to-end tests."""

from tests.e2e.one_hub.conftest import environment, hub, user_service

__all__ = ["environment", "hub", "user_service"]
