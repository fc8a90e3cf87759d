"""Bytes in and out."""

import asyncio
import contextlib
import hashlib
import os
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import requests

from tests.functional.etcd import EtcdProcess
from tests.functional.image.harness import MAX_BYTES, Agent, Cloud

MIB = 1 << 20


async def test_what_is_uploaded_is_downloaded_with_its_hashes(cloud: Cloud) -> None:
    data = os.urandom(3 * MIB + 17)
    image = await cloud.image(data=data, name="disk")
    assert image["status"] == "active"
    assert image["size"] == len(data)
    assert image["checksum"] == hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert (image["os_hash_algo"], image["os_hash_value"]) == ("sha512", hashlib.sha512(data).hexdigest())
    reply = await cloud.call("GET", f"/v2/images/{image['id']}/file")
    assert reply.status_code == 200
    assert reply.content == data
    assert reply.headers["Content-MD5"] == image["checksum"]
    assert reply.headers["Content-Length"] == str(len(data))


async def test_an_image_without_data_has_no_content(cloud: Cloud) -> None:
    image = await cloud.image()
    assert image["status"] == "queued"
    reply = await cloud.call("GET", f"/v2/images/{image['id']}/file")
    assert (reply.status_code, reply.content) == (204, b"")


async def test_ranges(cloud: Cloud) -> None:
    data = os.urandom(2 * MIB)
    image = await cloud.image(data=data)
    path = f"/v2/images/{image['id']}/file"
    for asked, first, last in (
        ("bytes=10-19", 10, 19),
        (f"bytes={MIB - 5}-{MIB + 5}", MIB - 5, MIB + 5),
        ("bytes=-7", len(data) - 7, len(data) - 1),
        (f"bytes={MIB}-", MIB, len(data) - 1),
    ):
        reply = await cloud.call("GET", path, headers={"Range": asked})
        assert reply.status_code == 206
        assert reply.headers["Content-Range"] == f"bytes {first}-{last}/{len(data)}"
        assert reply.content == data[first : last + 1]
    reply = await cloud.call("GET", path, headers={"Range": f"bytes={len(data)}-"})
    assert reply.status_code == 416


async def test_a_deleted_image_leaves_no_file_and_no_record(cloud: Cloud) -> None:
    image = await cloud.image(data=b"x" * 100)
    assert len(cloud.agent.files()) == 1
    assert (await cloud.call("DELETE", f"/v2/images/{image['id']}")).status_code == 204
    assert (await cloud.call("GET", f"/v2/images/{image['id']}")).status_code == 404
    async with asyncio.timeout(30):
        while cloud.agent.files() or any("/images/" in key for key in await _keys(cloud)):
            await asyncio.sleep(0.02)


async def test_a_broken_upload_leaves_a_queued_image_and_nothing_else(cloud: Cloud) -> None:
    image = await cloud.image()
    await _half_an_upload(cloud, image["id"])
    await cloud.until(image["id"], "queued")
    async with asyncio.timeout(30):
        while cloud.agent.files():
            await asyncio.sleep(0.02)
    assert (await cloud.upload(image["id"], b"again")).status_code == 204


async def test_an_upload_whose_agent_dies_leaves_a_queued_image(cloud: Cloud) -> None:
    image = await cloud.image()
    sock = await _begin_upload(cloud, image["id"])
    await cloud.until(image["id"], "saving")
    await cloud.agent.kill()
    await cloud.agent.start()
    sock.close()
    await cloud.until(image["id"], "queued", within_s=40)
    assert cloud.agent.files() == []


async def test_an_upload_outlives_a_restart_of_etcd(cloud: Cloud, etcd_process: EtcdProcess) -> None:
    image = await cloud.image()
    sock = await _begin_upload(cloud, image["id"])
    await cloud.until(image["id"], "saving")
    etcd_process.kill()
    await asyncio.sleep(3)  # longer than the lease of the agent
    etcd_process.start()
    await asyncio.to_thread(sock.sendall, os.urandom(6 * MIB))
    answer = await asyncio.to_thread(sock.recv, 100)
    sock.close()
    assert answer.startswith(b"HTTP/1.1 204"), answer
    assert (await cloud.show(image["id"]))["status"] == "active"


async def test_bytes_survive_a_restart_of_the_agent(cloud: Cloud) -> None:
    image = await cloud.image(data=b"hello")
    await cloud.agent.kill()
    await cloud.agent.start()
    reply = await cloud.call("GET", f"/v2/images/{image['id']}/file")
    assert reply.content == b"hello"


