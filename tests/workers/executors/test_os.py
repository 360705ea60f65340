"""Against programs that behave as systemctl(1), rc-service(8) and shutdown(8) say; systemd itself is not run here."""

from __future__ import annotations

from typing import ClassVar

import pytest

from easyalert.errors import Fault
from tests.support.service_programs import ServicePrograms
from workers.executors.os import Host, Os
from workers.sdk.executor_contract import ExecutorContract
from workers.sdk.harness import Harness

pytestmark = pytest.mark.system


def host_of(programs, settle_s=1.0):
    """A machine that systemd runs, if there is a systemctl."""
    return Host(path=str(programs.folder), systemd=programs.folder, settle_s=settle_s)


@pytest.fixture
def programs(tmp_path):
    return ServicePrograms(tmp_path / "bin", "systemctl", "shutdown")


@pytest.fixture
def harness(programs, tmp_path):
    return Harness(Os(host_of(programs)), tmp_path, allow_os_restart=True)


class TestContract(ExecutorContract):
    executor = Os
    samples: ClassVar = {
        **{name: {"serviceName": "good"} for name in ("startService", "stopService", "restartService", "status")},
        "restartOS": {"approved": True},
    }

    def harness(self, tmp_path):
        programs = ServicePrograms(tmp_path / "bin", "systemctl", "shutdown")
        return Harness(Os(host_of(programs, settle_s=0)), tmp_path, allow_os_restart=True)


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_service_is_started_and_its_state_is_told(harness, programs, verb):
    ran = harness.run(f"{verb}Service", {"serviceName": "good"})
    assert ran.recorded["status"] == "success", ran.error
    output = ran.recorded["output"]
    assert (output["stdout"], output["stderr"]) == ("", "")
    assert (output["unit"], output["activeState"], output["subState"]) == ("good.service", "active", "running")
    assert output["mainPid"] == 71
    assert programs.calls(verb) == [["--no-ask-password", "--no-pager", verb, "--", "good"]]


def test_a_service_is_stopped(harness):
    harness.run("startService", {"serviceName": "good"})
    ran = harness.run("stopService", {"serviceName": "good"})
    assert (ran.recorded["status"], ran.recorded["output"]["activeState"]) == ("success", "inactive")


@pytest.mark.parametrize(
    ("does", "words"),
    [
        ("dies", "failed right after its start (exit-code, status 203)"),
        ("loops", "again and again"),
        ("ends", "by itself"),
    ],
)
def test_a_service_that_does_not_stay_up_is_an_error_with_its_last_lines(harness, programs, does, words):
    programs.unit("bad.service", does, says="cannot bind")
    ran = harness.run("startService", {"serviceName": "bad"})
    assert ran.recorded["status"] == "error"
    assert ran.recorded["exitCode"] == 1
    assert words in ran.error
    assert ran.result.fault is Fault.TARGET
    assert "cannot bind" in ran.recorded["output"]["journal"]


def test_a_oneshot_that_has_done_its_work_is_no_failure(harness, programs):
    programs.unit("once.service", "ends", type="oneshot")
    assert harness.run("startService", {"serviceName": "once"}).recorded["status"] == "success"


def test_a18_the_error_is_one_sentence_and_the_whole_text_is_in_the_output(harness, programs):
    programs.unit("bad.service", "fails")
    ran = harness.run("startService", {"serviceName": "bad"})
    assert ran.recorded["exitCode"] == 1
    assert "control process exited with error code" in ran.error
    assert len(ran.result.error) < 300
    assert len(ran.recorded["output"]["stderr"]) > 100_000
    assert ran.recorded["output"]["journal"]


def test_a22_a_numeric_text_is_a_time_limit_and_null_is_none(harness):
    for timeout in ("30", None, 30.0):
        assert harness.run("stopService", {"serviceName": "good", "timeout": timeout}).recorded["status"] == "success"


