from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from chaos.hands import Hands
from chaos.nemesis import Fault
from easyalert.runtime import monotonic_ms


class Living:
    """An agent of which some programs live; `struck` are those that got a signal."""

    def __init__(self, name: str, *programs: str, workers: int = 0) -> None:
        self.name = name
        self.struck: list[str] = []
        self._programs = programs
        self._workers = workers

    def now_ms(self) -> int:
        return monotonic_ms()

    def programs(self) -> dict[str, Any]:
        return {name: self._process(name) for name in self._programs}

    def workers(self) -> list[Any]:
        return [self._process(f"worker-{number}") for number in range(self._workers)]

    def family(self) -> list[Any]:
        return [*self.programs().values(), *self.workers()]

    def _process(self, name: str) -> Any:
        return SimpleNamespace(pid=len(name), send_signal=lambda _number: self.struck.append(name))


def hands(*agents: Living) -> Hands:
    world: Any = SimpleNamespace(agents=list(agents))
    return Hands(world)


def test_a_kill_hits_what_was_planned_where_it_lives():
    one = Living("one", "supervisor", "poller", "redis")
    strike = hands(one).do(Fault(1.0, "kill_program", 0, program="redis", pick=0.9))
    assert (strike.agent, strike.program, one.struck) == ("one", "redis", ["redis"])


def test_a_kill_whose_program_is_down_hits_another_one_of_that_agent():
    one = Living("one", "supervisor", "poller", "heartbeat")
    strike = hands(one).do(Fault(1.0, "kill_program", 0, program="redis", pick=0.9))
    assert (strike.program, one.struck) == ("heartbeat", ["heartbeat"])
    assert strike.hit


def test_a_kill_on_an_agent_that_is_down_hits_the_next_one_and_says_so():
    one, two = Living("one"), Living("two", "supervisor", "workers", workers=3)
    strike = hands(one, two).do(Fault(1.0, "kill_worker", 0, pick=0.5))
    assert (strike.agent, one.struck, two.struck) == ("two", [], ["worker-1"])


def test_a_kill_that_finds_nobody_hits_nobody():
    one = Living("one")
    strike = hands(one).do(Fault(1.0, "kill_agent", 0))
    assert (strike.hit, one.struck, strike.cuts) == ((), [], False)


def test_a_disk_that_is_full_already_stays_full(tmp_path):
    one: Any = Living("one", "supervisor")
    one.has_disk = True
    one.agent = SimpleNamespace(state_dir=tmp_path)
    one.proxy = SimpleNamespace(set=lambda _toxic: None)
    (tmp_path / "ballast").mkdir()  # as little to be opened as a file on a full disk, whoever asks
    nemesis = hands(one)
    assert nemesis.do(Fault(1.0, "fill_disk", 0, hold=60.0)).hit
    (tmp_path / "ballast").rmdir()
    nemesis.heal()
