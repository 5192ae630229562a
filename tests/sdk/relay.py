"""A way to the proxy that can break off."""

import contextlib
import socket
import threading
import urllib.parse


class Relay:
    """Hands on what comes, both ways, until it is told to cut what there is; later connections are handed on again."""

    def __init__(self, origin):
        to = urllib.parse.urlsplit(origin)
        self._to = (to.hostname, to.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        # Whether any byte of an answer came back.
        self.has_answered = False

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self):
        # Ends when the listener is closed.
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                proxy = socket.create_connection(self._to)
                self._sockets += [caller, proxy]
                for source, target in [(caller, proxy), (proxy, caller)]:
                    threading.Thread(target=self._hand_on, args=(source, target, source is proxy), daemon=True).start()

    def _hand_on(self, source, target, is_answer):
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                self.has_answered |= is_answer
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)

    def cut(self):
        """Ends the connections that there are, towards both sides."""
        for one in self._sockets:
            # It may have ended already.
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._sockets = []