@pytest.mark.parametrize("name", ["good\n", "-good", "good;ls", "a b", "../good", "good*", "", "a" * 254, "gööd"])
def test_c21_a_name_that_is_none_is_refused_and_nothing_is_run(harness, programs, name):
    ran = harness.run("restartService", {"serviceName": name})
    assert ran.recorded["exitCode"] == -1
    assert "serviceName" in ran.error
    assert programs.calls() == []


def test_the_longest_name_passes(harness):
    assert "no unit" in harness.run("restartService", {"serviceName": "a" * 253}).error


@pytest.mark.parametrize(
    ("name", "load", "words"),
    [
        ("nothing", None, "no unit 'nothing.service'"),
        ("masked", "masked", "systemctl unmask masked.service"),
        ("broken", "bad-setting", "is broken"),
        ("reboot.target", "loaded", "os.restartOS"),
        ("systemd-poweroff", "loaded", "os.restartOS"),
        ("home.mount", "loaded", "is no service"),
    ],
)
def test_what_cannot_be_started_is_said_and_not_tried(harness, programs, name, load, words):
    if load:
        programs.unit(name if "." in name else f"{name}.service", load=load)
    ran = harness.run("startService", {"serviceName": name})
    assert (ran.recorded["status"], ran.recorded["exitCode"]) == ("error", 1)
    assert words in ran.error
    assert programs.calls("start") == []


@pytest.mark.parametrize("name", ["many@", "many@.service"])
def test_a_template_is_no_service(harness, programs, name):
    assert "name an instance" in harness.run("startService", {"serviceName": name}).error
    assert programs.calls() == []


def test_an_alias_of_what_ends_the_host_is_refused_too(harness, programs):
    programs.unit("harmless.service", alias="reboot.target")
    programs.unit("reboot.target")
    assert "os.restartOS" in harness.run("startService", {"serviceName": "harmless"}).error
    assert programs.calls("start") == []


@pytest.mark.parametrize(
    ("action", "params"), [("stopService", {"serviceName": "good"}), ("restartOS", {"approved": True})]
)
def test_d6_without_the_right_the_error_says_which_file_gives_it(harness, programs, action, params):
    programs.switch("denied")
    ran = harness.run(action, params)
    assert ran.recorded["status"] == "error"
    assert "may not" in ran.error
    assert "deploy/os/50-easyalert-agent.rules" in ran.error
    assert ran.result.fault is Fault.AGENT


def test_d6_a_polkit_that_does_not_answer_is_named(harness, programs):
    """As seen on a host without a running polkitd."""
    programs.switch("denied", "Failed to stop good.service: Connection timed out")
    ran = harness.run("stopService", {"serviceName": "good"})
    assert "is polkit installed and running there" in ran.error
    assert ran.result.fault is Fault.AGENT


@pytest.mark.parametrize(
    ("action", "params"), [("stopService", {"serviceName": "good"}), ("restartOS", {"approved": True})]
)
def test_d6_in_a_container_the_error_says_to_run_the_agent_on_the_host(tmp_path, action, params):
    bare = Harness(Os(Host(path=str(tmp_path), systemd=tmp_path)), tmp_path, allow_os_restart=True)
    ran = bare.run(action, params)
    assert "run the agent on the host" in ran.error
    assert ran.result.fault is Fault.AGENT


def test_a_systemctl_on_a_machine_that_systemd_does_not_run_is_not_used(programs, tmp_path):
    ran = Harness(Os(Host(str(programs.folder), tmp_path / "no")), tmp_path).run("status", {"serviceName": "good"})
    assert "neither systemd nor OpenRC" in ran.error
    assert programs.calls() == []


def test_a_systemd_that_does_not_answer_is_the_agents_fault(harness, programs):
    programs.switch("away")
    ran = harness.run("stopService", {"serviceName": "good"})
    assert "Failed to connect to bus" in ran.error
    assert ran.result.fault is Fault.AGENT


