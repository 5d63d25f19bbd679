"""A batch that decompresses to far too much, on a real broker: it is passed, and what is behind it comes."""

from __future__ import annotations

import time

from aiokafka import AIOKafkaProducer

from tests.support.kafka_source import running

UNPACKED = 64 * 1024 * 1024


async def test_events_behind_a_batch_that_is_not_unpacked_come_at_once(kafka: str) -> None:
    async with running(kafka) as scene:
        written = scene.pipeline.written
        del written[:]
        producer = AIOKafkaProducer(
            bootstrap_servers=kafka, compression_type="zstd", max_request_size=2 * UNPACKED
        )
        await producer.start()
        try:
            await producer.send_and_wait(scene.topic, b"\0" * UNPACKED, partition=0)
            sent_at = time.monotonic()
            await producer.send_and_wait(scene.topic, b"behind it", partition=0)
        finally:
            await producer.stop()
        await scene.until(lambda: b"behind it" in written, "the event behind it is handled")
        assert time.monotonic() - sent_at < 5
        assert written == [b"", b"behind it"]
