"""Who is inside of a `with`: exactly so many locks as the name of each thread and task says, under every interpreter."""

from pellucid.observe.blocked import see
from pellucid.runtimes.cpython.asyncio_tasks import Tasks
from tests.settling import settled
from tests.waiting import started


def test_every_way_to_be_inside_of_a_with():
    with started(program="nested.py") as pids:
        for version, pid in pids.items():
            settled(pid)
            seen = see(pid)
            try:
                sights = seen.sights
                held = {sight.name: 0 for sight in sights.threads.values() if sight.name.startswith("hold_")}
                for thing, several in sights.holders.holds().items():
                    if sights.values.name_of_kind(thing) == "lock":
                        for hold in several:
                            name = sights.threads[hold.who].name
                            if name in held:
                                held[name] += 1
                                assert hold.line, (version, name)
                tasks = Tasks(sights)
                for task in tasks.all():
                    if task.name.startswith("hold_"):
                        held[task.name] = sum(
                            sights.values.name_of_kind(hold.thing) == "Lock" for hold in tasks.holds(task)
                        )
            finally:
                seen.close()
            assert len(held) == 15
            assert held == {name: int(name.split("_")[1]) for name in held}, version
