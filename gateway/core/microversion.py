"""Microversions (API-SIG guideline): which version of an API a request speaks."""

import dataclasses
import re
from collections.abc import Mapping

from gateway.core.fault import Fault, Invalid

Version = tuple[int, int]
NONE: Version = (0, 0)  # of APIs without microversions
LATEST: Version = (2**31, 0)


def parse(text: str) -> Version:
    """ "2.37" is (2, 37). Raises ValueError."""
    match = re.fullmatch(r"([1-9][0-9]{0,3})\.([0-9]{1,4})", text)
    if match is None:
        raise ValueError(text)
    return int(match[1]), int(match[2])


class Range:
    """From since to until, both included; an empty bound is open."""

    def __init__(self, since: str = "", until: str = "") -> None:
        self._since = parse(since) if since else NONE
        self._until = parse(until) if until else LATEST

    def __contains__(self, version: Version) -> bool:
        return self._since <= version <= self._until


@dataclasses.dataclass(frozen=True)
class Microversions:
    """What an API offers. service: as in OpenStack-API-Version; legacy: its older header, lower case."""

    service: str
    minimum: str
    maximum: str
    legacy: str = ""

    def negotiate(self, headers: Mapping[str, str]) -> Version:
        """The version that the headers ask for. Raises Invalid when malformed, Fault 406 when not offered."""
        asked = self._asked(headers)
        if asked is None:
            return parse(self.minimum)
        if asked == "latest":
            return parse(self.maximum)
        try:
            version = parse(asked)
        except ValueError:
            raise Invalid(
                f"API Version String {asked[:40]} is of invalid format. Must be of format MajorNum.MinorNum."
            ) from None
        if not parse(self.minimum) <= version <= parse(self.maximum):
            raise Fault(
                406,
                f"Version {asked} is not supported by the API. "
                f"Minimum is {self.minimum} and maximum is {self.maximum}.",
                reason="VERSION_NOT_SUPPORTED",
            )
        return version

    def _asked(self, headers: Mapping[str, str]) -> str | None:
        for part in headers.get("openstack-api-version", "").split(","):
            service, _, version = part.strip().partition(" ")
            if service.lower() == self.service:
                return version.strip().lower()
        legacy = headers.get(self.legacy) if self.legacy else None
        return legacy.strip().lower() if legacy is not None else None

    def answer(self, version: Version) -> dict[str, str]:
        """The headers that say which version the answer is in."""
        text = "{}.{}".format(*version) if version != NONE else self.minimum
        headers = {"openstack-api-version": f"{self.service} {text}", "vary": "OpenStack-API-Version"}
        if self.legacy:
            headers[self.legacy] = text
            headers["vary"] += f", {'-'.join(w.capitalize() for w in self.legacy.split('-'))}"
        return headers
