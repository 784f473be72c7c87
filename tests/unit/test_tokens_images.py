"""Sizes of images, pages of documents, and what both cost (protocol.md 6.3)."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.tokens.media import image_size, pdf_pages
from ccproxy_sanic.tokens.vision import image_tokens

SIDES = st.integers(1, 16_000)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0" + b"\0" * 9


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0"


def jpeg(width: int, height: int, frame: int = 0xC0) -> bytes:
    start = b"\xff\xd8\xff\xe0\0\x10JFIF\0" + b"\0" * 9
    tables = b"\xff\xdb\0\x05\0\1\2" + b"\xff\xc4\0\x04\0\0" + b"\xff\xff"  # the last one is a filler
    return start + tables + bytes([0xFF, frame]) + b"\0\x11\x08" + struct.pack(">HH", height, width) + b"\3" + b"\0" * 9


def webp(kind: bytes, payload: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(payload) + 12) + b"WEBP" + kind + struct.pack("<I", len(payload)) + payload


def vp8(width: int, height: int) -> bytes:
    return webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height) + b"\0\0")


def vp8l(width: int, height: int) -> bytes:
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", (height - 1) << 14 | (width - 1)) + b"\0\0")


def vp8x(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp(b"VP8X", b"\0\0\0\0" + sides + b"\0\0")


@pytest.mark.parametrize("make", [png, gif, jpeg, vp8, vp8l, vp8x])
@given(width=SIDES, height=SIDES)
def test_an_image_says_its_size_in_its_head(make: object, width: int, height: int) -> None:
    assert callable(make)
    assert image_size(b64(make(width, height))) == (width, height)


def test_a_progressive_jpeg_does_too() -> None:
    assert image_size(b64(jpeg(640, 480, frame=0xC2))) == (640, 480)


def test_a_line_break_in_the_base64_is_no_matter() -> None:
    assert image_size(base64.encodebytes(png(7, 9)).decode()) == (7, 9)


@given(st.sampled_from([png, gif, jpeg, vp8, vp8l, vp8x]), st.integers(0, 60), st.binary(max_size=8))
def test_what_is_cut_or_strange_has_no_size_and_no_error(make: object, cut: int, more: bytes) -> None:
    assert callable(make)
    size = image_size(b64(make(33, 44)[:cut] + more))
    assert size is None or min(size) > 0


@given(st.text(max_size=100))
def test_any_text_instead_of_base64_is_no_error(text: str) -> None:
    image_size(text)
    assert pdf_pages(text) >= 1


@pytest.mark.parametrize("data", [png(0, 5), gif(5, 0), b"BM" + b"\0" * 60, b"\xff\xd8\0\0", b""])
def test_a_size_that_is_none_is_not_known(data: bytes) -> None:
    assert image_size(b64(data)) is None


@pytest.mark.parametrize(
    ("data", "pages"),
    [
        (b"%PDF-1.4 /Type /Pages /Count 2 /Type /Page /Type/Page ", 2),
        (b"%PDF-1.7 /Type /Pages /Count 31 compressed", 31),
        (b"%PDF-1.7 nothing to be seen", 1),
        (b"%PDF-1.7" + b"\0" * 200_000, 4),
    ],
)
def test_a_document_has_the_pages_it_shows(data: bytes, pages: int) -> None:
    assert pdf_pages(b64(data)) == pages


@pytest.mark.parametrize(
    ("model", "size", "tokens"),
    [
        ("gpt-4o", (1024, 1024), 85 + 4 * 170),  # OpenAI's own examples
        ("gpt-4o", (2048, 4096), 85 + 6 * 170),
        ("gpt-4o", (512, 512), 85 + 170),
        ("openai/gpt-4o-2024-08-06", (513, 10), 85 + 2 * 170),
        ("gpt-4o-mini", (512, 512), 2833 + 5667),
        ("gpt-5-2025-08-07", (1024, 1024), 70 + 4 * 140),
        ("o3", (1024, 1024), 75 + 4 * 150),
        ("gpt-4.1-mini", (1024, 1024), 1659),  # 1024 patches
        ("gpt-4.1-mini", (1800, 2400), 2353),  # OpenAI's example: 1452 patches after shrinking
        ("gpt-5-mini", (32, 32), 2),
        ("gpt-5-mini", (1, 1_000_000), 2489),  # all patches there may be
        ("gpt-5.4", (1600, 1600), 3000),  # 2500 patches fit
        ("claude-opus-4-8", (750, 100), 100),
        ("claude-opus-4-8", (8000, 8000), 1600),
        ("some-model", (1, 1), 1),
        ("some-model", None, 1590),
        ("gpt-4o", None, 85 + 4 * 170),
    ],
)
def test_an_image_costs_what_the_family_takes(model: str, size: tuple[int, int] | None, tokens: int) -> None:
    assert image_tokens(model, size) == tokens


@given(st.sampled_from(["gpt-4o", "gpt-4.1-mini", "gpt-5.4", "gpt-5", "other"]), SIDES, SIDES)
def test_every_image_costs_something_and_none_without_bound(model: str, width: int, height: int) -> None:
    assert 1 <= image_tokens(model, (width, height)) <= 8 * 170 + 85 + 3000
