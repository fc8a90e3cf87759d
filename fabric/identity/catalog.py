"""The catalog of a token: the enabled services and where they are, as the token's project sees them."""

import re
from typing import Any

from fabric.identity.collection import (
    ENDPOINT_GROUPS,
    ENDPOINTS,
    PROJECT_ENDPOINTS,
    REGIONS,
    SERVICES,
)
from fabric.identity.v1 import catalog_pb2
from fabric.runtime.store import Collection, Store

_PLACE = re.compile(r"[$%]\((\w+)\)s")


class Catalog:
    """From the watch cache."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._services = store.table(SERVICES)
        self._endpoints = store.table(ENDPOINTS)
        self._links = store.table(PROJECT_ENDPOINTS)
        self._groups = store.table(ENDPOINT_GROUPS)
        self.version = 0
        followed: tuple[Collection[Any], ...] = (
            SERVICES,
            ENDPOINTS,
            REGIONS,
            ENDPOINT_GROUPS,
            PROJECT_ENDPOINTS,
        )
        for collection in followed:
            store.table(collection).subscribe(self._changed)

    def listing(self, project_id: str, user_id: str) -> list[dict[str, Any]]:
        """The JSON list; an endpoint whose URL asks for what the token has not is left out."""
        places = {
            "tenant_id": project_id,
            "project_id": project_id,
            "user_id": user_id,
        }
        chosen = self.chosen(project_id)
        found = []
        for service in sorted(self._services, key=lambda s: s.meta.create_time.seconds):
            if not service.spec.enabled:
                continue
            endpoints = [
                shown
                for endpoint in self._endpoints.by("service", service.meta.id)
                if endpoint.spec.enabled
                and (chosen is None or endpoint.meta.id in chosen)
                and (shown := _endpoint(endpoint, places)) is not None
            ]
            if chosen is not None and not endpoints:
                continue
            found.append(
                {
                    "endpoints": endpoints,
                    "id": service.meta.id,
                    "type": service.spec.type,
                    "name": service.meta.name,
                }
            )
        return found

    def chosen(self, project_id: str) -> set[str] | None:
        """The endpoints that were chosen for the project; None: it sees all."""
        links = self._links.by("project", project_id) if project_id else []
        if not links:
            return None
        found = {link.endpoint_id for link in links if link.endpoint_id}
        for link in links:
            group = self._groups.get(link.endpoint_group_id) if link.endpoint_group_id else None
            if group is not None:
                found |= {endpoint.meta.id for endpoint in self.members(group)}
        return found

    def members(self, group: catalog_pb2.EndpointGroup) -> list[catalog_pb2.Endpoint]:
        """The endpoints that the group's filters describe."""
        filters = dict(group.spec.filters)
        return [
            endpoint
            for endpoint in self._endpoints
            if all(_attribute(endpoint, name) == value for name, value in filters.items())
        ]

    def _changed(self, _: str) -> None:
        self.version += 1


def _attribute(endpoint: catalog_pb2.Endpoint, name: str) -> str:
    if name == "enabled":
        return str(endpoint.spec.enabled)
    return str(getattr(endpoint.spec, name, ""))


def url_of(template: str, places: dict[str, str]) -> str | None:
    """The URL with its places filled; None: one of them has no value here. Raises KeyError for an unknown one."""
    for name in _PLACE.findall(template):
        if not places[name]:
            return None
    return _PLACE.sub(lambda match: places[match[1]], template)


def _endpoint(endpoint: catalog_pb2.Endpoint, places: dict[str, str]) -> dict[str, Any] | None:
    try:
        url = url_of(endpoint.spec.url, places)
    except KeyError:
        return None
    if url is None:
        return None
    return {
        "id": endpoint.meta.id,
        "interface": endpoint.spec.interface,
        "region_id": endpoint.spec.region_id or None,
        "region": endpoint.spec.region_id or None,
        "url": url,
    }
