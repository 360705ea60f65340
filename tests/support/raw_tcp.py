"""A TCP server that answers as a test says, on a port of its own: for servers that do not keep to their protocol."""

import contextlib
import socket
import threading


@contextlib.contextmanager
def served(answer):
    """A server on a port of its own, one connection at a time; what `answer` gave for each is in the list."""
    listening = socket.create_server(("127.0.0.1", 0))
    seen = []

    def serve():
        while True:
            try:
                made, _ = listening.accept()
            except OSError:  # shut down
                return
            with made, contextlib.suppress(ConnectionError):
                made.settimeout(10)
                seen.append(answer(made))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1], seen
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(20)
        listening.close()


def rest(made):
    """All the client sends until it hangs up."""
    sent = b""
    with contextlib.suppress(ConnectionError):
        while chunk := made.recv(1000):
            sent += chunk
    return sent
