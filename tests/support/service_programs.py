"""`systemctl`, `rc-service` and `shutdown` as programs, for machines that systemd does not run.

Written from systemctl(1), systemd.exec(5), rc-service(8), shutdown(8): properties, exit codes, words. A unit's `does` says
how it behaves: `well`, `fails` (its job), `dies` (soon after its start), `loops`, `ends` (at once, with 0), `hangs`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_SYSTEMCTL = r"""
import json, os, sys, time
from pathlib import Path

FOLDER = Path({folder!r})
arguments = [one for one in sys.argv[1:] if one != "--"]
options = [one for one in arguments if one.startswith("--")]
verb, name = [one for one in arguments if not one.startswith("--")]
with open(FOLDER / "calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\n")
assert "--no-ask-password" in options, "would ask"
assert not [one for one in os.environ if "API_KEY" in one]
if (FOLDER / "away").exists():
    sys.exit("Failed to connect to bus: No such file or directory")
units = json.loads((FOLDER / "units.json").read_text())
full = name if "." in name else name + ".service"
full = units.get(full, {{}}).get("alias", full)
unit = units.get(full)


def save():
    (FOLDER / "units.json").write_text(json.dumps(units))


def state():
    if unit is None or not unit.get("started"):
        return "inactive", "dead", 0
    age, does = time.time() - unit["started"], unit["does"]
    if does == "dies" and age > 0.3:
        return "failed", "failed", 0
    if does == "ends":
        return "inactive", "dead", 0
    if does == "loops":
        return ("activating", "auto-restart", 0) if age > 0.3 else ("active", "running", 70)
    return "active", "running", 71


if verb == "show":
    active, sub, pid = state()
    bad = active == "failed"
    print("Type=" + (unit or {{}}).get("type", "simple"))
    print(f"MainPID={{pid}}\nResult={{'exit-code' if bad else 'success'}}\nExecMainStatus={{203 if bad else 0}}")
    print(f"NRestarts=0\nId={{full}}\nLoadState={{unit['load'] if unit else 'not-found'}}")
    print(f"ActiveState={{active}}\nSubState={{sub}}\nActiveEnterTimestamp=Wed 2026-11-25 06:35:24 UTC")
    sys.exit(0)
if verb == "status":
    print(f"* {{full}} - made up\n     Active: {{state()[0]}}\n\nNov 25 06:35:24 host it[70]: {{unit.get('says', 'hello')}}")
    sys.exit(0 if state()[0] == "active" else 3)
if (FOLDER / "denied").exists():
    default = f"Failed to {{verb}} {{full}}: Interactive authentication required."
    print((FOLDER / "denied").read_text() or default, file=sys.stderr)
    print(f"See system logs and 'systemctl status {{full}}' for details.", file=sys.stderr)
    sys.exit(4)
if unit["does"] == "hangs":
    (FOLDER / "held").write_text("held")
    time.sleep(60)
unit["started"] = 0 if verb == "stop" else time.time()
save()
if unit["does"] == "fails":
    unit["does"] = "dies"
    unit["started"] = 1
    save()
    print(f"Job for {{full}} failed because the control process exited with error code.", file=sys.stderr)
    print("x" * 100_000, file=sys.stderr)
    sys.exit(1)
"""

_RC_SERVICE = r"""
import sys
from pathlib import Path

FOLDER = Path({folder!r})
if sys.argv[1] == "--exists":
    sys.exit(0 if (FOLDER / sys.argv[2]).exists() else 1)
name, verb = sys.argv[1:]
if verb == "status":
    text = (FOLDER / name).read_text()
    print(f" * status: {{text}}")
    sys.exit({{"started": 0, "stopped": 3, "crashed": 32}}[text])
if (FOLDER / "denied").exists():
    sys.exit(f" * {{name}}: superuser access required")
(FOLDER / name).write_text("stopped")
"""

_SHUTDOWN = r"""
import json, sys
from pathlib import Path

FOLDER = Path({folder!r})
with open(FOLDER / "calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\n")
if (FOLDER / "denied").exists():
    sys.exit("Failed to schedule shutdown: Interactive authentication required.")
print("Reboot scheduled for Wed 2026-11-25 06:36:24 UTC, use 'shutdown -c' to cancel.", file=sys.stderr)
"""
_TEXTS = {"systemctl": _SYSTEMCTL, "rc-service": _RC_SERVICE, "shutdown": _SHUTDOWN}


class ServicePrograms:
    """In `folder`, which is a PATH of its own. `names`: which of them there are."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            file = folder / name
            file.write_text(f"#!{sys.executable} -IS\n" + _TEXTS[name].format(folder=str(folder)), encoding="utf-8")
            file.chmod(0o755)
        self.units: dict[str, dict[str, Any]] = {}
        self.unit("good.service")

    def unit(self, name: str, does: str = "well", *, load: str = "loaded", **more: Any) -> None:
        """Add one, or replace it; `alias` names the one it is another name of."""
        self.units[name] = {"does": does, "load": load, **more}
        (self.folder / "units.json").write_text(json.dumps(self.units), encoding="utf-8")

    def switch(self, name: str, text: str = "") -> None:
        """`denied`: no rights. `away`: no bus. Any other: a service of OpenRC, in state `text`."""
        (self.folder / name).write_text(text, encoding="utf-8")

    def calls(self, *of: str) -> list[list[str]]:
        """Arguments of what was called; `of`: only those with one of these words."""
        file = self.folder / "calls"
        made = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
        return [call for call in made if not of or set(of) & set(call)]
