"""Libvirtds that take guests from each other, as those of a cloud's nodes do."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from agents.compute.libvirtd import PrivateLibvirtd
from fabric.runtime.certificate import Authority
from fabric.runtime.config import Tls
from tests.functional.etcd import free_port

Daemons = Sequence[tuple[PrivateLibvirtd, str]]  # each with where it listens


@contextmanager
def daemons(factory: pytest.TempPathFactory) -> Iterator[Daemons]:
    """Two of them, whose certificates are of one authority."""
    if shutil.which("libvirtd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("no libvirtd here")
    made, authority = [], Authority(factory.mktemp("keys"))
    authority.ensure()
    for name in ("a", "b"):
        pair = authority.ensure_pair(name, name, ["127.0.0.1"])
        tls = Tls(str(authority.certificate), str(pair.certificate), str(pair.key))
        listen = f"127.0.0.1:{free_port()}"
        made.append((PrivateLibvirtd(factory.mktemp(name), listen=listen, tls=tls), listen))
    try:
        for daemon, _ in made:
            daemon.start()
        yield made
    finally:
        for daemon, _ in made:
            daemon.wipe()
