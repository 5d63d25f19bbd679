"""The registries hold what there is, and what loops over them names none of their entries."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from app.api import compat
from app.domain.channels import CHANNELS, DELIVERY_CHANNELS
from app.domain.preferences import CATEGORIES, CHOICES
from app.outbox import make_channels
from app.outbox.channel import ChannelPorts
from app.settings.edge import COMPAT_SERVICES
from app.sources import BROKERS
from handlers.messages import MessageRequest
from tests.support.settings import settings_on

ROOT = Path(__file__).parents[2]
BROKER_WORDS = re.compile(r"kafka|rabbit|amqp|aio_?pika|aiormq|redis_(stream|events)", re.IGNORECASE)
BROKER_FREE = (
    *("app/api", "app/cli", "app/domain", "app/erasure", "app/ingest", "app/outbox", "app/realtime"),
    *("app/server", "app/store", "app/texts", "handlers"),
)
TRUSTS_ONE_BROKER = {
    # What only the user service may ask for, and Kafka is where no other service writes these topics.
    ("handlers/accounts.py", "kafka"),
    ("handlers/otp.py", "kafka"),
}


def test_each_folder_of_a_broker_is_registered_and_each_name_once() -> None:
    folders = [path.parent.name for path in (ROOT / "app/sources").glob("*/__init__.py")]
    assert sorted(broker.name for broker in BROKERS) == sorted(folders)


def test_the_folder_of_a_broker_imports_no_other_s() -> None:
    """Holds for a broker that is added, too; pyproject.toml lists the brokers of today."""
    for broker in BROKERS:
        others = {f"app.sources.{other.name}" for other in BROKERS if other is not broker}
        for path in (ROOT / "app/sources" / broker.name).rglob("*.py"):
            words = set(_words(ast.parse(path.read_text())))
            assert not {word for word in words if word.startswith(tuple(others))}, path


def test_only_sources_settings_and_dev_name_a_broker() -> None:
    named = {
        (path.relative_to(ROOT).as_posix(), word)
        for folder in BROKER_FREE
        for path in (ROOT / folder).rglob("*.py")
        for word in _words(ast.parse(path.read_text()))
        if BROKER_WORDS.search(word)
    }
    assert named == TRUSTS_ONE_BROKER


def test_each_channel_has_its_module_and_each_module_its_channel() -> None:
    modules = [
        path for path in (ROOT / "app/outbox").rglob("*.py") if "def make_channel(" in path.read_text()
    ]
    found = [path.parent.name if path.stem == "__init__" else path.stem for path in modules]
    assert sorted(found) == sorted(DELIVERY_CHANNELS)
    channels = make_channels(settings_on("redis://redis"), ChannelPorts())
    assert [*channels] == [channel.name for channel in channels.values()] == [*DELIVERY_CHANNELS]


@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_is_a_category_by_a_channel(choice: str) -> None:
    category, channel = choice.split(".")
    assert category in CATEGORIES
    assert channel in CHANNELS


def test_a_message_goes_over_any_channel_and_no_other() -> None:
    allowed = msgspec.json.schema(MessageRequest)["$defs"]["MessageRequest"]["properties"]["type"]["enum"]
    assert allowed == [*CHANNELS]
    with pytest.raises(msgspec.ValidationError, match="type"):
        msgspec.json.decode(b'{"type": "fax", "to": "1", "message": "Hello"}', type=MessageRequest)


def test_the_settings_name_the_services_whose_paths_there_are() -> None:
    assert [*compat.SERVICES] == [*COMPAT_SERVICES]
    modules = {path.stem for path in (ROOT / "app/api/compat").glob("*_service.py")}
    assert modules == {name.replace("-", "_") for name in COMPAT_SERVICES}


def test_the_list_of_brokers_loads_no_driver() -> None:
    """A command that needs one broker, or none, doesn't import the others' clients."""
    shown = "import sys, app.sources; print({'aiokafka', 'aio_pika', 'redis'} & {*sys.modules})"
    ended = subprocess.run(
        [sys.executable, "-c", shown], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "set()"


def _words(tree: ast.AST) -> Iterator[str]:
    """Identifiers, imported modules, and texts of one word; not prose."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.arg(arg=word) | ast.alias(name=word):
                yield word
            case ast.FunctionDef(name=word) | ast.AsyncFunctionDef(name=word) | ast.ClassDef(name=word):
                yield word
            case ast.ImportFrom(module=str(word)) | ast.keyword(arg=str(word)):
                yield word
            case ast.Constant(value=str(word)) if re.fullmatch(r"\w+", word):
                yield word
