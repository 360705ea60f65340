"""Shells and commands of a Windows host, as [MS-WSMV] 3.1.4 has them, and a stand-in for its PowerShell.

What a text does is said by the test: `host.programs[text] = function`, called with the running `Command` in a thread.
"""

import base64
import contextlib
import re
import threading
import uuid

VERSION = "5.1.20348.2031"
CMD_MAX_CHARS = 8_191
"""https://learn.microsoft.com/troubleshoot/windows-client/shell-experience/command-line-string-limitation"""
STREAM_MAX_BYTES = 32_768
"""Of one stream in one ReceiveResponse, before base64."""


class GoneError(Exception):
    """The command was ended; raised in its program when that looks."""


class Command:
    """One process. Programs call `out`, `err`, `exit`, `wait`."""

    def __init__(self, host, shell, line, arguments):
        self.host, self.shell, self.line, self.arguments = host, shell, line, arguments
        self.user = shell.owner
        self.id = str(uuid.uuid4()).upper()
        self.changed = threading.Condition()
        self.streams = {"stdout": bytearray(), "stderr": bytearray()}
        self.stdin = bytearray()
        self.stdin_ended = False
        self.exit_code = None
        self.done = False
        self.ended_by = None
        self.text = ""
        threading.Thread(target=self._live, daemon=True).start()

    def out(self, data):
        self._print("stdout", data)

    def err(self, data):
        self._print("stderr", data)

    def _print(self, name, data):
        with self.changed:
            self._look()
            self.streams[name] += data if isinstance(data, bytes) else data.encode()
            self.changed.notify_all()

    def exit(self, code):
        with self.changed:
            self.exit_code, self.done = code, True
            self.changed.notify_all()

    def wait(self, seconds=60.0):
        """Until it is ended."""
        with self.changed:
            self.changed.wait_for(lambda: self.ended_by, seconds)
            self._look()

    def _look(self):
        if self.ended_by:
            raise GoneError

    def end(self, by):
        with self.changed:
            self.ended_by = self.ended_by or by
            if not self.done:
                self.exit_code, self.done = 1, True
            self.changed.notify_all()

    def _live(self):
        """cmd.exe starts powershell.exe, which runs the text of -EncodedCommand or what that reads from stdin."""
        with contextlib.suppress(GoneError):
            if len(" ".join([self.line, *self.arguments])) > CMD_MAX_CHARS:
                self.out("The command line is too long.\r\n")
                return self.exit(1)
            options = [argument.lower() for argument in self.arguments]
            if self.line != "powershell.exe" or "-encodedcommand" not in options:
                self.err(f"'{self.line}' is not recognized as an internal or external command.\r\n")
                return self.exit(1)
            self.text = base64.b64decode(self.arguments[options.index("-encodedcommand") + 1]).decode("utf-16-le")
            if "@($input)" in self.text and "FromBase64String" in self.text:
                with self.changed:
                    self.changed.wait_for(lambda: self.stdin_ended or self.ended_by, 60)
                self.text = base64.b64decode(bytes(self.stdin)).decode()
            self.host.ran.append(self.text)
            self._run()
        return None

    def _run(self):
        program = self.host.programs.get(self.text)
        if program:
            program(self)
        elif self.text == "$PSVersionTable.PSVersion.ToString()":
            self.out(f"{VERSION}\r\n")
        elif code := re.fullmatch(r"exit (-?\d+)", self.text):
            self.exit(int(code[1]))
        elif said := re.fullmatch(r"Write-Output '(.*)'", self.text):
            self.out(f"{said[1]}\r\n")
        if not self.done:
            self.exit(0)

    def receive(self, seconds):
        """Output or the end, within the operation's time; None when there is neither."""
        with self.changed:
            self.changed.wait_for(lambda: any(self.streams.values()) or self.done, seconds)
            if not any(self.streams.values()) and not self.done:
                return None
            pieces = {}
            for name, waiting in self.streams.items():
                pieces[name] = bytes(waiting[:STREAM_MAX_BYTES])
                del waiting[:STREAM_MAX_BYTES]
            return pieces, self.done and not any(self.streams.values())


class Shell:
    """One text-based command shell."""

    def __init__(self, host, owner, options, idle):
        self.id = str(uuid.uuid4()).upper()
        self.host, self.owner, self.options, self.idle = host, owner, options, idle
        self.commands = {}

    def start(self, line, arguments):
        command = Command(self.host, self, line, arguments)
        self.commands[command.id] = command
        self.host.commands.append(command)
        return command

    def end(self):
        for command in self.commands.values():
            command.end("delete")
