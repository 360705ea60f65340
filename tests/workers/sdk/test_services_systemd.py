from __future__ import annotations

from dataclasses import dataclass

import pytest

from easyalert.errors import AgentFault, InvalidParameter
from workers.sdk.services import Unit
from workers.sdk.services_systemd import Systemd

SHOWN = """Type=notify
MainPID=7
Result=success
NRestarts=2
ExecMainStatus=0
Id=a.service
LoadState=loaded
ActiveState=active
SubState=running
ActiveEnterTimestamp=Wed 2026-11-25 06:35:24 UTC
"""


@dataclass
class Said:
    """A program that has ended."""

    out: str = ""
    err: str = ""
    exit_code: int = 0
    stopped: None = None

    @property
    def texts(self):
        return self.out, self.err


def test_what_systemd_shows_is_read():
    unit = Systemd("systemctl").look("a", lambda _: Said(SHOWN))
    assert unit == Unit(
        "a.service", "loaded", "active", "running", "notify", 7, "Wed 2026-11-25 06:35:24 UTC", "success", 0, 2
    )


def test_a_unit_without_a_process_is_read_too():
    unit = Systemd("systemctl").look("a.timer", lambda _: Said("Id=a.timer\nLoadState=loaded\nActiveState=active\n"))
    assert (unit.name, unit.main_pid, unit.kind) == ("a.timer", 0, "")


@pytest.mark.parametrize("said", [Said(err="no bus\nmore", exit_code=1), Said("nonsense"), Said()])
def test_an_answer_that_is_none_is_the_agents_fault(said):
    with pytest.raises(AgentFault, match="does not tell about 'a'"):
        Systemd("systemctl").look("a", lambda _: said)


def test_a_template_is_refused_before_systemd_is_asked():
    with pytest.raises(InvalidParameter, match="template"):
        Systemd("systemctl").look("a@", lambda _: pytest.fail("asked"))


@pytest.mark.parametrize("name", ["reboot.target", "home.mount", "systemd-kexec.service", "user.slice", "x"])
def test_what_is_no_service_is_left_alone(name):
    systemd = Systemd("systemctl")
    assert systemd.refusal("stop", Unit(name, "loaded"))
    assert systemd.refusal(None, Unit(name, "loaded")) is None


def test_a_masked_unit_can_be_stopped_and_not_started():
    systemd, masked = Systemd("systemctl"), Unit("a.service", "masked")
    assert systemd.refusal("stop", masked) is None
    assert "unmask" in (systemd.refusal("restart", masked) or "")
