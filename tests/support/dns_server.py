"""A DNS server of a test's own (RFC 1035), over UDP and TCP, whose answers change from one look-up to the next.

A zone is `{name: {"A": [answer, answer, …], "AAAA": […], "CNAME": name, "tcp": true}}`: each answer a list of literals,
the next one at each question of that type, the last one for ever. `tcp`: over UDP only "ask by TCP". Other names do not
exist.
"""

import ipaddress
import socket
import struct
import threading

_TYPES = {1: "A", 28: "AAAA"}
_CNAME = 5
_RESPONSE, _TRUNCATED, _NO_SUCH_NAME = 0x8580, 0x0200, 3


class DnsServer:
    """Serves on construction, in threads that end with the process. `asked` holds `(name, type, transport)`."""

    def __init__(self, address, zone, port=53):
        self.zone = zone
        self.asked = []
        self._turns = {}
        self._lock = threading.Lock()
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((address, port))
        self.port = self._udp.getsockname()[1]
        self._tcp = socket.create_server((address, self.port))
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def _serve_udp(self):
        while True:
            question, sender = self._udp.recvfrom(4096)
            self._udp.sendto(self.answer(question, "udp"), sender)

    def _serve_tcp(self):
        while True:
            connection, _ = self._tcp.accept()
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        with connection, connection.makefile("rwb") as stream:
            while len(length := stream.read(2)) == 2:
                reply = self.answer(stream.read(struct.unpack("!H", length)[0]), "tcp")
                stream.write(struct.pack("!H", len(reply)) + reply)
                stream.flush()

    def answer(self, question, transport):
        """The reply to one question, as bytes."""
        name, end = _read_name(question, 12)
        kind = _TYPES.get(struct.unpack_from("!H", question, end)[0], "?")
        with self._lock:
            self.asked.append((name, kind, transport))
            flags, records = self._look_up(name, kind, transport)
        head = struct.pack("!HHHHHH", struct.unpack_from("!H", question)[0], flags, 1, len(records), 0, 0)
        return head + question[12 : end + 4] + b"".join(records)

    def _look_up(self, name, kind, transport):
        records = []
        while name in self.zone:
            entry = self.zone[name]
            if entry.get("tcp") and transport == "udp":
                return _RESPONSE | _TRUNCATED, []
            if "CNAME" not in entry:
                return _RESPONSE, [*records, *(_address(name, literal) for literal in self._turn(name, kind, entry))]
            records.append(_record(name, _CNAME, _written(entry["CNAME"])))
            name = entry["CNAME"]
        return _RESPONSE | _NO_SUCH_NAME, records

    def _turn(self, name, kind, entry):
        answers = entry.get(kind) or [[]]
        turn = self._turns.get((name, kind), 0)
        self._turns[name, kind] = turn + 1
        return answers[min(turn, len(answers) - 1)]


def _read_name(data, at):
    labels = []
    while size := data[at]:
        labels.append(data[at + 1 : at + 1 + size].decode("ascii").lower())
        at += 1 + size
    return ".".join(labels), at + 1


def _written(name):
    return b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split(".")) + b"\0"


def _record(name, kind, data):
    return _written(name) + struct.pack("!HHIH", kind, 1, 0, len(data)) + data  # class IN, to be kept for 0 s


def _address(name, literal):
    address = ipaddress.ip_address(literal)
    return _record(name, 1 if address.version == 4 else 28, address.packed)
