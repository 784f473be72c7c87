"""A fault that is over holds no frames, and so no request."""

from __future__ import annotations

from ccproxy_sanic import errors


def raised_again() -> errors.ProxyError:
    """A fault that was raised once more while one that it had caused was handled: its chain leads back to it."""
    fault = errors.Broken("first")
    try:
        raise fault
    except errors.Broken:
        try:
            raise errors.Garbled("second") from fault
        except errors.Garbled:
            try:
                raise fault
            except errors.Broken:
                return fault


def test_a_chain_that_leads_back_to_its_fault_is_let_go_and_left() -> None:
    fault = raised_again()
    second = fault.__context__
    assert second is not None
    assert second.__cause__ is fault
    errors.let_go(fault)
    assert fault.__traceback__ is None
    assert second.__traceback__ is None


def test_a_bug_keeps_its_frames_for_its_record() -> None:
    fault = errors.Bug("internal error")
    try:
        raise fault
    except errors.Bug:
        errors.let_go(fault)
    assert fault.__traceback__ is not None
