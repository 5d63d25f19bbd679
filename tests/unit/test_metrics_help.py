"""The help of each metric says what is counted, in which unit, and by which labels."""

from __future__ import annotations

import pytest
from prometheus_client.metrics import MetricWrapperBase

from app.runtime import metrics

ALL = [each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)]


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric._name)
def test_the_help_names_the_unit_and_the_labels(metric: MetricWrapperBase) -> None:
    text = metric._documentation
    assert text.startswith("Seconds") == metric._name.endswith("_seconds")
    assert [label for label in metric._labelnames if label.replace("_", " ") not in text] == []
    assert not text.endswith("."), "the reference adds it"
