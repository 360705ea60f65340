"""What is sent to the other side's shell: a command as it is, or one of ours around it. Needs a POSIX `sh` there.

Ours say on stderr, in words with a random part, that they are ready for input or want the password for sudo; those
words are taken out again (`Prologue`). A password goes to sudo's standard input and only when sudo asks for it: where
sudo wants none, it is never sent, and no process list has it.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_PROLOGUE_MAX: Final = 4_000

_SUDO_COMMAND: Final = """\
exec </dev/null
printf '%s\\n' "$2" >&2
case ${SHELL##*/} in bash|zsh|ksh|dash|ash|sh) exec "$SHELL" -c "$1";; esac
exec /bin/sh -c "$1"
"""
"""Arguments: the command, the word for ready. Accounts without a shell of that family get /bin/sh."""

_SCRIPT: Final = """\
mask=$(umask)
umask 077
mkdir -m 700 "$2" || exit 1
trap 'rm -rf "$2"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
printf '%s\\n' "$4" >&2
cat > "$2/script.sh" || exit 1
[ "$(wc -c < "$2/script.sh")" -eq "$3" ] || exit 1
chmod 700 "$2/script.sh"
umask "$mask"
"$1" "$2/script.sh" </dev/null
exit $?
"""
"""Arguments: interpreter, folder, bytes, the word for ready. The folder goes however the script ends; where the
connection drops, `cat` sees the end of its input, and an unfinished script is not run."""

_END: Final = """\
sshd=$1 own=$2 grace=$3 folder=$4 v=' '
table() {
  if [ -r /proc/self/stat ]; then
    for s in /proc/[0-9]*/stat; do
      { read -r l < "$s"; } 2>/dev/null || continue
      p=${s#/proc/}
      set -- ${l##*) }
      [ "$1" = Z ] || echo "${p%/stat} $2 $3 $4"
    done
  else
    ps -A -o pid= -o ppid= -o pgid= -o pgid= 2>/dev/null
  fi
}
look() {
  t=$(table)
  n=
  while [ "$n" != "$v" ]; do
    n=$v
    while read -r p pp pg sd; do
      [ "$p" = "$own" ] && continue
      case $v in *" $p "*) continue;; esac
      if [ "$pp" = "$sshd" ]; then v="$v$p "; continue; fi
      case $v in *" $pp "*|*" $pg "*|*" $sd "*) v="$v$p ";; esac
    done <<E
$t
E
  done
  left=
  while read -r p rest; do
    case $v in *" $p "*) left="$left $p";; esac
  done <<E
$t
E
}
name=$(cat "/proc/$sshd/comm" 2>/dev/null || ps -p "$sshd" -o comm= 2>/dev/null)
case ${name##*/} in sshd*|dropbear*) ;; *) exit 3;; esac
look
[ -n "$left" ] && kill -TERM $left 2>/dev/null
i=0
while look; [ -n "$left" ] && [ "$i" -lt "$grace" ]; do
  sleep 0.1 2>/dev/null || { sleep 1; i=$((i + 9)); }
  i=$((i + 1))
done
i=0
while [ -n "$left" ] && [ "$i" -lt 10 ]; do
  kill -KILL $left 2>/dev/null
  sleep 0.1 2>/dev/null || sleep 1
  look
  i=$((i + 1))
done
case $folder in /tmp/easyalert_*) rm -rf "$folder";; esac
[ -z "$left" ]
"""
"""Arguments: the server's process for this connection, our own pid, tenths of a second between SIGTERM and SIGKILL, the
script's folder or nothing. Ends what this connection has started: the children of the server's process for it, their
descendants, groups and sessions. Exits with 0 when nothing is left, 1 when something could not be ended, 3 when the
server is none whose processes belong to one connection each."""


@dataclass(frozen=True)
class Sudo:
    """`user` is whom to become; `password` None: sudo must not ask."""

    user: str
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Line:
    """One request to execute."""

    text: str
    ready: bytes = b""
    """What it says when it wants its input and before anything else runs; empty: it is no line of ours."""
    prompt: bytes = b""
    stdin: bytes = field(default=b"", repr=False)
    password: str | None = field(default=None, repr=False)
    folder: str = ""

    @property
    def waits(self) -> bool:
        """Whether nothing runs before its input is there: what never said that it was ready has run nothing."""
        return bool(self.folder)


def command_line(command: str, sudo: Sudo | None) -> Line:
    """The command as it is, for the account's own shell; with sudo, for that of the other account."""
    if sudo is None:
        return Line(command)
    return _wrapped(_SUDO_COMMAND, [command], sudo)


