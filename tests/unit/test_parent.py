"""The parent of several workers: when it gives up, and what workers are told of each other."""

from __future__ import annotations

import asyncio
import socket

import pytest

from ccproxy_sanic import parent, settings
from ccproxy_sanic.crew import crew
from ccproxy_sanic.crew.siblings import Siblings
from ccproxy_sanic.frames import Ask, Done, Place, Ready, Told, Unpacker, alone, packed
from ccproxy_sanic.listening import bind
from ccproxy_sanic.parent import MOST_SHORT, Parent


@pytest.fixture
def address() -> socket.socket:
    return bind("127.0.0.1", 0)


async def ended(address: socket.socket, monkeypatch: pytest.MonkeyPatch, brief: str) -> int:
    monkeypatch.setattr(parent, "MODULE", "tests.support.brief_worker")
    monkeypatch.setattr(parent, "FIRST_PAUSE", 0.01)
    monkeypatch.setenv("BRIEF", brief)
    return await Parent(address, 2, grace=1.0, reloads=False).run()


async def test_a_worker_that_never_served_ends_all_at_once(
    address: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert await ended(address, monkeypatch, "does not serve") == 1
    assert "ended with exit code 3 before it served" in caplog.text
    assert "started again" not in caplog.text


async def test_a_worker_that_ends_soon_again_and_again_ends_all(
    address: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert await ended(address, monkeypatch, "serves") == 1
    assert f"the {MOST_SHORT}. time soon after its start: giving up" in caplog.text
    pauses = [float(record.args[2]) for record in caplog.records if "started again" in record.msg]  # type: ignore[index,arg-type]
    assert max(pauses) == 0.01 * 2 ** (MOST_SHORT - 2)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("limit", [1, 2, 3, 10, 61])
def test_shares_add_up_and_nobody_has_none(count: int, limit: int) -> None:
    shares = [Place(number, count, b"").share(limit) for number in range(1, count + 1)]
    assert min(shares) >= 1
    assert sum(shares) == max(limit, count)
    assert max(shares) - min(shares) <= 1


def test_workers_have_the_same_keys_also_one_that_was_started_again() -> None:
    conf = settings.load({})
    one, two, another = Place(1, 2, b"s"), Place(2, 2, b"s", b"inherited"), alone()
    assert crew.carrier_key(conf, one) == crew.carrier_key(conf, two) != crew.carrier_key(conf, another)
    assert one.derived(b"hop") == two.derived(b"hop") != one.derived(b"carrier")


def test_frames_are_found_however_they_are_cut() -> None:
    frames = [Ready(), Ask(7, "dump", b"x" * 70_000), Done(7, "dump", None), Told(7, (b"a",), (), 2, 3)]
    wire = b"".join(map(packed, frames))
    for size in (1, 3, 4, 65_536, len(wire)):
        unpacker = Unpacker()
        pieces = (wire[at : at + size] for at in range(0, len(wire), size))
        assert [frame for piece in pieces for frame in unpacker.feed(piece)] == frames


@pytest.mark.parametrize("wire", [b"\xff\xff\xff\xff", b"\0\0\0\1\xc1", packed(Ready())[:-1] + b"?"])
def test_what_is_no_frame_is_refused(wire: bytes) -> None:
    with pytest.raises(ValueError):
        list(Unpacker().feed(wire))


class Line:
    """A worker's line to a parent that a test plays."""

    def __init__(self, errands: dict[str, bytes]) -> None:
        ours, self._theirs = socket.socketpair()
        self._ours, self._frames = ours, Unpacker()
        ours.setblocking(False)
        self.siblings = Siblings(Place(1, 2, b""), lambda work, name: asyncio.ensure_future(work))
        for verb, said in errands.items():
            self.siblings.errands[verb] = self._errand(said)
        self.left = asyncio.Event()
        self.siblings.orphaned = self.left.set

    @staticmethod
    def _errand(said: bytes):  # type: ignore[no-untyped-def]
        async def errand() -> bytes:
            return said

        return errand

    async def __aenter__(self) -> Line:
        await self.siblings.join(self._theirs)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.siblings.leave()
        self._ours.close()

    async def heard(self) -> object:
        loop = asyncio.get_running_loop()
        while not (frames := list(self._frames.feed(await loop.sock_recv(self._ours, 65_536)))):
            pass
        return frames[0]

    async def say(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._ours, data)

    def hang_up(self) -> None:
        self._ours.close()


async def test_a_worker_answers_what_another_one_asks() -> None:
    from ccproxy_sanic.frames import Do

    async with Line({"dump": b"numbers"}) as line:
        await line.say(packed(Do(3, "dump")))
        assert await line.heard() == Done(3, "dump", b"numbers")
        await line.say(packed(Do(4, "what is that")))
        assert await line.heard() == Done(4, "what is that", None)


async def test_who_asks_the_others_gets_what_the_parent_tells() -> None:
    async with Line({}) as line:
        asking = asyncio.ensure_future(line.siblings.ask("dump", b"own"))
        asked = await line.heard()
        assert asked == Ask(1, "dump", b"own")
        await line.say(packed(Told(1, (b"theirs",), (), 2, 2)))
        assert (await asking).answers == (b"theirs",)


async def test_a_parent_that_says_nothing_costs_the_others_numbers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccproxy_sanic.crew.siblings.PATIENCE", 0.05)
    async with Line({}) as line:
        told = await line.siblings.ask("dump", b"own")
        assert (told.answers, told.up, told.expected) == ((), 1, 2)


@pytest.mark.parametrize("said", [b"", b"\xff\xff\xff\xff", packed(Ready())])
async def test_a_parent_that_has_gone_or_lost_its_mind_ends_the_worker(said: bytes) -> None:
    async with Line({}) as line:
        if said:
            await line.say(said)
        else:
            line.hang_up()
        await asyncio.wait_for(line.left.wait(), 5)
        assert (await line.siblings.ask("dump")).answers == ()
