"""The controller as a whole."""

import asyncio
from dataclasses import replace
from pathlib import Path

from cryptography.fernet import Fernet

from fabric.controller.compose import serve
from fabric.runtime.config import Config, Controller
from fabric.runtime.config import Etcd as EtcdSettings
from tests.functional.etcd import free_port


async def test_one_that_waits_for_etcd_ends_when_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_bytes(Fernet.generate_key() + b"\n")
    config = replace(
        Config(),
        etcd=EtcdSettings(endpoints=[f"127.0.0.1:{free_port()}"]),
        controller=Controller(
            listen=f"127.0.0.1:{free_port()}",
            master_key_file=str(tmp_path / "master.key"),
            policy_dir=str(tmp_path / "policy.d"),
        ),
    )
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(config, stop=stop))
    await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(serving, 30)