def test_an_action_that_takes_too_long_is_given_up_and_may_go_on(harness, programs):
    programs.unit("slow.service", "hangs")
    ran = harness.run("stopService", {"serviceName": "slow", "timeout": 1})
    assert ran.result.outcome == "timed_out"
    assert ran.recorded["exitCode"] == -1
    assert "systemd may go on with it" in ran.error
    assert ran.recorded["output"]["activeState"] == "inactive"


def test_a_cancelled_action_says_that_systemd_may_go_on(programs, tmp_path):
    programs.unit("slow.service", "hangs")
    held = programs.folder / "held"
    ran = Harness(Os(host_of(programs)), tmp_path, cancelled=held.exists).run("stopService", {"serviceName": "slow"})
    assert ran.result.outcome == "cancelled"
    assert "systemd may go on with it" in ran.error


def test_status_tells_and_changes_nothing(harness, programs):
    ran = harness.run("status", {"serviceName": "good"})
    assert ran.recorded["output"]["activeState"] == "inactive"
    assert "hello" in ran.recorded["output"]["stdout"]
    assert {call[2] for call in programs.calls()} == {"show", "status"}
    assert harness.run("status", {"serviceName": "nothing"}).recorded["exitCode"] == 1


# ---- the restart of the host -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delay", "minutes"), [(None, 1), (0, 1), (-5, 1), ("soon", 1), (60, 1), (61, 2), ("120", 2), (86_400, 1440)]
)
def test_a_restart_is_scheduled_so_late_that_its_result_leaves_first(harness, programs, delay, minutes):
    ran = harness.run("restartOS", {"approved": True, "delaySeconds": delay})
    assert ran.recorded["status"] == "success", ran.error
    assert programs.calls() == [["-r", f"+{minutes}"]]
    assert ran.recorded["output"]["restartsInSeconds"] == minutes * 60


@pytest.mark.parametrize("approved", ["true", "false", 1, "yes", [True], {}, False, None])
def test_c24_only_the_json_value_true_approves_a_restart(harness, programs, approved):
    ran = harness.run("restartOS", {"approved": approved})
    assert ran.recorded["exitCode"] == -1
    assert "approved" in ran.error
    assert programs.calls() == []


@pytest.mark.parametrize("delay", [86_401, "86401", float("inf")])
def test_a_restart_too_far_away_is_refused(harness, programs, delay):
    assert "delaySeconds" in harness.run("restartOS", {"approved": True, "delaySeconds": delay}).error
    assert programs.calls() == []


def test_without_the_owners_leave_nothing_is_restarted(programs, tmp_path):
    ran = Harness(Os(host_of(programs)), tmp_path).run("restartOS", {"approved": True})
    assert "ALLOW_OS_RESTART" in ran.error
    assert ran.recorded["exitCode"] == -1
    assert programs.calls() == []


# ---- OpenRC ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def openrc(tmp_path):
    programs = ServicePrograms(tmp_path / "bin", "rc-service")
    programs.switch("nginx", "started")
    return programs


def test_with_openrc_a_service_is_asked_and_stopped(openrc, tmp_path):
    harness = Harness(Os(Host(str(openrc.folder), tmp_path / "no")), tmp_path)
    assert harness.run("status", {"serviceName": "nginx"}).recorded["output"]["activeState"] == "active"
    ran = harness.run("stopService", {"serviceName": "nginx"})
    assert (ran.recorded["status"], ran.recorded["output"]["subState"]) == ("success", "stopped")
    assert "no service 'other'" in harness.run("stopService", {"serviceName": "other"}).error
    openrc.switch("denied")
    assert "may not" in harness.run("stopService", {"serviceName": "nginx"}).error


def test_with_openrc_nothing_is_started_that_would_end_with_the_job(openrc, tmp_path):
    harness = Harness(Os(Host(str(openrc.folder), tmp_path / "no")), tmp_path)
    for action in ("startService", "restartService"):
        assert "would be this job's process and end with it" in harness.run(action, {"serviceName": "nginx"}).error
    assert harness.run("status", {"serviceName": "nginx"}).recorded["output"]["subState"] == "started"
