import asyncio

from controlplane.api.watch import JobWatch


def test_only_those_who_wait_for_the_job_are_woken_and_nothing_is_kept():
    async def run():
        watch = JobWatch()
        with watch.watching("a") as one, watch.watching("a") as two, watch.watching("b") as other:
            watch.notify(["a", "unknown"])
            assert (one.is_set(), two.is_set(), other.is_set()) == (True, True, False)
            watch.close()
            assert other.is_set()
        assert watch._events == {}

    asyncio.run(run())
