"""What a kind of worker of one's own may be called and ask for."""

from pathlib import Path

import msgspec
import pytest

from isthmus.configuration import read_sources
from isthmus.errors import ConfigurationError
from isthmus.launcher.state import DataFolder, write
from isthmus.scopes import describe, is_scope
from isthmus.worker import Call, Worker


class Repository(msgspec.Struct):
    """One source."""

    path: str


class Nothing(msgspec.Struct):
    """No arguments but the source."""

    x: str = ""


@pytest.mark.parametrize("kind", ["srv", "peer", "Git", "git.x", "git-x", "*", "", "1git"])
def test_what_would_stand_for_something_else_on_the_bus_is_no_kind(kind: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be a kind"):
        Worker[None](kind, argument="x")


@pytest.mark.parametrize("scope", ["data:read", "hg:use", "git:write", ""])
def test_a_tool_asks_for_the_scope_of_its_kind(scope: str) -> None:
    worker = Worker[None]("git", argument="x")

    async def look(call: Call[None], arguments: Nothing) -> str:
        """Looks."""
        return ""

    with pytest.raises(ConfigurationError, match="cannot have the scope"):
        worker.tool(scope=scope, action="use")(look)
    worker.tool(scope="git:use", action="use")(look)


@pytest.mark.parametrize(
    "text", ["db:use", "file:use", "srv:use", "peer:use", "git:use:more", "git use", "use", ":use"]
)
def test_not_everything_with_use_is_a_scope(text: str) -> None:
    assert not is_scope(text)


def test_a_kind_of_ones_own_has_sources_in_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "repositories.toml"
    environ = {"ISTHMUS_CONFIG": str(file), "ISTHMUS_REPOSITORIES": '{"b": {"path": "./b"}}'}
    file.write_text("[repositories.a]\npath = './a'\n")
    found = read_sources("repositories", Repository, environ)
    assert found == {"a": Repository("./a"), "b": Repository("./b")}
    with pytest.raises(ConfigurationError, match="unknown section"):
        read_sources("databases", Repository, environ)


def test_the_scope_of_a_kind_is_told_in_words() -> None:
    assert is_scope("git:use")
    assert describe("git:use") == "Use the git tools"
    assert describe("data:read") == "Read the schemas and rows of databases"


def test_a_data_folder_of_an_earlier_version_gets_the_password_of_the_new_user(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    before = folder.secrets()
    del before.nats_passwords["worker"]
    write(folder.secrets_file, before)
    after = folder.secrets()
    assert after.nats_passwords.pop("worker").startswith("p")
    assert after == before
    assert "worker" in folder.secrets().nats_passwords
