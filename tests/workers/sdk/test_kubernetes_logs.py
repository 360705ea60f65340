"""Logs of one pod and of several (contract 3.4)."""

import time

import pytest

from tests.support.kube_api import TOKEN

pytestmark = pytest.mark.system


def test_one_pods_log(kube):
    kube.pod("web-1", b"1\n2\n\xff\n")
    assert kube.good("getLogs", {"pod": "web-1"}) == {"stdout": "1\n2\n\ufffd\n", "stderr": "", "truncated": False}
    assert (
        kube.good("getLogs", {"pod": "web-1", "tailLines": 1, "sinceSeconds": 5, "previous": True})["stdout"]
        == "\ufffd\n"
    )
    assert kube.api.asked("GET", "/log")[-1]["query"] == {
        "container": "main",
        "tailLines": "1",
        "sinceSeconds": "5",
        "previous": "true",
    }


def test_zero_lines_are_none_and_zero_seconds_are_all(kube):
    kube.pod("web-1", b"1\n")
    assert kube.good("getLogs", {"pod": "web-1", "tailLines": 0, "sinceSeconds": 0})["stdout"] == ""
    assert "sinceSeconds" not in kube.api.asked("GET", "/log")[-1]["query"]


def test_of_several_containers_the_first_or_the_annotated_or_the_named(kube):
    kube.pod("web-1", b"text", containers=("a", "b"))
    assert kube.good("getLogs", {"pod": "web-1"})["stderr"] == 'Defaulted container "a" out of: a, b\n'
    kube.pod("web-2", b"text", containers=("a", "b"), annotations={"kubectl.kubernetes.io/default-container": "b"})
    assert kube.good("getLogs", {"pod": "web-2"})["stderr"] == ""
    for params, container in (({}, "b"), ({"container": "a"}, "a")):
        kube.good("getLogs", {"pod": "web-2", **params})
        assert kube.api.asked("GET", "/log")[-1]["query"]["container"] == container
    assert "container zz is not valid" in kube.bad("getLogs", {"pod": "web-2", "container": "zz"})["error"]


def test_a_large_log_keeps_head_and_tail_and_says_its_size(kube):
    kube.pod("web-1", b"first\n" + b"x" * 3_000_000 + b"\nlast\n")
    output = kube.good("getLogs", {"pod": "web-1"})
    assert output["truncated"]
    assert output["originalStdoutSize"] == 3_000_012
    assert output["stdout"].startswith("first\n")
    assert output["stdout"].endswith("\nlast\n")


def test_a_log_that_breaks_off_is_an_error_with_what_has_come(kube):
    kube.pod("web-1")

    def cut(handler):
        handler.begin("text/plain")
        handler.piece(b"so far\n")
        handler.close_connection = True

    kube.state.logs["default", "web-1", "main"] = cut
    record = kube.bad("getLogs", {"pod": "web-1"})
    assert "broke off" in record["error"]
    assert record["output"]["stdout"] == "so far\n"


@pytest.mark.parametrize("why", ["timed_out", "cancelled"])
def test_a_log_without_end_is_ended_with_what_has_come(kube, why):
    kube.pod("web-1")

    def endless(handler):
        handler.begin("text/plain")
        handler.piece(b"so far\n")
        kube.api.held.append("log")
        kube.api.over.wait(60)

    kube.state.logs["default", "web-1", "main"] = endless
    if why == "cancelled":
        ran = kube.run("getLogs", {"pod": "web-1"}, cancelled=lambda: bool(kube.api.held))
    else:
        ran = kube.run("getLogs", {"pod": "web-1", "timeout": 3})
    assert ran.result.outcome == why
    assert ran.recorded["output"]["stdout"] == "so far\n"


def test_a_secret_across_pieces_is_redacted(kube):
    kube.pod("web-1")

    def pieces(handler):
        handler.begin("text/plain")
        for at in range(0, len(TOKEN), 5):
            handler.piece(TOKEN[at : at + 5].encode())
        handler.end()

    kube.state.logs["default", "web-1", "main"] = pieces
    assert kube.good("getLogs", {"pod": "web-1"})["stdout"] == "[REDACTED]"


# ---- several --------------------------------------------------------------------------------------------------------


def test_pods_by_a_regular_expression_found_anywhere_in_the_name(kube):
    for number in (1, 2):
        kube.pod(f"api-7c9-x{number}", f"log {number}".encode())
    kube.pod("web-1", b"no")
    assert kube.good("getLogs", {"podPattern": "7c9-x[0-9]$"}) == {
        "pods": [
            {"name": "api-7c9-x1", "logs": "log 1", "error": None},
            {"name": "api-7c9-x2", "logs": "log 2", "error": None},
        ],
        "matchedCount": 2, "mode": "regex", "partialFailure": False,
    }  # fmt: skip


