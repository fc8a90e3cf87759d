"""Where the cloud of this machine keeps its things."""

import os
from dataclasses import dataclass
from pathlib import Path

from fabric.ctl.program import Desk


@dataclass(frozen=True)
class Place:
    config: Path  # the TOML file that every process of this machine reads
    state: Path  # what must survive a reboot
    logs: Path
    run: Path  # pid files and sockets

    @property
    def desk(self) -> Desk:
        return Desk(self.run, self.logs)

    @property
    def keys(self) -> Path:
        """Master key, passwords and certificates: mode 0700, worth a backup."""
        return self.state / "keys"

    @property
    def libvirt(self) -> Path:
        """Of the libvirtd that only this cloud uses."""
        return self.state / "libvirt"

    @property
    def options(self) -> list[str]:
        """By which another fabricctl finds this place again."""
        top = ["--state-dir", str(self.state.parent)] if self.state.name == "state" else []
        return [*top, "--config", str(self.config)]

    def make(self) -> None:
        for path in (self.state, self.logs, self.run, self.config.parent):
            path.mkdir(parents=True, exist_ok=True, mode=0o755)
        self.keys.mkdir(exist_ok=True, mode=0o700)


def place(state_dir: Path | None, config: Path | None) -> Place:
    """The system's directories for root; all below one directory for others and with a state directory."""
    if state_dir is None and os.geteuid() == 0:
        root = Path("/")
        return Place(
            config.absolute() if config else root / "etc/fabric/fabric.toml",
            state=root / "var/lib/fabric",
            logs=root / "var/log/fabric",
            run=root / "run/fabric",
        )
    top = (state_dir or Path.home() / ".local/share/fabric").absolute()
    return Place(
        config.absolute() if config else top / "fabric.toml", top / "state", top / "log", top / "run"
    )
