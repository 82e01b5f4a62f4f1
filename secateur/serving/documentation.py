"""``/docs``: one page made of the OpenAPI document, which asks nobody but this server for anything."""

import json
from collections.abc import Mapping
from typing import Any

import jinja2
from starlette.responses import HTMLResponse

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}
"""The page itself could not load anything from elsewhere, even if a text in it were a script."""

_LIMITS = {
    "minLength": "at least {} characters", "maxLength": "at most {} characters",
    "minItems": "at least {} items", "maxItems": "at most {} items",
    "minimum": "at least {}", "exclusiveMinimum": "above {}", "maximum": "at most {}", "exclusiveMaximum": "below {}",
}  # fmt: skip


def documentation(openapi: Mapping[str, Any]) -> HTMLResponse:
    """Return the page: every route with what it takes and answers, and a button that tries it."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("secateur.serving", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    routes = [
        _route(path, method, route) for path, methods in openapi["paths"].items() for method, route in methods.items()
    ]
    page = environment.get_template("documentation.html.j2").render(info=openapi["info"], routes=routes)
    return HTMLResponse(page, headers=_HEADERS)


def _route(path: str, method: str, route: Mapping[str, Any]) -> dict[str, Any]:
    content = route.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema: Mapping[str, Any] = content.get("schema", {})
    required = schema.get("required", ())
    return {
        "path": path,
        "method": method.upper(),
        "description": route.get("description", ""),
        "example": json.dumps(content["example"], indent=2, ensure_ascii=False) if "example" in content else "",
        "fields": [
            {
                "name": name,
                "required": name in required,
                "kind": _kind(field),
                "default": json.dumps(field["default"]) if "default" in field else "",
                "description": field.get("description", ""),
            }
            for name, field in schema.get("properties", {}).items()
        ],
        "responses": [(code, response["description"]) for code, response in route.get("responses", {}).items()],
    }


def _kind(field: Mapping[str, Any]) -> str:
    """Write a type with its limits in words."""
    if "anyOf" in field:
        return " or ".join(_kind(option) for option in field["anyOf"])
    name = str(field.get("type", "any"))
    if name == "array":
        name = f"list of ({_kind(field.get('items', {}))})"
    limits = [words.format(field[key]) for key, words in _LIMITS.items() if key in field]
    return ", ".join([name, *limits])
