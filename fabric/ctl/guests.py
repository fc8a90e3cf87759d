"""The guests of this machine, seen from outside the cloud: while its agent is stopped."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Self
from xml.etree import ElementTree

import libvirt  # type: ignore[import-untyped]

from agents.compute.domain import NAMESPACE, PREFIX, mark_xml, parse_mark
from agents.compute.patience import PRESS_EVERY_S
from fabric.ctl.progress import Progress


class Guests:
    """Domains that carry the compute agent's mark, and no others."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def connect(cls, uri: str) -> Iterator[Self | None]:
        """None: no libvirtd answers, so that no guest is known."""
        libvirt.registerErrorHandler(lambda *_: None, None)
        try:
            connection = libvirt.open(uri)
        except libvirt.libvirtError:
            yield None
            return
        try:
            yield cls(connection)
        finally:
            connection.close()

    def shut_down(
        self, timeout_s: float, progress: Progress, *, press_every_s: float = PRESS_EVERY_S
    ) -> None:
        """Ask each guest to power itself off, again and again, and switch off who does not in time."""
        running = self._running()
        if not running:
            return
        for domain in running:
            _try(partial(_went_down_with_the_node, domain))
        if timeout_s > 0:
            progress.say(f"shutting down {len(running)} guests")
            press = time.monotonic()
            deadline = press + timeout_s
            while (running := self._running()) and (now := time.monotonic()) < deadline:
                if now >= press:
                    press = now + press_every_s
                    for domain in running:
                        _try(domain.shutdown)
                time.sleep(0.1)
        for domain in running:
            _try(domain.destroy)
        progress.say(f"guests are off{f', {len(running)} of them were switched off' if running else ''}")

    def undefine(self) -> None:
        """Make libvirt forget them."""
        flags = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
        for domain in self._marked():
            _try(partial(domain.undefineFlags, flags))

    def _running(self) -> list[Any]:
        return [domain for domain in self._marked() if domain.isActive()]

    def _marked(self) -> list[Any]:
        return [domain for domain in self._connection.listAllDomains() if _is_marked(domain)]


def _went_down_with_the_node(domain: Any) -> None:
    """Tell the next agent that the guest does not go off by its own will, as a reboot of the node tells it."""
    parsed = parse_mark(ElementTree.fromstring(domain.XMLDesc()))
    if parsed is not None:
        node, marks = parsed
        mark = mark_xml(node, replace(marks, boot_id=""))
        flags = libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG
        domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, mark, PREFIX, NAMESPACE, flags)


def _is_marked(domain: Any) -> bool:
    try:
        return bool(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE))
    except libvirt.libvirtError:
        return False


def _try(act: Callable[[], Any]) -> None:
    """The guest may have ended meanwhile, which is what was wanted."""
    try:
        act()
    except libvirt.libvirtError:
        return
