"""The fault harness at its smallest: a few experiments pass, and one that breaks its hub is reported.

All of them, at full size: `make faults` (docs/reliability.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from faults import runner
from faults.experiment import EXPERIMENTS, Experiment, Run
from faults.results import Result
from faults.services import Site, open_site
from tests.support.services import BROKER, own_home

SMALL = 0.01

# What each experiment proves is proved at full size by `make faults`; here it is the harness. Much of it is
# starting nodes, which a busy machine takes its time for.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest_asyncio.fixture(scope="module")
async def site(pytestconfig: pytest.Config) -> AsyncIterator[Site]:
    if "jars by Maven" not in pytestconfig.stash[BROKER].description:
        pytest.skip("needs Apache Kafka by Java, to stop and start it")
    with own_home() as home:
        async with open_site(home) as running:
            yield running


def shown(result: Result) -> str:
    return "\n".join([*result.problems, str(result.ledger)])


@pytest.mark.parametrize("name", ["kill-9", "clock"])
async def test_an_experiment_passes(site: Site, tmp_path: Path, name: str) -> None:
    result = await runner.run(EXPERIMENTS[name], site, tmp_path, 1, SMALL)
    assert not result.problems, shown(result)
    assert result.ledger is not None
    assert result.ledger.rows.found >= result.ledger.produced > 0


@pytest.mark.parametrize(
    ("name", "column"), [("digests", "digest_items"), ("escalations", "steps"), ("snoozes", "snoozes")]
)
async def test_an_experiment_with_what_waits_passes(
    site: Site, tmp_path: Path, name: str, column: str
) -> None:
    result = await runner.run(EXPERIMENTS[name], site, tmp_path, 1, SMALL)
    assert not result.problems, shown(result)
    count = getattr(result.ledger, column)
    assert count.found >= count.due > 0


async def test_what_is_lost_in_the_middle_is_reported(site: Site, tmp_path: Path) -> None:
    """Here a hand takes a row away: nobody can tell the ledger a tale."""

    async def steal(run: Run) -> None:
        async with run.world(nodes=1, users=5) as world:
            async with world.load.publishing(500, 200):
                pass
            await world.settle()
            connection = await site.postgres.connect(world.database)
            await connection.execute(
                "delete from notifications where id = (select id from notifications where seq = 3 limit 1)"
            )
            await connection.close()

    result = await runner.run(Experiment("theft", "", "", (), steal), site, tmp_path, 1, SMALL)
    assert result.problems == ["1 inboxes with gaps in seq", "1 rows lost"]
