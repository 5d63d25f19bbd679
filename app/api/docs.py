"""The OpenAPI description and Swagger's page for it, served from the hub itself: no CDN is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sanic import Sanic
from sanic_ext.extensions.openapi.builders import SpecificationBuilder
from swagger_ui_bundle import swagger_ui_path

from app.api.schemas import COMPONENTS

PAGE = Path(__file__).parent / "swagger.html"


def configure(app: Sanic[Any, Any], prefix: str, version: str) -> None:
    """Serve the docs at `prefix`/docs. Call before the app starts."""
    SpecificationBuilder.reset()  # type: ignore[no-untyped-call]
    app.static(f"{prefix}/docs/assets", swagger_ui_path, name="swagger_assets")
    app.config.update(
        {
            "OAS_URL_PREFIX": f"{prefix}/docs",
            "OAS_UI_DEFAULT": "swagger",
            "OAS_UI_REDOC": False,
            "OAS_PATH_TO_SWAGGER_HTML": str(PAGE),
            "OAS_UI_SWAGGER_HTML_TITLE": "Notification hub: REST",
            "OAS_AUTODOC": False,
            "API_TITLE": "Notification hub",
            "API_VERSION": version,
            "API_DESCRIPTION": "The inbox over REST. Live notifications come over WebSocket: see the README.",
        }
    )
    specification = SpecificationBuilder()
    for name, schema in COMPONENTS.items():
        specification.add_component("schemas", name, schema)
    specification.add_security_scheme("token", "http", scheme="bearer", bearer_format="JWT")