@pytest.mark.parametrize("selector", ["app=web", "app in (web, x)", "app,tier!=db", "app==web,!nothing"])
def test_pods_by_a_selector(kube, selector):
    kube.pod("a", b"a", labels={"app": "web"})
    kube.pod("b", b"b", labels={"app": "web", "tier": "x"})
    kube.pod("c", b"c")
    output = kube.good("getLogs", {"selector": selector})
    assert [pod["name"] for pod in output["pods"]] == ["a", "b"]
    assert output["mode"] == "selector"


def test_some_that_fail_are_a_partial_success_and_all_are_an_error(kube):
    for name in ("a", "b"):
        kube.pod(name, b"text")
    kube.api.fail(
        "GET", "pods/b/log", 400, "BadRequest", 'container "main" in pod "b" is waiting to start: ContainerCreating'
    )
    recorded = kube.run("getLogs", {"podPattern": "^[ab]$"}).recorded
    assert (recorded["status"], recorded["exitCode"]) == ("success", 0)
    assert "1 of 2 logs could not be read; b: container" in recorded["error"]
    assert recorded["output"]["partialFailure"] is True
    assert [pod["error"] is None for pod in recorded["output"]["pods"]] == [True, False]
    kube.api.fail("GET", "pods/./log", 403, "Forbidden", times=2)
    record = kube.bad("getLogs", {"podPattern": "^[ab]$"})
    assert record["output"]["matchedCount"] == 2
    assert "2 of 2" in record["error"]


def test_none_and_more_than_ten_are_refused(kube):
    for number in range(11):
        kube.pod(f"web-{number:02}", labels={"app": "web"})
    for params in ({"podPattern": "web"}, {"selector": "app=web"}):
        assert "matches 11 pods" in kube.bad("getLogs", params, code=-1)["error"]
    for params in ({"podPattern": "nope"}, {"selector": "app=nope"}):
        assert "no pod in namespace default matches" in kube.bad("getLogs", params, code=-1)["error"]
    assert kube.good("getLogs", {"podPattern": "web-0[0-9]"})["matchedCount"] == 10
    assert len(kube.api.asked("GET", "/log")) == 10


def test_at_most_five_are_read_at_once(kube):
    import threading

    state = {"now": 0, "most": 0}
    lock, five = threading.Lock(), threading.Event()

    def counted(handler):
        with lock:
            state["now"] += 1
            state["most"] = max(state["most"], state["now"])
            if state["now"] == 5:
                five.set()
        five.wait(10)
        handler.begin("text/plain")
        with lock:
            state["now"] -= 1
        handler.end()

    for number in range(10):
        kube.pod(f"web-{number}")
        kube.state.logs["default", f"web-{number}", "main"] = counted
    kube.good("getLogs", {"podPattern": "web"})
    assert state["most"] == 5


def test_a_list_in_pages_is_read_to_its_end_and_again_when_its_place_is_forgotten(kube):
    for number in range(520):
        kube.pod(f"many-{number:03}")
    kube.pod("zzz-last", b"found")
    assert kube.good("getLogs", {"podPattern": "^zzz"})["pods"][0]["logs"] == "found"
    assert len(kube.api.asked("GET", "/pods")) == 3 + 2
    kube.api.seen.clear()
    kube.api.fail("GET", "pods$", 410, "Expired", "The provided continue parameter is too old")
    assert kube.good("getLogs", {"podPattern": "^zzz"})["matchedCount"] == 1


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){25}$", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_defect_b5_a_catastrophic_pattern_is_ended(kube, pattern):
    kube.pod("a" * 60 + "b")
    began = time.monotonic()
    record = kube.bad("getLogs", {"podPattern": pattern}, code=-1)
    assert "podPattern" in record["error"]
    assert time.monotonic() - began < 25  # two seconds of processor time, on a machine however busy; else years


@pytest.mark.parametrize("pattern", ["(", "[", "*", "(?P<a", "a{99999999999}", "\\"])
def test_what_is_no_pattern_is_refused(kube, pattern):
    kube.pod("a")
    assert (
        kube.bad("getLogs", {"podPattern": pattern}, code=-1)["error"]
        == "parameter 'podPattern' is no regular expression"
    )


@pytest.mark.parametrize(
    "params",
    [
        {}, {"pod": "a", "selector": "a=b"}, {"pod": "a", "podPattern": "a"}, {"podPattern": "a", "selector": "a=b"},
        {"pod": "", "podPattern": "", "selector": ""}, {"podPattern": "a" * 201}, {"selector": "a=b;"},
        {"selector": "a" * 501}, {"selector": "a=b\n"}, {"pod": "a", "tailLines": -1}, {"pod": "a", "sinceSeconds": "x"},
    ],
)  # fmt: skip
def test_what_is_asked_for_wrongly_reaches_nothing(kube, params):
    assert "parameter '" in kube.bad("getLogs", params, code=-1)["error"]
    assert kube.api.seen == []


def test_each_pods_log_is_bounded(kube):
    for name in ("a", "b"):
        kube.pod(name, b"x" * 2_000_000)
    pods = kube.good("getLogs", {"podPattern": "."})["pods"]
    assert all(len(pod["logs"]) < 1_100_000 and "bytes left out" in pod["logs"] for pod in pods)
