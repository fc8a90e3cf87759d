"""Configuration."""

from pathlib import Path

import pytest

from fabric.runtime.config import Config, ConfigError, load


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fabric.toml"
    path.write_text(text)
    return path


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load(written(tmp_path, "")) == Config()


def test_values_are_taken_over_with_their_types(tmp_path: Path) -> None:
    text = '[node]\nname="n2"\nstate_dir="/x"\n[gateway]\ndrain_s=3\n[quota]\n"network.port"=7\n'
    config = load(written(tmp_path, text))
    assert (config.node.name, config.node.state_dir, config.gateway.drain_s) == ("n2", Path("/x"), 3.0)
    assert config.quota == {"network.port": 7}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[nod]\n", "nod"),
        ('[node]\nnane="x"\n', "node.nane"),
        ("[node]\nname=5\n", "node.name"),
        ('[agent]\nkinds="compute"\n', "agent.kinds"),
        ("[compute]\nfake_vcpus=true\n", "compute.fake_vcpus"),
        ("node = 3\n", "node"),
        ("[compute]\nfence_after_s=8\n", "compute.fence_after_s"),
        ("[compute]\nfence_after_s=3.9\n", "compute.fence_after_s .* agent.lease_ttl_s"),
        ("[agent]\nlease_ttl_s=5\n", "compute.fence_after_s .* agent.lease_ttl_s"),
        ("[[[", "line 1"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        load(tmp_path / "absent.toml")
