import selectors
import socket
import threading

import pytest

from edge_agent.uplink.polling import Wakeup, set_interest


def test_a_sleeper_is_woken_from_another_thread() -> None:
    wakeup = Wakeup()
    wakeup.open()
    with selectors.DefaultSelector() as selector:
        selector.register(wakeup, selectors.EVENT_READ)
        assert selector.select(0) == []
        waker = threading.Thread(target=wakeup.wake)
        waker.start()
        assert len(selector.select(15)) == 1
        waker.join()
        wakeup.clear()
        assert selector.select(0) == []
    wakeup.close()


def test_a_thousand_wake_ups_are_one() -> None:
    wakeup = Wakeup()
    wakeup.open()
    for _ in range(100_000):
        wakeup.wake()
    wakeup.clear()
    wakeup.clear()
    with selectors.DefaultSelector() as selector:
        selector.register(wakeup, selectors.EVENT_READ)
        assert selector.select(0) == []
        wakeup.wake()
        assert len(selector.select(0)) == 1
    wakeup.close()


def test_closed_is_quiet() -> None:
    wakeup = Wakeup()
    wakeup.wake()
    wakeup.open()
    wakeup.close()
    wakeup.close()
    wakeup.wake()
    wakeup.clear()
    with pytest.raises(ValueError, match="closed"):
        wakeup.fileno()


def test_interest_comes_and_goes() -> None:
    near, far = socket.socketpair()
    with near, far, selectors.DefaultSelector() as selector:
        set_interest(selector, near, 0)
        set_interest(selector, near, selectors.EVENT_WRITE)
        assert [mask for _, mask in selector.select(0)] == [selectors.EVENT_WRITE]
        set_interest(selector, near, selectors.EVENT_READ)
        assert selector.select(0) == []
        far.send(b"x")
        assert [mask for _, mask in selector.select(0)] == [selectors.EVENT_READ]
        set_interest(selector, near, 0)
        assert selector.select(0) == []