def script_line(script: bytes, interpreter: str, sudo: Sudo | None) -> Line:
    """The script through standard input into a folder of its own (defect C15), then its interpreter."""
    folder = f"/tmp/easyalert_{secrets.token_hex(16)}"  # noqa: S108 - contract 3.1; made with 0700, and never reused
    line = _wrapped(_SCRIPT, [interpreter, folder, str(len(script))], sudo)
    return Line(line.text, line.ready, line.prompt, script, line.password, folder)


def ending_line(grace_s: float, folder: str, sudo: Sudo | None) -> Line:
    """Ends what the other channels of the same connection run."""
    prompt, prefix = _sudo(sudo)
    outer = f'{prefix}/bin/sh -c "$1" sh "$PPID" "$$" "$2" "$3"'
    words = shlex.join(["/bin/sh", "-c", outer, "sh", _END, str(max(1, round(grace_s * 10))), folder])
    return Line(f"exec {words}", b"", prompt, password=sudo.password if sudo else None)


def _wrapped(program: str, arguments: list[str], sudo: Sudo | None) -> Line:
    ready = f"easyalert-ready-{secrets.token_hex(8)}"
    prompt, prefix = _sudo(sudo)
    words = shlex.join(["/bin/sh", "-c", program, "sh", *arguments, ready])
    return Line(f"exec {prefix}{words}", f"{ready}\n".encode(), prompt, password=sudo.password if sudo else None)


def _sudo(sudo: Sudo | None) -> tuple[bytes, str]:
    if sudo is None:
        return b"", ""
    prompt = f"easyalert-password-{secrets.token_hex(8)}:"
    ask = ["-n"] if sudo.password is None else ["-S", "-p", prompt]
    return prompt.encode(), shlex.join(["sudo", *ask, "-u", sudo.user, "--"]) + " "


class Prologue:
    """Takes a line's own words out of its stderr, and calls when they come. What is left goes to `out`."""

    def __init__(
        self, line: Line, out: Callable[[bytes], None], *, asked: Callable[[], None], ready: Callable[[], None]
    ) -> None:
        self._words = [word for word in (line.prompt, line.ready) if word]
        self._line, self._out, self._asked, self._ready = line, out, asked, ready
        self._held = b""
        self.over = not line.ready
        """Whether the line was ready: what comes now is the command's own."""
        self.said = b""
        """What was said before, for the sentence about a line that never was."""

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        if self.over and not self._line.prompt:
            self._out(data)
            return
        self._held += data
        while self._words:
            found = [(at, word) for word in self._words if (at := self._held.find(word)) >= 0]
            if not found:
                break
            at, word = min(found)
            self._pass(self._held[:at])
            self._held = self._held[at + len(word) :]
            if word == self._line.ready:
                self.over, self._words = True, []
                self._ready()
            else:
                self._asked()
        keep = max((_overlap(self._held, word) for word in self._words), default=0)
        self._pass(self._held[: len(self._held) - keep])
        self._held = self._held[len(self._held) - keep :]

    def finish(self) -> None:
        """Nothing more comes."""
        self._pass(self._held)
        self._held = b""

    def _pass(self, data: bytes) -> None:
        if not self.over and len(self.said) < _PROLOGUE_MAX:
            self.said += data[:_PROLOGUE_MAX]
        if data:
            self._out(data)


def _overlap(held: bytes, word: bytes) -> int:
    """How much of the end of `held` may be the beginning of `word`."""
    most = min(len(held), len(word) - 1)
    return next((size for size in range(most, 0, -1) if held.endswith(word[:size])), 0)
