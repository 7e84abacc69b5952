"""A network between the services and their database that can be told to fail."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

_CHUNK: Final = 65536
# PostgreSQL's name for its socket.
_SOCKET: Final = ".s.PGSQL.5432"


class Proxy:
    """Takes TCP on loopback and leads to the UNIX socket of a server, until told otherwise.

    What it holds back it neither delivers nor refuses: no byte and no end of a connection gets
    through, either way, as when packets vanish on a network.
    """

    def __init__(self, sockets: Path) -> None:
        """`sockets` is the directory in which the server listens."""
        self._target = sockets
        self._holding = False
        self._lock = threading.Lock()
        self._connections: list[_Connection] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def hold(self) -> None:
        """From now on nothing gets through, on connections old or new."""
        with self._lock:
            self._holding = True
            for each in self._connections:
                each.flowing.clear()

    def release(self) -> None:
        """Deliver what was held back, and let everything through."""
        with self._lock:
            self._holding = False
            for each in self._connections:
                each.flowing.set()

    def lead_to(self, sockets: Path) -> None:
        """New connections go to another server. Those that are held stay so for ever, as with a
        machine that is gone; the others end.
        """
        with self._lock:
            self._target = sockets
            self._holding = False
            staying = [each for each in self._connections if not each.flowing.is_set()]
            for each in self._connections:
                if each not in staying:
                    each.end()
            self._connections = staying

    def close(self) -> None:
        # Closing alone does not wake who waits in accept.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for each in self._connections:
                each.end()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                connection = _Connection(client, self._target / _SOCKET, held=self._holding)
                self._connections.append(connection)


class _Connection:
    """One client and its server, with a thread for each direction."""

    def __init__(self, client: socket.socket, target: Path, *, held: bool) -> None:
        self.flowing = threading.Event()
        if not held:
            self.flowing.set()
        self._client = client
        self._server = socket.socket(socket.AF_UNIX)
        self._target = target
        threading.Thread(target=self._run, daemon=True).start()

    def end(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.flowing.set()

    def _run(self) -> None:
        self.flowing.wait()
        try:
            self._server.connect(str(self._target))
        except OSError:
            self._client.close()
            return
        back = threading.Thread(target=self._pump, args=(self._server, self._client), daemon=True)
        back.start()
        self._pump(self._client, self._server)
        back.join()
        self._client.close()
        self._server.close()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                self.flowing.wait()
                sink.sendall(data)
        self.flowing.wait()
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
