"""A connection between every process and the first one: who is lost is known at once, by number.

JAX notices a lost process by missing heartbeats and then ends the others from C++, with a stack
trace in place of an error; where the first process is lost, at once. A closed socket
says the same earlier and in a place where Python can answer. JAX's own traffic to the first process
goes through `rendezvous.relayed`, which stays open when the other side goes away.
"""

import contextlib
import json
import os
import selectors
import socket
import sys
import threading

# The exit status that says "try again" (EX_TEMPFAIL of sysexits.h).
TRY_AGAIN = 75
# Seconds that training has to end by itself where a process is lost; a collective on a GPU waits
# for ever.
PATIENCE = 10.0
# Seconds after an error in which a loss, its likely cause, becomes known.
SETTLING = 2.0
# A machine that vanishes closes nothing; its silence counts as lost after 10 + 4 x 5 seconds.
KEEP_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}


class Lifeline:
    """What one process knows of the others.

    Args:
        index: number of this process.
        count: number of processes.
        peers: dictionary from numbers to sockets: all others in process 0, and in the others 0.
    """

    def __init__(self, index, count, peers):
        self.index, self.count, self.peers = index, count, dict(peers)
        self.lost = threading.Event()
        self.reason = None
        self.status = 0  # of the process, where it must end without waiting for others
        self._advice = None
        self._left = threading.Event()
        self._complete = False
        for peer in self.peers.values():
            peer.settimeout(None)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEP_ALIVE.items():
                if hasattr(socket, name):
                    peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        start(self._watch)

    def _watch(self):
        received = dict.fromkeys(self.peers, b"")
        with selectors.DefaultSelector() as selector:
            for number, peer in self.peers.items():
                selector.register(peer, selectors.EVENT_READ, number)
            while selector.get_map():
                for key, _ in selector.select():
                    number = key.data
                    try:
                        data = key.fileobj.recv(4096)
                    except OSError:
                        data = b""
                    received[number] += data
                    *lines, received[number] = received[number].split(b"\n")
                    messages = [json.loads(line) for line in lines]
                    if {"done": True} in messages:
                        selector.unregister(key.fileobj)
                    elif messages:
                        self._lose(**messages[0])
                        return
                    elif not data:
                        self._lose(number, "its connection closed")
                        return

    def _lose(self, number, reason):
        self.reason = f"Process {number} of {self.count} is lost ({reason})."
        if self.index == 0:
            self.tell(number=number, reason=reason)
        self.lost.set()
        if self._advice is not None and not self._left.wait(PATIENCE):
            # The main thread waits inside a collective for someone who will not come.
            print(self.describe(), file=sys.stderr, flush=True)
            os._exit(TRY_AGAIN)

    def tell(self, **message):
        """Sends the others a message, those that are still there."""
        for peer in self.peers.values():
            send(peer, message)

    def describe(self):
        """The loss in one line, and what to do."""
        advice = self._advice() if callable(self._advice) else self._advice
        return f"{self.reason} This one, number {self.index}, stops. {advice or ''}".strip()

    @contextlib.contextmanager
    def guard(self, advice):
        """See `distribution.guarded`."""
        self._advice = advice
        self._left.clear()
        try:
            if self.lost.is_set():
                self.status = TRY_AGAIN
                raise ConnectionError(self.describe())
            try:
                yield
            except Exception as error:
                # What a collective says when a process goes away is an error of its own.
                if self.lost.wait(SETTLING):
                    self.status = TRY_AGAIN
                    raise ConnectionError(self.describe()) from error
                raise
            self._complete = True
        except BaseException as error:
            if self.status:
                raise
            # Of an end by a signal, what a shell says of it.
            number = getattr(error, "signal", None)
            self.status = 128 + number if number else 1
            reason = f"it stopped with {type(error).__name__}: {str(error)[:500]}"
            self.tell(number=self.index, reason=reason)
            raise
        finally:
            self._left.set()
            self._advice = None

    def end(self):
        """Takes leave when the process ends; JAX would wait minutes for those that are lost."""
        if self.status:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self.status)
        if self._complete:
            self.tell(done=True)
        # Closed without a word, where this process never came to the end of its training.
        for peer in self.peers.values():
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_WR)


def start(function, *arguments):
    threading.Thread(target=function, args=arguments, daemon=True).start()


def send(peer, message):
    with contextlib.suppress(OSError):  # Whoever is gone is noticed where it is read from.
        peer.sendall(json.dumps(message).encode() + b"\n")
