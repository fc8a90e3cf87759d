"""The released openstacksdk, unmodified, against the Image API."""

import asyncio
import hashlib
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openstack
import openstack.exceptions
import pytest

from tests.functional.image.harness import Cloud

MIB = 1 << 20
pytestmark = pytest.mark.filterwarnings("ignore")  # those of the client are its own


@pytest.fixture
async def image_api(cloud: Cloud) -> AsyncIterator[Any]:
    connection = openstack.connect(
        auth_type="admin_token",
        auth={"endpoint": f"{cloud.url}/v2", "token": "p1.member"},
        load_yaml_config=False,
        load_envvars=False,
    )
    yield connection.image
    connection.close()


@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
async def test_a_file_becomes_an_image_and_a_file_again(
    image_api: Any, tmp_path: Path, disk_format: str
) -> None:
    path, out = tmp_path / "in", tmp_path / "out"
    path.write_bytes(os.urandom(3 * MIB))
    if disk_format == "qcow2":
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", path, tmp_path / "q"], check=True)
        path = tmp_path / "q"
    await asyncio.to_thread(_round_trip, image_api, path, out, disk_format)
    assert out.read_bytes() == path.read_bytes()


def _round_trip(api: Any, path: Path, out: Path, disk_format: str) -> None:
    data = path.read_bytes()
    image = api.create_image(
        "disk", filename=str(path), disk_format=disk_format, container_format="bare", hw_disk_bus="virtio"
    )
    image = api.get_image(image.id)
    assert (image.status, image.size) == ("active", len(data))
    assert image.hash_value == hashlib.sha512(data).hexdigest()
    assert image.hw_disk_bus == "virtio"
    assert api.find_image("disk").id == image.id
    api.download_image(image, stream=True, output=str(out))
    changed = api.update_image(image, name="other", min_ram=64, os_distro="debian")
    assert (changed.name, changed.min_ram, changed.os_distro) == ("other", 64, "debian")
    api.add_tag(image, "t")
    assert [one.id for one in api.images(tag="t")] == [image.id]
    api.deactivate_image(image)
    with pytest.raises(openstack.exceptions.SDKException):
        api.download_image(image)
    api.reactivate_image(image)
    member = api.add_member(image, member_id="p2")
    assert [one.member_id for one in api.members(image)] == ["p2"]
    api.remove_member(member, image)
    api.delete_image(image)
    assert list(api.images()) == []
    with pytest.raises(openstack.exceptions.NotFoundException):
        api.get_image(image.id)


async def test_staging_importing_and_what_is_offered(image_api: Any) -> None:
    await asyncio.to_thread(_import, image_api)


def _import(api: Any) -> None:
    assert "glance-direct" in api.get_import_info().import_methods["value"]
    assert [store.id for store in api.stores()] == ["fabric", "http"]
    image = api.create_image(
        "staged",
        data=b"staged",
        disk_format="raw",
        container_format="bare",
        use_import=True,
        validate_checksum=False,
    )
    image = api.wait_for_status(image, "active", interval=0.1, wait=20)
    assert api.get_image_schema().properties["id"]
    assert api.get_metadef_namespace_schema().properties["namespace"]
    assert list(api.metadef_namespaces()) == []
    assert [kind.name for kind in api.metadef_resource_types()]


async def test_pages(cloud: Cloud, image_api: Any) -> None:
    names = [f"i{number:02}" for number in range(7)]
    for name in names:
        await cloud.image(name=name)
    found = await asyncio.to_thread(
        lambda: [image.name for image in image_api.images(limit=3, sort="name:asc")]
    )
    assert found == names
