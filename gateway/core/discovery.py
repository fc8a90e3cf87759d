"""Version documents, in the shape that keystoneauth discovers."""

import dataclasses

from gateway.core.codec import JsonValue
from gateway.core.http import Request


@dataclasses.dataclass(frozen=True)
class ApiVersion:
    """One version of an API. path: below its mount, such as "v2.1/". minimum, maximum: microversions."""

    id: str
    path: str
    status: str = "CURRENT"
    updated: str = ""
    minimum: str | None = None
    maximum: str | None = None
    media_type: str = ""

    def document(self, request: Request) -> dict[str, JsonValue]:
        """The entry for this version, its links as the caller reaches them."""
        document: dict[str, JsonValue] = {
            "id": self.id,
            "status": self.status,
            "links": [{"rel": "self", "href": f"{request.api_url}/{self.path}"}],
        }
        if self.updated:
            document["updated"] = self.updated
        if self.maximum is not None:
            document |= {"version": self.maximum, "min_version": self.minimum}
        if self.media_type:
            document["media-types"] = [{"base": "application/json", "type": self.media_type}]
        return document
