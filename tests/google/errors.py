"""The errors of Google's APIs: status, `google.rpc` code and message, in the JSON that the services answer with.

Source of the forms: AIP-193 ("Errors"), `google/rpc/code.proto` and `google/rpc/error_details.proto`; Compute Engine's
own `errors` list is in its discovery document (`Operation.error`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

JSON = dict[str, Any]

_CODES = {
    400: ("INVALID_ARGUMENT", 3, "invalid"),
    401: ("UNAUTHENTICATED", 16, "authError"),
    403: ("PERMISSION_DENIED", 7, "forbidden"),
    404: ("NOT_FOUND", 5, "notFound"),
    409: ("ALREADY_EXISTS", 6, "alreadyExists"),
    412: ("FAILED_PRECONDITION", 9, "conditionNotMet"),
    416: ("OUT_OF_RANGE", 11, "requestedRangeNotSatisfiable"),
    429: ("RESOURCE_EXHAUSTED", 8, "rateLimitExceeded"),
    500: ("INTERNAL", 13, "backendError"),
    501: ("UNIMPLEMENTED", 12, "notImplemented"),
    503: ("UNAVAILABLE", 14, "backendError"),
}


@dataclass
class GoogleError(Exception):
    """What a service refuses with; `status` is the HTTP status, `code` the `google.rpc.Code` where it is another."""

    status: int
    message: str
    code: str = ""
    details: list[JSON] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    """Compute Engine's word for it, where it is not the status' usual one."""

    def __post_init__(self) -> None:
        super().__init__(self.message)
        self.code = self.code or _CODES[self.status][0]

    def body(self) -> JSON:
        """The body of the HTTP answer."""
        reason = self.reason or _CODES[self.status][2]
        error: JSON = {
            "code": self.status,
            "message": self.message,
            "status": self.code,
            "errors": [{"message": self.message, "domain": "global", "reason": reason}],
        }
        if self.details:
            error["details"] = self.details
        return {"error": error}

    def rpc(self) -> JSON:
        """The same as a `google.rpc.Status`, which long-running operations hold."""
        number = next((number for name, number, _ in _CODES.values() if name == self.code), 2)
        return {"code": number, "message": self.message, "details": self.details}

    def compute(self) -> JSON:
        """The same as an entry of `error.errors` of one of Compute Engine's operations."""
        return {"code": self.reason or self.code, "message": self.message}


def not_found(message: str) -> GoogleError:
    return GoogleError(404, message)


def invalid(message: str, *violations: JSON) -> GoogleError:
    details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": list(violations)}]
    return GoogleError(400, message, details=details if violations else [])
