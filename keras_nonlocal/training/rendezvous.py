"""How processes find each other: all connect to the first one, which waits for all."""

import contextlib
import json
import socket
import time

from keras_nonlocal.training.lifeline import send, start


def gather(server, count, answer, timeout):
    """Waits in process 0 until all others have come.

    Args:
        server: listening socket.
        count: number of processes.
        answer: dictionary that all of them get once they are complete.
        timeout: seconds.

    Returns:
        Dictionary from process numbers to connected sockets.

    Raises:
        TimeoutError: naming those that are missing.
        ValueError: if two have the same number, or were told another count.
    """
    deadline, peers, told = time.monotonic() + timeout, {}, []
    try:
        while len(peers) < count - 1:
            server.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                peer, _ = server.accept()
            except TimeoutError:
                missing = sorted(set(range(1, count)) - set(peers))
                raise TimeoutError(
                    f"Not all of {count} processes came within {timeout:g} seconds. Missing: "
                    f"{', '.join(map(str, missing))}. Look at what these print, and that "
                    "they reach the coordinator's port."
                ) from None
            peer.settimeout(5)
            hello = _receive(peer)
            if not isinstance(hello, dict) or set(hello) != {"index", "count"}:
                peer.close()  # No process of ours: something that tries ports.
                continue
            told.append(peer)
            index = hello["index"]
            if hello["count"] != count:
                answer = {"error": _disagreement(index, hello["count"], count)}
            elif index in peers and not _is_closed(peers[index]):
                answer = {
                    "error": f"`process_id` must differ between processes. Received: {index} twice."
                }
            peers[index] = peer
            if "error" in answer:
                raise ValueError(answer["error"])
    except (TimeoutError, ValueError) as error:
        kind = "late" if isinstance(error, TimeoutError) else "error"
        for peer in told:
            send(peer, {kind: str(error)})
            peer.close()
        raise
    for peer in peers.values():
        send(peer, answer)
    return peers


def _disagreement(index, other, count):
    return (
        "`num_processes` must be the same in every process. Received: "
        f"{other} in process {index}, {count} in process 0."
    )


def reach(address, index, count, timeout):
    """Connects to process 0 and waits until all others have come.

    Args:
        address: pair of host and port.
        index: number of this process.
        count: number of processes.
        timeout: seconds.

    Returns:
        `(socket, answer)`, the answer of process 0.

    Raises:
        TimeoutError: if it is not there, or others are missing.
        ValueError: if it was told another number of processes.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            peer = socket.create_connection(address, timeout=timeout)
            break
        except OSError as error:  # Refused, unreachable, or a name that is not known yet.
            if time.monotonic() + 0.25 > deadline:
                raise TimeoutError(
                    f"Process 0 was not there within {timeout:g} seconds: "
                    f"`coordinator` {address[0]}:{address[1]} ({error}). Start it "
                    "with the same `coordinator`, and see that no firewall closes the port."
                ) from error
            time.sleep(0.25)
    send(peer, {"index": index, "count": count})
    # Process 0 may have begun to wait later than this one, and says who is missing.
    peer.settimeout(max(deadline - time.monotonic(), 0) + 5)
    answer = _receive(peer) or {
        "late": f"Nothing that takes part answers on {address[0]}:"
        f"{address[1]}. Is it the port of another program?"
    }
    if "late" in answer or "error" in answer:
        peer.close()
        raise TimeoutError(answer["late"]) if "late" in answer else ValueError(answer["error"])
    return peer, answer


def relayed(address):
    """Opens a port of this machine that leads to an address.

    When the other side goes away, what came in here stays open and silent.

    Args:
        address: pair of host and port.

    Returns:
        The number of the port, on the loopback address.
    """
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            start(_relay, server.accept()[0], address)

    start(serve)
    return server.getsockname()[1]


def _relay(near, address):
    while True:
        try:
            far = socket.create_connection(address)
            break
        except OSError:  # Nobody listens there yet.
            time.sleep(0.1)
    start(_pump, far, near)
    _pump(near, far)  # until this side closes, whatever becomes of the other
    near.close()
    far.close()


def _pump(source, target):
    with contextlib.suppress(OSError):  # Either side may end at any time.
        while data := source.recv(65536):
            target.sendall(data)


def _receive(peer):
    """One message, or None if what came is none."""
    data = b""
    try:
        while not data.endswith(b"\n"):
            part = peer.recv(1)
            if not part or len(data) > 4096:
                return None
            data += part
        return json.loads(data)
    except (OSError, ValueError):
        return None


def _is_closed(peer):
    peer.setblocking(False)
    try:
        return peer.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        peer.setblocking(True)
