"""Locations: bytes of an image that others serve over HTTP. Nothing is fetched when one is registered."""

import hashlib
import re
from typing import Any

from fabric.image import image as rules
from fabric.image.address import check_url
from fabric.image.v1 import image_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import Conflict, InvalidArgument, PermissionDenied
from fabric.runtime.policy import Policy

_ALGORITHMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
View = pb.ImageView


def ours(location: pb.Location) -> bool:
    """Whether it stands for the bytes that an image agent has."""
    return location.url.startswith(f"{rules.FILE_SCHEME}://")


def check_locations(
    policy: Policy, caller: Caller, target: dict[str, Any], new: pb.Image, old: pb.Image | None
) -> None:
    """An update may change what is said of locations, not which there are; ours are taken out of new."""
    given = list(new.spec.locations)
    del new.spec.locations[:]
    new.spec.locations.extend(location for location in given if not ours(location))
    known = [location.url for location in old.view.locations] if old is not None else []
    if old is not None and list(new.spec.locations) == list(old.spec.locations):
        return
    policy.enforce(caller, "set_image_location", target)
    if known:
        if sorted(known) != sorted(location.url for location in given):
            raise InvalidArgument("Invalid locations", field="locations", reason="BAD_LOCATION")
    elif old is not None and old.view.status != View.STATUS_QUEUED:
        raise Conflict("Locations can be set of a queued image only.", field="locations")
    for location in new.spec.locations:
        check_url(location.url)
    if len({location.url for location in given}) != len(given):
        raise InvalidArgument("Duplicate location", field="locations", reason="BAD_LOCATION")


def add(image: pb.Image, location: pb.Location, declared: pb.Declared, position: int) -> None:
    """Add a location to a queued or active image."""
    if image.view.status not in (View.STATUS_QUEUED, View.STATUS_ACTIVE):
        word = View.Status.Name(image.view.status).removeprefix("STATUS_").lower()
        raise Conflict(f"It's not allowed to add locations if image status is {word}.", field="locations")
    check_url(location.url)
    if any(location.url == known.url for known in image.view.locations):
        raise InvalidArgument("Duplicate location", field="url", reason="BAD_LOCATION")
    _check_agrees(image, declared)
    check_declared(declared)
    if not image.spec.locations and not image.upload.id:
        image.spec.declared.CopyFrom(declared)
    kept = list(image.spec.locations)
    first = len(image.view.locations) - len(kept)  # the agent's bytes come first
    at = len(kept) if position <= 0 else max(0, min(position - 1 - first, len(kept)))
    kept.insert(at, location)
    del image.spec.locations[:]
    image.spec.locations.extend(kept)


def remove(image: pb.Image, position: int) -> None:
    """Remove the location at a position, from 1, of view.locations."""
    if not 1 <= position <= len(image.view.locations):
        raise InvalidArgument("Invalid position for removing a location.", field="locations")
    if len(image.view.locations) == 1:
        raise PermissionDenied(
            "Cannot remove last location in the image.", reason="FORBIDDEN", field="locations"
        )
    first = len(image.view.locations) - len(image.spec.locations)
    if position <= first:
        raise PermissionDenied(
            "The store's own location cannot be removed.", reason="FORBIDDEN", field="locations"
        )
    del image.spec.locations[position - 1 - first]


def check_declared(declared: pb.Declared) -> None:
    """Raise InvalidArgument for hashes that cannot be."""
    algorithm, value = declared.hash_algo, declared.hash_value
    if bool(algorithm) != bool(value):
        raise InvalidArgument(
            "os_hash_algo and os_hash_value must be given together.", field="validation_data"
        )
    if algorithm and algorithm not in _ALGORITHMS:
        raise InvalidArgument(f"os_hash_algo: {algorithm[:64]!r} is not known.", field="os_hash_algo")
    if algorithm and not _is_hex(value, hashlib.new(algorithm, usedforsecurity=False).digest_size * 2):
        raise InvalidArgument(f"os_hash_value: not a value of {algorithm}.", field="os_hash_value")
    if declared.checksum and not _is_hex(declared.checksum, 32):
        raise InvalidArgument("checksum: must be 32 hexadecimal digits.", field="checksum")


def _is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and re.fullmatch(r"[0-9a-fA-F]+", text) is not None


def _check_agrees(image: pb.Image, declared: pb.Declared) -> None:
    if image.view.status == View.STATUS_QUEUED:
        return
    for name in ("checksum", "hash_algo", "hash_value"):
        said = getattr(declared, name)
        if said and said != getattr(image.view, name):
            public = name if name == "checksum" else f"os_{name}"
            raise Conflict(f"{public} is already set with a different value", field=public)
