"""Compute API, section "Usage audit log": nothing is missing here, since usage is worked out when it is asked for."""

import re
from datetime import UTC, datetime
from urllib.parse import unquote

from gateway.compute.nodes import nodes
from gateway.compute.reading import only_admins
from gateway.core.codec import JsonValue
from gateway.core.fault import Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route

_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?")


async def _log(request: Request, before: datetime) -> JsonValue:
    """Of the month before."""
    end = before.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    begin = end.replace(year=end.year - (end.month == 1), month=(end.month - 2) % 12 + 1)
    count = len(await nodes(request))
    return {
        "hosts_not_run": [],
        "log": {},
        "num_hosts": count,
        "num_hosts_done": count,
        "num_hosts_not_run": 0,
        "num_hosts_running": 0,
        "overall_status": "ALL hosts done. 0 errors.",
        "period_beginning": f"{begin:%Y-%m-%d %H:%M:%S}",
        "period_ending": f"{end:%Y-%m-%d %H:%M:%S}",
        "total_errors": 0,
        "total_instances": 0,
    }


async def index(request: Request) -> Response:
    """Of the last month."""
    return Response(200, {"instance_usage_audit_logs": await _log(request, datetime.now(UTC))})


async def show(request: Request) -> Response:
    """Of the month before a time."""
    await only_admins(request, "os-instance-usage-audit-log:show")
    text = unquote(request.params["before"])
    try:
        if not _FORM.fullmatch(text):
            raise ValueError(text)
        before = datetime.fromisoformat(text)
        shown = await _log(request, before)
    except ValueError as error:
        raise Invalid(f"Invalid timestamp for date {text[:40]}", field="before") from error
    return Response(200, {"instance_usage_audit_log": shown})


_BASE = "/v2.1/os-instance_usage_audit_log"
routes = [Route("GET", _BASE, index), Route("GET", f"{_BASE}/{{before}}", show)]
