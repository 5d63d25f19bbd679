"""One hub for this folder, as for that of the end-to-end tests."""

from tests.e2e.one_hub.conftest import authority, environment, hub, user_service

__all__ = ["authority", "environment", "hub", "user_service"]
