"""Variables that look like settings and are none: usually a name that is misspelt."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from difflib import SequenceMatcher
from itertools import takewhile

from app.settings.aliases import FOREIGN, Notice, Values, is_service_link

MIN_LIKENESS_SHARE = 0.8  # of a name with a prefix that other programs use as well
OF_COMPOSE = frozenset(("POSTGRES_PASSWORD", "REDIS_PASSWORD", "RABBITMQ_PASSWORD", "GATEWAY_PORT"))
"""What `.env` holds for Docker Compose alone."""
OF_OTHERS = frozenset(("EMAIL_",))
"""Prefixes that several settings share and frameworks use as well, such as Django's EMAIL_BACKEND."""
OF_PROXIES = frozenset(("HTTP_PROXY", "HTTPS_PROXY"))
"""What HTTP clients read; HTTP_ begins names of ours, too."""
_OF_IMAGES = re.compile(
    r"REDIS_(VERSION|DOWNLOAD_\w+|ARGS|AOF\w*|RDB\w*|REPLICATION_\w+|MASTER_\w+|EXTRA_FLAGS|SENTINEL_\w+)"
    r"|RABBITMQ_(DEFAULT_\w+|ERLANG_\w+|NODE\w*|VERSION|HOME|DATA_DIR|LOGS?|LOG_\w+|CONF\w*|ENABLED_PLUGINS\w*"
    r"|PLUGINS\w*|MNESIA\w*|SERVER_\w+|USE_LONGNAME|MANAGEMENT_\w+|PGP_\w+|CTL_\w+|DIST_PORT|IO_\w+)"
    r"|KAFKA_(CFG_\w+|ADVERTISED_\w+|LISTENERS?\w*|CONTROLLER_\w+|INTER_BROKER_\w+|NODE_ID|BROKER_ID|BROKER_RACK"
    r"|PROCESS_ROLES|ZOOKEEPER_\w+|HEAP_OPTS|OPTS|JMX_\w+|LOG\w*|OFFSETS_\w+|TRANSACTION_\w+|NUM_\w+"
    r"|AUTO_(CREATE|LEADER)_\w+|DEFAULT_REPLICATION_FACTOR|GROUP_INITIAL_\w+|SHARE_\w+|CLUSTERS?_\w+|KRAFT_\w+|ENABLE_KRAFT"
    r"|DELETE_\w+|MESSAGE_\w+|REPLICA_\w+|MIN_INSYNC_\w+|VERSION|HOME|CREATE_TOPICS|METADATA_\w+)"
)


def unknown(given: Values, known: Collection[str], titles: Iterable[str]) -> Iterator[Notice]:
    """Report the variables of `given` that begin as settings do, each with the nearest of the `known` ones.

    A prefix that several settings share, or that is the title of a section, is ours. One that a single
    setting has, such as HTTP_, may be another program's: such a name is reported if it is much like ours.
    """
    ours = (_prefixes(known) - OF_OTHERS) | {f"{title.upper()}_" for title in titles}
    firsts = {name.partition("_")[0] for name in known if "_" in name}
    for name, value in given.items():
        if name in known or name.partition("_")[0] not in firsts or _is_another_s(name, value):
            continue
        likeness, nearest = max((SequenceMatcher(None, name, each).ratio(), each) for each in sorted(known))
        if name.startswith(tuple(ours)) or likeness >= MIN_LIKENESS_SHARE:
            yield Notice("setting_unknown", name, f"{name} is no setting. The nearest one is {nearest}.")


def _prefixes(known: Collection[str]) -> set[str]:
    """The parts of their names, up to an underscore, that all settings with the same first word share."""
    groups: defaultdict[str, list[list[str]]] = defaultdict(list)
    for name in known:
        words = name.split("_")
        groups[words[0]].append(words)
    shared = (
        takewhile(lambda column: len(set(column)) == 1, zip(*names, strict=False))
        for names in groups.values()
        if len(names) > 1
    )
    return {"".join(f"{column[0]}_" for column in columns) for columns in shared}


def _is_another_s(name: str, value: str) -> bool:
    return (
        name in FOREIGN
        or name in OF_COMPOSE
        or name in OF_PROXIES
        or is_service_link(name, value)
        or bool(_OF_IMAGES.fullmatch(name))
    )
