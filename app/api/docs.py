"""The OpenAPI description and Swagger's page for it, served from the hub itself: no CDN is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from sanic import Sanic
from sanic_ext.extensions.openapi.builders import SpecificationBuilder
from swagger_ui_bundle import swagger_ui_path

from app.api import preferences, sending
from app.api.schemas import COMPONENTS

TYPES = (*preferences.TYPES, *sending.TYPES)
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
    _, of_types = msgspec.json.schema_components(TYPES, ref_template="#/components/schemas/{name}")
    for name, schema in {**COMPONENTS, **_for_openapi_3_0(of_types)}.items():
        specification.add_component("schemas", name, schema)
    specification.add_security_scheme("token", "http", scheme="bearer", bearer_format="JWT")


def _for_openapi_3_0(schema: Any) -> Any:
    """A JSON schema of msgspec's in the older dialect that OpenAPI 3.0 is written in."""
    if isinstance(schema, list):
        return [_for_openapi_3_0(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: _for_openapi_3_0(value) for name, value in schema.items() if name != "examples"}
    if "examples" in schema:
        kept["example"] = schema["examples"][0]
    choices = kept.get("anyOf", [])
    if {"type": "null"} in choices:
        others = [each for each in choices if each != {"type": "null"}]
        del kept["anyOf"]
        kept |= others[0] if len(others) == 1 and "$ref" not in others[0] else {"anyOf": others}
        kept["nullable"] = True
    return kept
