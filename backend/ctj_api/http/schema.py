"""What drf-spectacular can't infer: the error envelope, both ways to sign in, and the health check."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from rest_framework.request import Request

from ctj_api.exceptions import ErrorCode

UNSAFE_METHODS = {"post", "put", "patch", "delete"}
BEARER = "idToken"
FOR_ALL_ACCOUNTS = ("/api/auth/csrf/", "/api/auth/logout/")
VERSIONED = ("/api/opportunities/{id}/", "/api/users/me/", "/api/users/{id}/")
WITHOUT_ETAG = ("/api/healthcheck/", "/api/auth/csrf/")
PARTS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("schema_parts.yml").read_text(encoding="utf-8"))


class CsrfSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describe the session cookie."""

    target_class = "ctj_api.http.authentication.CsrfSessionAuthentication"
    name = "sessionCookie"

    def get_security_definition(self, auto_schema: Any) -> Any:
        """Return it as a security scheme."""
        return PARTS["securitySchemes"][self.name]


class IdTokenScheme(CsrfSessionScheme):  # type: ignore[no-untyped-call]
    """Describe the ID token of Cognito."""

    target_class = "ctj_api.auth.CognitoAuthentication"
    name = BEARER


class CommittedSchemaGenerator(SchemaGenerator):
    """Gives requests the committed document, and commands a new one: drf-spectacular is not made for threads."""

    def get_schema(self, request: Request | None = None, public: bool = False) -> Any:
        """Return the document."""
        generate: Any = super().get_schema
        return generate(request, public) if request is None else _committed_document()


@cache
def _committed_document() -> Any:
    return yaml.safe_load((Path(settings.BASE_DIR) / "openapi-schema.yml").read_text(encoding="utf-8"))


def complete_schema(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Return the document with the health check, both ways to sign in and the error responses of every operation."""
    result["paths"] = {**PARTS["paths"], **result["paths"]}
    components = result["components"]
    components["schemas"] |= PARTS["schemas"]
    components["schemas"]["ErrorCodeEnum"] = {"type": "string", "enum": [code.value for code in ErrorCode]}
    components |= {name: PARTS[name] for name in ("securitySchemes", "responses")}
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            operation["description"] = PARTS["descriptions"].get(operation["operationId"], operation["description"])
            _describe_refusals(path, method, operation)
            if _is_local_only(path):
                operation["description"] += " Where Cognito keeps accounts, this is a 404."
                operation["security"].remove({BEARER: []})
            _describe_headers(path, method, operation)
    return result


def _is_local_only(path: str) -> bool:
    return path.startswith("/api/auth/") and path not in FOR_ALL_ACCOUNTS


def _describe_refusals(path: str, method: str, operation: dict[str, Any]) -> None:
    """Describe the CSRF token that writes need with a session, and the error responses."""
    statuses = {"400", "406", "500", "503"}
    if method in UNSAFE_METHODS:
        statuses |= {"403", "415", "429"}
        for requirement in operation["security"]:
            if BEARER not in requirement:
                requirement["csrfToken"] = []
    if {BEARER: []} in operation["security"]:
        statuses |= {"401", "403"}
    if "{" in path or _is_local_only(path):
        statuses.add("404")
    if method in UNSAFE_METHODS and path in VERSIONED:
        statuses.add("412")
    errors = {status: PARTS["response_of"][status] for status in statuses}
    operation["responses"] = dict(sorted({**operation["responses"], **errors}.items()))


def _describe_headers(path: str, method: str, operation: dict[str, Any]) -> None:
    """Describe the headers of pages, and the entity tags of the rows that are written and of what caches may keep."""
    responses = operation["responses"]
    if any(parameter["name"] == "offset" for parameter in operation.get("parameters", ())):
        headers = PARTS["page_headers"] | PARTS["further_headers"].get(path, {})
        responses["200"] = {"headers": headers, **responses["200"]}
    is_public_read = method == "get" and {} in operation["security"] and path not in WITHOUT_ETAG
    if is_public_read or path in VERSIONED or (path, method) == ("/api/opportunities/", "post"):
        for status in {"200", "201"} & responses.keys():
            responses[status].setdefault("headers", {}).update(PARTS["etag"])
    if "412" in responses:
        operation.setdefault("parameters", []).append(PARTS["if_match"])
    elif is_public_read or path in VERSIONED:
        responses["304"] = PARTS["response_of"]["304"]
