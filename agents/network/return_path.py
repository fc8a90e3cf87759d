"""What came in by another gateway than the first goes out by it again, by a table of routes of its own.

The flow remembers the gateway by a mark (router_plan.py); what is on a link of the router goes there as ever.
"""

import errno
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pyroute2.netlink.exceptions import NetlinkError

from agents.network import rtnl

_LINKS_FIRST, _BY_MARK = 1000, 1001  # priorities of rules, which are asked before the main table


@dataclass(frozen=True)
class ReturnPath:
    """mark: of the flows; the number of the table as well."""

    mark: int
    nexthop: str
    device: str


def settle(
    writer: rtnl.Writer, paths: Collection[ReturnPath], devices: Mapping[str, int], protocol: int
) -> None:
    """Runs inside the namespace: make exactly these rules and tables be there; IPv4, as floating IPs are."""
    wanted = {rtnl.Rule(_BY_MARK, path.mark, path.mark) for path in paths}
    if paths:
        wanted.add(rtnl.Rule(_LINKS_FIRST, 0, rtnl.MAIN, links_only=True))
    found = {rule for rule in rtnl.rules(socket.AF_INET) if rule.priority in (_LINKS_FIRST, _BY_MARK)}
    for rule in found - wanted:
        writer.ip.rule("del", **_facts(rule))
        if rule.table != rtnl.MAIN:
            _drop_default(writer, rule.table)
    for path in paths:
        route = rtnl.Route("default", frozenset({(path.nexthop, devices[path.device])}))
        if route not in rtnl.routes(socket.AF_INET, protocol, path.mark):
            hop = {"gateway": path.nexthop, "oif": devices[path.device], "flags": ["onlink"]}
            facts = {**hop, "proto": protocol}
            writer.ip.route("replace", dst="default", table=path.mark, family=socket.AF_INET, **facts)
    for rule in wanted - found:
        writer.ip.rule("add", **_facts(rule))


def _facts(rule: rtnl.Rule) -> dict[str, int]:
    facts = {"priority": rule.priority, "table": rule.table, "family": socket.AF_INET}
    if rule.mark:
        facts["fwmark"] = rule.mark
    if rule.links_only:
        facts["FRA_SUPPRESS_PREFIXLEN"] = 0
    return facts


def _drop_default(writer: rtnl.Writer, table: int) -> None:
    try:
        writer.ip.route("del", dst="default", table=table, family=socket.AF_INET)
    except NetlinkError as error:
        if error.code != errno.ESRCH:  # it went with its link
            raise
