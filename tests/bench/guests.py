"""Real guests: how long `fabricctl up` takes to the first that answers, and an API call to the domain running.

Runs on a machine of its own (a network and a mount namespace), and needs root. The client runs on that machine
too: python -m tests.bench.guests URL PASSWORD prints one figure a line.
"""

import json
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.http_client import Http
from tests.system.ctl.machine import Machine

BOOTS = 7


def measure() -> dict[str, float]:
    """up_s: to the first guest that answers; running_s: median from the API call to ACTIVE, image cached."""
    with tempfile.TemporaryDirectory(prefix="fabric-bench-") as directory:
        machine = Machine(Path(directory) / "cloud")
        try:
            done = machine.fabricctl("up", timeout_s=400)
            total = re.search(r"^total +([0-9.]+) s", done.stdout, re.MULTILINE)
            if done.returncode or total is None:
                raise RuntimeError(done.stdout + done.stderr)
            openrc = machine.fabricctl("openrc", "demo").stdout
            facts = dict(re.findall(r"^export (OS_\w+)='?([^'\n]*)'?", openrc, re.MULTILINE))
            url = facts["OS_AUTH_URL"].partition("/identity")[0]
            command = (sys.executable, "-m", "tests.bench.guests", url, facts["OS_PASSWORD"])
            inside = machine.run(*command, timeout_s=300)
            if inside.returncode:
                raise RuntimeError(inside.stderr)
            seconds = json.loads(inside.stdout)
            return {"up_s": float(total[1]), "running_s": statistics.median(seconds)}
        finally:
            machine.close()


def boots(url: str, password: str) -> list[float]:
    """Boot and delete some servers; the seconds to ACTIVE of each."""
    seconds = []
    with Http(url) as demo:
        demo.login("demo", password, "demo")
        first = demo.call("GET", "/compute/v2.1/servers/detail")["servers"][0]
        network = demo.call("GET", "/network/v2.0/networks?name=demo")["networks"][0]["id"]
        body = {
            "name": "bench",
            "imageRef": first["image"]["id"],
            "flavorRef": first["flavor"]["id"],
            "networks": [{"uuid": network}],
        }
        for _ in range(BOOTS):
            started = time.perf_counter()
            id_ = demo.call("POST", "/compute/v2.1/servers", {"server": body})["server"]["id"]
            status = ""
            while status != "ACTIVE":
                time.sleep(0.02)
                status = demo.call("GET", f"/compute/v2.1/servers/{id_}")["server"]["status"]
                if status == "ERROR" or time.perf_counter() - started > 60:
                    raise RuntimeError(f"the server is {status}")
            seconds.append(time.perf_counter() - started)
            demo.call("DELETE", f"/compute/v2.1/servers/{id_}")
    return seconds


if __name__ == "__main__":
    print(json.dumps(boots(sys.argv[1], sys.argv[2])))
