"""What aiokafka may log about a cluster at a first start."""

from __future__ import annotations

import logging

import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.protocol.metadata import MetadataResponse_v1

from app.sources.kafka import library_log


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("aiokafka", "aiokafka.cluster"):  # whatever a command did that ran in this process before
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "disabled", False)
        monkeypatch.setattr(logger, "propagate", True)
        monkeypatch.setattr(logger, "level", logging.NOTSET)
        monkeypatch.setattr(logger, "_cache", {})
    library_log.quieten()
    library_log.quieten()


@pytest.mark.parametrize("error_code", [3, 5, 6], ids=["unknown", "being made", "without a leader"])
def test_a_topic_that_is_not_there_is_no_error_of_the_library(
    error_code: int, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = ClusterMetadata()
    answer = MetadataResponse_v1([(0, "127.0.0.1", 9092, None)], 0, [(error_code, "events", False, [])])
    cluster.update_metadata(answer)
    assert caplog.records == []


def test_a_topic_that_the_hub_may_not_read_is_one(caplog: pytest.LogCaptureFixture) -> None:
    answer = MetadataResponse_v1([(0, "127.0.0.1", 9092, None)], 0, [(29, "events", False, [])])
    ClusterMetadata().update_metadata(answer)
    assert [record.getMessage() for record in caplog.records] == [
        "Topic events is not authorized for this client"
    ]


def test_a_coordinator_that_stays_away_is_logged() -> None:
    only = library_log._AboutTheCluster()

    def logged(created: float) -> bool:
        record = logging.makeLogRecord({"msg": "Group Coordinator Request failed: %s", "created": created})
        return only.filter(record)

    assert [logged(second) for second in (0.0, 0.1, 5.0, 9.9, 10.0, 11.0)] == [False] * 4 + [True] * 2
    assert not logged(100.0)  # another outage
