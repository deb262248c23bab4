"""What drf-spectacular can't infer: the error envelope, both ways to sign in, and the health check."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from ctj_api.exceptions import ErrorCode

from .query_parameters import StrictFilterSet

UNSAFE_METHODS = {"post", "put", "patch", "delete"}
ERROR_RESPONSES = {
    "400": ("BadRequest", "A value, a query parameter or the body is not valid."),
    "401": ("Unauthorized", "Where Cognito keeps accounts: no token, or one that is no good (any more)."),
    "403": ("Forbidden", "Not signed in, not allowed, a token that may have no account, or no valid CSRF token."),
    "404": ("NotFound", "There is no such row, or it is not for you."),
    "406": ("NotAcceptable", "Only JSON is served."),
    "412": ("PreconditionFailed", "The row has another version than those of `If-Match`; nothing was written."),
    "415": ("UnsupportedMediaType", "Only JSON in UTF-8 is taken."),
    "429": ("TooManyRequests", "Too many attempts or writes; try again after `Retry-After` seconds."),
    "500": ("ServerError", "Our fault."),
    "503": ("ServiceUnavailable", "The database or Cognito is away; try again after `Retry-After` seconds."),
}
ID_TOKEN = "idToken"
ABSENT = "Where Cognito keeps accounts, this is a 404."
FOR_ALL_ACCOUNTS = ("/api/auth/csrf/", "/api/auth/logout/")
VERSIONED = ("/api/opportunities/{id}/", "/api/users/me/", "/api/users/{id}/")
WITHOUT_ETAG = ("/api/healthcheck/", "/api/auth/csrf/")
NOT_MODIFIED = {"description": "The client has this version, which `If-None-Match` names."}
IF_MATCH = {"in": "header", "name": "If-Match", "schema": {"type": "string"}, "description": "Entity tags, or `*`."}
ETAG = {"ETag": {"schema": {"type": "string"}, "description": "The version; strong if it is that of one row."}}
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}
CHALLENGE = {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "`Bearer`, and what is wrong."}}

ERROR_SCHEMA = {
    "type": "object",
    "description": "Every failure has this shape; clients switch on `code`.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"$ref": "#/components/schemas/ErrorCodeEnum"},
                "message": {"type": "string", "description": "For people, where no field is to blame."},
                "fields": {
                    "type": "object",
                    "description": "Field → messages; for `validation_error` only.",
                    "additionalProperties": {"type": "array", "items": {"type": "string"}},
                },
            },
        }
    },
}

HEALTHCHECK_OPERATION = {
    "operationId": "healthcheck_retrieve",
    "description": "Return version and uptime; answers whatever the `Host` header says.",
    "tags": ["healthcheck"],
    "security": [{}],
    "responses": {
        "200": {
            "description": "The API and its database answer.",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["status", "version", "uptime_seconds", "database"],
                        "properties": {
                            "status": {"type": "string", "enum": ["ok"]},
                            "version": {"type": "string"},
                            "uptime_seconds": {"type": "number"},
                            "database": {"type": "string", "enum": ["ok"]},
                        },
                    }
                }
            },
        }
    },
}


def described(shape: Any, filters: type[StrictFilterSet] | None = None) -> Callable[[Any], Any]:
    """Say what a function-based view answers with, and by which filter set it reads query parameters."""

    def describe(view: Any) -> Any:
        if filters is None:
            return extend_schema(responses=shape)(view)
        view.cls.filterset_class = filters
        return extend_schema(responses=shape, parameters=filters.documented())(view)

    return describe


class CsrfSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describe the session cookie."""

    target_class = "ctj_api.http.authentication.CsrfSessionAuthentication"
    name = "sessionCookie"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Return the cookie as a security scheme."""
        description = "Where accounts are kept here: set by sign-up and sign-in; elsewhere by the admin only."
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": description}


class IdTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describe the ID token of Cognito."""

    target_class = "ctj_api.auth.CognitoAuthentication"
    name = ID_TOKEN

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Return the token as a security scheme."""
        description = "Where Cognito keeps accounts (`IDENTITY_PROVIDER=cognito`): its ID token; elsewhere ignored."
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": description}


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
    result["paths"] = {"/api/healthcheck/": {"get": HEALTHCHECK_OPERATION}, **result["paths"]}
    components = result["components"]
    components["schemas"]["Error"] = ERROR_SCHEMA
    components["schemas"]["ErrorCodeEnum"] = {"type": "string", "enum": [code.value for code in ErrorCode]}
    components["securitySchemes"]["csrfToken"] = {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRFToken",
        "description": "The token of `/api/auth/csrf/`, with its cookie; unsafe requests without an ID token need it.",
    }
    errors = {name: _error_response(description) for name, description in ERROR_RESPONSES.values()}
    components["responses"] = {"NotModified": NOT_MODIFIED, **errors}
    for name in ("TooManyRequests", "ServiceUnavailable"):
        errors[name]["headers"] = RETRY_AFTER
    errors["Unauthorized"]["headers"] = CHALLENGE
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            _require_csrf_token(method, operation)
            _describe_errors(path, method, operation)
            if _is_local_only(path):
                operation["description"] += f" {ABSENT}"
                operation["security"].remove({ID_TOKEN: []})
            _describe_versions(path, method, operation)
    return result


def _is_local_only(path: str) -> bool:
    return path.startswith("/api/auth/") and path not in FOR_ALL_ACCOUNTS


def _require_csrf_token(method: str, operation: dict[str, Any]) -> None:
    if method in UNSAFE_METHODS:
        for requirement in operation["security"]:
            if ID_TOKEN not in requirement:
                requirement["csrfToken"] = []


def _describe_errors(path: str, method: str, operation: dict[str, Any]) -> None:
    statuses = {"400", "406", "500", "503"}
    if method in UNSAFE_METHODS:
        statuses |= {"403", "415", "429"}
    if {ID_TOKEN: []} in operation["security"]:
        statuses |= {"401", "403"}
    if "{" in path or _is_local_only(path):
        statuses.add("404")
    if method in UNSAFE_METHODS and path in VERSIONED:
        statuses.add("412")
    errors = {status: {"$ref": f"#/components/responses/{ERROR_RESPONSES[status][0]}"} for status in statuses}
    operation["responses"] = dict(sorted({**operation["responses"], **errors}.items()))


def _describe_versions(path: str, method: str, operation: dict[str, Any]) -> None:
    """Describe the entity tags of the rows that are written, and of what caches may keep."""
    responses = operation["responses"]
    is_public_read = method == "get" and {} in operation["security"] and path not in WITHOUT_ETAG
    if is_public_read or path in VERSIONED or (path, method) == ("/api/opportunities/", "post"):
        for status in {"200", "201"} & responses.keys():
            responses[status].setdefault("headers", {}).update(ETAG)
    if "412" in responses:
        operation.setdefault("parameters", []).append(IF_MATCH)
    elif is_public_read or path in VERSIONED:
        responses["304"] = {"$ref": "#/components/responses/NotModified"}


def _error_response(description: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": description, "content": content}
