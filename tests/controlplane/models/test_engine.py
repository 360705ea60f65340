import threading

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from controlplane.models.engine import Database, StorageError
from controlplane.models.tables import Notification, Pool


def pool(name):
    return Pool(id=name, created_at=0.0, max_queue_age_s=1, lost_after_s=1)


def _write_and_fail(session):
    session.add(pool("b"))
    session.flush()
    raise ZeroDivisionError


def names(database):
    with database.read() as session:
        return sorted(session.scalars(select(Pool.id)))


def test_an_acknowledged_write_survives_a_power_cut_and_foreign_keys_hold(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    with database.read() as session:
        asked = {name: session.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")}
        asked["foreign_keys"] = session.execute(text("PRAGMA foreign_keys")).scalar()
        asked["secure_delete"] = session.execute(text("PRAGMA secure_delete")).scalar()
    database.close()
    assert asked == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}


def test_write_commits_and_a_failing_block_leaves_nothing(database):
    with database.write() as session:
        session.add(pool("a"))
    with pytest.raises(ZeroDivisionError), database.write() as session:
        _write_and_fail(session)
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(pool("a"))
    with database.write() as session:
        session.add(pool("c"))
    assert names(database) == ["a", "c"]


def test_a_reader_sees_one_moment_and_writes_nothing(database):
    with database.read() as reader:
        assert reader.scalars(select(Pool.id)).all() == []
        with database.write() as session:
            session.add(pool("a"))
        assert reader.scalars(select(Pool.id)).all() == []
    assert names(database) == ["a"]


def test_writers_read_and_write_without_losing_updates(database):
    with database.write() as session:
        session.add(pool("a"))

    def add():
        for _ in range(25):
            with database.write() as session:
                session.get_one(Pool, "a").max_queue_age_s += 1

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.get_one(Pool, "a").max_queue_age_s == 101


def test_after_commit_is_told_after_the_commit_and_never_of_a_rollback(database):
    seen = []
    database.after_commit = lambda session: seen.append((session.info.get("x"), names(database)))
    with database.write() as session:
        session.add(pool("a"))
        session.info["x"] = 1
    with pytest.raises(ZeroDivisionError), database.write():
        raise ZeroDivisionError
    assert seen == [(1, ["a"])]


def test_unusable_storage_is_one_sentence_without_parameters(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'missing' / 'x.sqlite3'}")
    with pytest.raises(StorageError, match="check its disk") as caught, database.read() as session:
        session.execute(select(Pool.id).where(Pool.id == "s3cret-canary"))
    assert "s3cret-canary" not in str(caught.value) + str(caught.value.__cause__)
    database.close()


def test_scrub_removes_deleted_text_from_every_file(database):
    def files():
        return b"".join(p.read_bytes() for p in database.file.parent.iterdir() if p.name.startswith(database.file.name))

    with database.write() as session:
        session.add(Notification(id="n", agent_id="a", type="t", message="s3cret-canary", created_at=0.0))
    assert b"s3cret-canary" in files()
    with database.write() as session:
        session.get_one(Notification, "n").message = "[wiped]"
    assert database.scrub()
    assert b"s3cret-canary" not in files()


def test_scrub_gives_way_to_a_reader(database):
    with database.write() as session:
        session.add(pool("a"))
    with database.read() as reader:
        reader.scalars(select(Pool.id)).all()
        with database.write() as session:
            session.add(pool("b"))
        assert not database.scrub()
    assert database.scrub()


def test_only_a_lazy_write_does_not_wait_for_the_disk(database):
    def synchronous(*, durable):
        with database.write(durable=durable) as session:
            return session.execute(text("PRAGMA synchronous")).scalar_one()

    # one after the other on pooled connections: the setting of one transaction must not stay for the next
    assert [synchronous(durable=durable) for durable in (True, False, True, False, True)] == [2, 1, 2, 1, 2]
