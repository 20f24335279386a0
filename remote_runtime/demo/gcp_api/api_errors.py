"""Errors in the format of Google's APIs."""

from __future__ import annotations

from .values import Json


class ApiError(Exception):
    """A request that is answered with an error. ``status`` is the HTTP status, ``reason`` Google's word for it."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message

    def as_json(self) -> Json:
        detail = {"message": self.message, "domain": "global", "reason": self.reason}
        if self.reason == "conditionNotMet":
            detail |= {"locationType": "header", "location": "If-Match"}
        return {"error": {"code": self.status, "message": self.message, "errors": [detail]}}


class RpcError(ApiError):
    """In the format of Google's newer APIs."""

    def as_json(self) -> Json:
        return {"error": {"code": self.status, "message": self.message, "status": self.reason}}


def not_found(resource: str) -> ApiError:
    return ApiError(404, "notFound", f"The resource '{resource}' was not found")


def guest_attribute_not_found(query_path: str) -> ApiError:
    return ApiError(404, "notFound", f"The resource '{query_path}' of type 'Guest Attribute' was not found.")


def forbidden(permission: str, resource: str) -> ApiError:
    return ApiError(403, "forbidden", f"Required '{permission}' permission for '{resource}'")


def already_exists(resource: str) -> ApiError:
    return ApiError(409, "alreadyExists", f"The resource '{resource}' already exists")


def act_as_forbidden(account: str) -> ApiError:
    return ApiError(
        403,
        "forbidden",
        f"The user does not have access to service account '{account}'.  User: 'demo@example.com'.  Ask a "
        "project owner to grant you the iam.serviceAccountUser role on the service account",
    )


def not_ready(resource: str) -> ApiError:
    return ApiError(400, "resourceNotReady", f"The resource '{resource}' is not ready")


def invalid(message: str) -> ApiError:
    return ApiError(400, "invalid", message)


def stale_fingerprint() -> ApiError:
    return ApiError(412, "conditionNotMet", "Supplied fingerprint does not match current metadata fingerprint.")
