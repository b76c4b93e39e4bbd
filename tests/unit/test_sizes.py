"""Sizes and rates, as they are written and read."""

from __future__ import annotations

import pytest

from agentclient.model.errors import BadInput
from agentclient.model.sizes import parse_rate, rate_text, size_text


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("0", 0),
        ("4096", 4096),
        ("64K", 65536),
        ("10m", 10 << 20),
        ("1.5G", 3 << 29),
        ("2T", 2 << 40),
        ("10MiB/s", 10 << 20),
        (" 10MB ", 10 << 20),
        ("5b", 5),
    ],
)
def test_a_rate_is_bytes_a_second_with_a_suffix(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fast",
        "-1",
        "1e9",
        "10X",
        "10 M",
        "M",
        "nan",
        "0.1",
        "9999999999T",
        "١٠",
        "5IB",
        "9" * 500,
    ],
)
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadInput, match="500K, 10M or 1G"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (9961472, "9.5 MiB"),
        (118 << 30, "118 GiB"),
        ((1 << 30) - 1, "1.0 GiB"),
        (5000 << 50, "5000 PiB"),
    ],
)
def test_sizes_are_short(count: int, text: str) -> None:
    assert size_text(count) == text


def test_a_rate_is_told_a_second() -> None:
    assert rate_text(12.4 * (1 << 20)) == "12 MiB/s"
