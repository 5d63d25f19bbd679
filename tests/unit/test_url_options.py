"""TLS options in URLs of RabbitMQ and Redis: a mistake refuses the start, and shows no password."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings.url_options import AMQP_OPTIONS, REDIS_OPTIONS, UrlOptions, check_url_options

AMQP, REDIS = "amqps://hub:hunter2@rabbitmq/", "rediss://hub:hunter2@redis:6379/0"


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        (f"{AMQP}?cafile=/no/such/ca.pem", AMQP_OPTIONS, "?cafile= names a file that doesn't exist"),
        (f"{AMQP}?certfile=/no/such.pem", AMQP_OPTIONS, "?certfile= names a file that doesn't exist"),
        (f"{AMQP}?keyfile={__file__}", AMQP_OPTIONS, "?keyfile= needs ?certfile="),
        (
            f"{AMQP}?cacertfile={__file__}",
            AMQP_OPTIONS,
            "?cacertfile= is no option of this URL; the nearest one is ",
        ),
        (f"{AMQP}?ca_file={__file__}", AMQP_OPTIONS, "the nearest one is cafile"),
        (f"{AMQP}?CertFile={__file__}", AMQP_OPTIONS, "the nearest one is certfile"),
        (f"{AMQP}?ssl_options.verify=verify_none", AMQP_OPTIONS, "is no option"),
        (
            f"amqp://hub:hunter2@rabbitmq/?cafile={__file__}",
            AMQP_OPTIONS,
            "without effect with amqp://; use amqps://",
        ),
        (f"{REDIS}?ssl_ca_certs=/no/such/ca.pem", REDIS_OPTIONS, "?ssl_ca_certs= names a file"),
        (f"{REDIS}?ssl_ca_cert={__file__}", REDIS_OPTIONS, "the nearest one is ssl_ca_certs"),
        (f"{REDIS}?cafile={__file__}", REDIS_OPTIONS, "is no option"),
        (f"{REDIS}?ssl_keyfile={__file__}", REDIS_OPTIONS, "?ssl_keyfile= needs ?ssl_certfile="),
        (
            f"redis://redis/0?ssl_ca_certs={__file__}",
            REDIS_OPTIONS,
            "without effect with redis://; use rediss://",
        ),
        (f"unix:///run/redis.sock?ssl_certfile={__file__}", REDIS_OPTIONS, "without effect with unix://"),
        (f"{REDIS}?foo=1", REDIS_OPTIONS, "?foo= is no option of this URL"),
        (f"{REDIS}?decode_responses=true", REDIS_OPTIONS, "?decode_responses= is no option of this URL"),
        (f"{REDIS}?socket_timeout=soon", REDIS_OPTIONS, "?socket_timeout= must be a number of seconds"),
        (f"{REDIS}?protocol=4", REDIS_OPTIONS, "?protocol= must be 2 or 3"),
        ("redis://redis?db=one", REDIS_OPTIONS, "?db= must be a whole number"),
        ("redis://app:123?hunter2=@redis:6379/0", REDIS_OPTIONS, "its query holds an @"),
        (f"{AMQP}?heartbeat=often", AMQP_OPTIONS, "?heartbeat= must be a whole number"),
        (f"{AMQP}?auth=kerberos", AMQP_OPTIONS, "?auth= must be plain, amqplain or external"),
        (f"{AMQP}?hartbeat=30", AMQP_OPTIONS, "the nearest one is heartbeat"),
    ],
    ids=lambda value: value.rpartition("?")[2].partition("=")[0] if isinstance(value, str) else "",
)
def test_what_would_be_without_effect_or_fail_is_refused(url: str, options: UrlOptions, said: str) -> None:
    with pytest.raises(ValueError, match=r"^(\?|its query)") as refused:
        check_url_options(url, options)
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("amqp://guest:guest@rabbitmq:5672/", AMQP_OPTIONS),
        (f"{AMQP}?heartbeat=30&name=hub&timeout=5", AMQP_OPTIONS),
        (f"{AMQP}?cafile={__file__}&certfile={__file__}&keyfile={__file__}", AMQP_OPTIONS),
        (f"{AMQP}?capath={Path(__file__).parent}&no_verify_ssl=1", AMQP_OPTIONS),
        ("redis://:hunter2@redis:6379/0?health_check_interval=10&protocol=3", REDIS_OPTIONS),
        (f"{REDIS}?ssl_ca_certs={__file__}&ssl_certfile={__file__}&ssl_keyfile={__file__}", REDIS_OPTIONS),
        (f"{REDIS}?ssl_cert_reqs=required&ssl_check_hostname=true", REDIS_OPTIONS),
    ],
    ids=["amqp", "amqps", "client certificate", "folder", "redis", "rediss", "checks"],
)
def test_what_the_libraries_read_is_taken(url: str, options: UrlOptions) -> None:
    check_url_options(url, options)
