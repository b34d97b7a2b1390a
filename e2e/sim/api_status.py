# SPDX-License-Identifier: Apache-2.0
"""Errors in the shape in which the Kubernetes API tells them: meta/v1 Status."""

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class ApiError(Exception):
    """Ends a request; status is what the client gets to read."""

    def __init__(self, code, message, reason=None, details=None):
        super().__init__(message)
        self.code = code
        self.status = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason or REASONS.get(code, "Unknown"),
            **({"details": details} if details else {}), "code": code,
        }


def _about(kind, name, **more):
    group = {"group": kind.group} if kind.group else {}
    return {"name": name, **group, "kind": kind.plural, **more}


def _quoted(kind, name):
    return f'{kind.qualified} "{name}"'


def not_found(kind, name):
    return ApiError(404, f"{_quoted(kind, name)} not found", details=_about(kind, name))


def already_exists(kind, name):
    return ApiError(409, f"{_quoted(kind, name)} already exists", "AlreadyExists",
                    _about(kind, name))


def forbidden(kind, verb):
    return ApiError(403, f'{kind.qualified} is forbidden: User "system:serviceaccount:kube-system:'
                         f'sim" cannot {verb} resource "{kind.plural}" in API group "{kind.group}" '
                         "at the cluster scope",
                    details={"group": kind.group, "kind": kind.plural})


def conflict(kind, name, text):
    return ApiError(409, f"Operation cannot be fulfilled on {_quoted(kind, name)}: {text}",
                    details=_about(kind, name))


def modified(kind, name):
    return conflict(kind, name, "the object has been modified; please apply your changes to the "
                                "latest version and try again")


def invalid(kind, name, problems):
    """problems: (field, reason, text), as an API server's causes have them."""
    texts = [f"{field}: {text}" for field, _, text in problems]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    subject = f"{kind.name}.{kind.group}" if kind.group else kind.name
    causes = [{"reason": reason, "message": text, "field": field}
              for field, reason, text in problems]
    details = _about(kind, name, causes=causes)
    return ApiError(422, f'{subject} "{name}" is invalid: {text}',
                    details={**details, "kind": kind.name})


def expired(revision, compacted):
    return ApiError(410, f"too old resource version: {revision} ({compacted})")


def not_yet(revision, current):
    return ApiError(504, f"Too large resource version: {revision}, current: {current}",
                    details={"causes": [{"reason": "ResourceVersionTooLarge",
                                         "message": "Too large resource version"}],
                             "retryAfterSeconds": 1})