async def test_with_an_agent_gone_others_take_new_images(cloud: Cloud, tmp_path: Path) -> None:
    other = Agent(cloud.store.etcd, tmp_path / "other", cloud.agent.verifier, "node2")
    old = await cloud.image(data=b"old")
    await cloud.agent.kill()
    await other.start()
    try:
        async with asyncio.timeout(30):  # until the lease of the dead one is gone
            while {life.node for life in cloud.store.lives()} != {"node2"}:
                await asyncio.sleep(0.05)
        assert (await cloud.call("GET", f"/v2/images/{old['id']}/file")).status_code == 503
        new = await cloud.image(data=b"new")
        assert (await cloud.call("GET", f"/v2/images/{new['id']}/file")).content == b"new"
        assert len(other.files()) == 1
        await cloud.agent.start()
        assert (await cloud.call("GET", f"/v2/images/{old['id']}/file")).content == b"old"
    finally:
        await other.kill()


async def test_a_qcow2_that_refers_to_other_files_is_refused(cloud: Cloud, tmp_path: Path) -> None:
    base, backed, outside = tmp_path / "base", tmp_path / "backed.qcow2", tmp_path / "outside.qcow2"
    _qemu_img("create", "-f", "raw", str(base), "1M")
    _qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", str(base), str(backed))
    _qemu_img("create", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'}", str(outside), "1M")
    for path, word in ((backed, "backing file"), (outside, "data file")):
        for said in ("qcow2", "raw"):
            image = await cloud.image(disk_format=said)
            reply = await cloud.upload(image["id"], path.read_bytes())
            assert reply.status_code == 415, reply.text
            assert word in reply.json()["message"]
            await cloud.until(image["id"], "queued")
    assert cloud.agent.files() == []


async def test_content_of_another_format_is_refused_and_noise_is_not(cloud: Cloud, tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    _qemu_img("create", "-f", "qcow2", str(path), "5M")
    image = await cloud.image(disk_format="raw")
    assert (await cloud.upload(image["id"], path.read_bytes())).status_code == 415
    image = await cloud.image(disk_format="qcow2", data=path.read_bytes())
    assert image["virtual_size"] == 5 * MIB
    image = await cloud.image(disk_format="vmdk", data=os.urandom(1000))
    assert image["status"] == "active"


async def test_too_many_bytes_are_refused_before_or_while_they_come(cloud: Cloud) -> None:
    image = await cloud.image()
    assert (await cloud.upload(image["id"], bytes(MAX_BYTES + 1))).status_code == 413
    await cloud.until(image["id"], "queued")
    with contextlib.suppress(requests.ConnectionError):  # it may still be sending when it is refused
        reply = await cloud.upload(image["id"], (bytes(MIB) for _ in range(100)))  # of no known length
        assert reply.status_code == 413
    await cloud.until(image["id"], "queued")
    assert cloud.agent.files() == []


async def test_only_a_queued_image_takes_data(cloud: Cloud) -> None:
    image = await cloud.image(data=b"one")
    assert (await cloud.upload(image["id"], b"two")).status_code == 409
    reply = await cloud.call("POST", "/v2/images", json={"name": "no formats"})
    assert (await cloud.upload(reply.json()["id"], b"three")).status_code == 400


async def test_deactivated_data_is_for_nobody(cloud: Cloud) -> None:
    image = await cloud.image(data=b"data")
    path = f"/v2/images/{image['id']}"
    assert (await cloud.call("POST", f"{path}/actions/deactivate")).status_code == 204
    assert (await cloud.show(image["id"]))["status"] == "deactivated"
    assert (await cloud.call("GET", f"{path}/file")).status_code == 403
    assert (await cloud.call("POST", f"{path}/actions/reactivate")).status_code == 204
    assert (await cloud.call("GET", f"{path}/file")).content == b"data"


def _qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", *words], check=True, capture_output=True)


async def _keys(cloud: Cloud) -> list[str]:
    return [kv.key for kv in (await cloud.store.etcd.scan("/fabric/image/"))[0]]


async def _begin_upload(cloud: Cloud, id_: str) -> socket.socket:
    parts = urlsplit(cloud.url)
    sock = socket.create_connection((parts.hostname or "", parts.port or 0))
    head = (
        f"PUT {parts.path}/v2/images/{id_}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: p1.member\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {8 * MIB}\r\n\r\n"
    )
    await asyncio.to_thread(sock.sendall, head.encode() + os.urandom(2 * MIB))
    return sock


async def _half_an_upload(cloud: Cloud, id_: str) -> None:
    sock = await _begin_upload(cloud, id_)
    await cloud.until(id_, "saving")
    async with asyncio.timeout(30):
        while not cloud.agent.files():
            await asyncio.sleep(0.01)
    sock.close()
