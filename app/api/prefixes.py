"""Where the interfaces are served: part of the contract with clients."""

from __future__ import annotations

REST = "/api/v2/notification-service"
WEBSOCKET = "/ws/v2/notification-service"
DOCS = f"{REST}/docs"
"""The API reference: a page of Swagger UI; beside it, openapi.json."""
REDOC = f"{REST}/redoc"
"""The same reference as a page of ReDoc."""
