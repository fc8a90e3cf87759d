"""fabricctl openrc: the environment for clients, for eval."""

import argparse
import shlex

from fabric.ctl.api import api_url, authority_of
from fabric.ctl.place import Place
from fabric.runtime.config import Config, load

CONFLICTING = (
    *(
        "OS_CLOUD",
        "OS_CLIENT_CONFIG_FILE",
        "OS_TOKEN",
        "OS_URL",
        "OS_ENDPOINT",
        "OS_SYSTEM_SCOPE",
        "OS_TRUST_ID",
    ),
    *("OS_USER_ID", "OS_PROJECT_ID", "OS_TENANT_ID", "OS_TENANT_NAME", "OS_DOMAIN_ID", "OS_DOMAIN_NAME"),
    *("OS_USER_DOMAIN_ID", "OS_PROJECT_DOMAIN_ID", "OS_DEFAULT_DOMAIN_ID", "OS_DEFAULT_DOMAIN_NAME"),
    *(f"OS_APPLICATION_CREDENTIAL_{what}" for what in ("ID", "NAME", "SECRET")),
    *("OS_CACERT", "OS_CERT", "OS_KEY", "OS_INSECURE"),
    *(f"OS_{service}_API_VERSION" for service in ("COMPUTE", "IMAGE", "NETWORK", "VOLUME")),
)


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = 'Print shell lines for clients: eval "$(fabricctl openrc)".'
    parser.add_argument("user", nargs="?", choices=("admin", "demo"), default="admin")


def run(place: Place, arguments: argparse.Namespace) -> int:
    print(lines(load(place.config), arguments.user))
    return 0


def lines(config: Config, user: str) -> str:
    """Shell lines that set what a client needs and unset what would lead it elsewhere."""
    bootstrap = config.bootstrap
    password = {"admin": bootstrap.admin_password, "demo": bootstrap.demo_password}[user]
    wanted = {
        "OS_AUTH_TYPE": "password",
        "OS_AUTH_URL": f"{api_url(config)}{config.gateway.identity_path}/v3",
        "OS_IDENTITY_API_VERSION": "3",
        "OS_USERNAME": user,
        "OS_PASSWORD": password,
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_NAME": user,
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": bootstrap.region,
        "OS_INTERFACE": "public",
        "OS_ENDPOINT_TYPE": "publicURL",
    }
    if ca_file := authority_of(config):
        wanted["OS_CACERT"] = ca_file
    return "\n".join(
        [
            f"unset {' '.join(CONFLICTING)}",
            *(f"export {key}={shlex.quote(value)}" for key, value in wanted.items()),
        ]
    )
