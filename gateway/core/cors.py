"""Which pages of other origins a browser lets call the API: Fetch Standard, "CORS protocol". No I/O."""

from collections.abc import Collection, Mapping

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
ANY = "*"
_SENT = (
    "Content-Type, OpenStack-API-Version, X-Auth-Token, X-OpenStack-Nova-API-Version, X-OpenStack-Request-ID, "
    "X-Project-Id, X-Service-Token, X-Subject-Token"
)
_SEEN = (
    "Location, OpenStack-API-Version, Retry-After, X-Compute-Request-Id, X-OpenStack-Nova-API-Version, "
    "X-OpenStack-Request-ID, X-Subject-Token"
)
_KNOWN_FOR_S = 3600


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser asks what it may send; it has no token then."""
    return method == "OPTIONS" and "access-control-request-method" in headers


def granted(origins: Collection[str], headers: Mapping[str, str], *, preflight: bool) -> dict[str, str]:
    """The headers of the answer; none when the caller's origin is not one of these."""
    origin = headers.get("origin", "")
    if not origin or (origin not in origins and ANY not in origins):
        return {}
    found = {"access-control-allow-origin": origin, "access-control-expose-headers": _SEEN, "vary": "Origin"}
    if preflight:
        found |= {
            "access-control-allow-methods": METHODS,
            "access-control-allow-headers": _SENT,
            "access-control-max-age": str(_KNOWN_FOR_S),
        }
    return found
