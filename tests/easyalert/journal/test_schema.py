import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from easyalert.errors import JournalDamaged, JournalError
from easyalert.journal import Journal
from easyalert.journal.schema import SCHEMA_VERSION, open_database, set_aside_if_damaged
from tests.easyalert.journal.conftest import WORKER, envelope, new_job


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite3"


def test_every_write_is_on_disk_before_it_returns(path):
    with Journal(path) as journal:
        assert journal._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert journal._db.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_nobody_else_can_read_the_journal_whatever_the_umask(path):
    before = os.umask(0)
    try:
        with Journal(path) as journal:
            journal.take([new_job()])
            modes = {name: mode(path.with_name(path.name + name)) for name in ("", "-wal", "-shm")}
    finally:
        os.umask(before)
    assert modes == {"": 0o600, "-wal": 0o600, "-shm": 0o600}


def test_a_journal_others_can_read_is_closed_to_them(path):
    Journal(path).close()
    path.chmod(0o644)
    with Journal(path) as journal:
        journal.take([new_job()])
        assert mode(path) == mode(path.with_name(path.name + "-wal")) == 0o600


def test_what_is_written_is_there_after_reopening(path):
    with Journal(path) as journal:
        journal.take([new_job()])
        journal.start("job_1", WORKER)
        journal.finish("job_1", envelope())
    with Journal(path) as journal:
        assert [row.result for row in journal.unreported()] == [envelope()]


def test_a_symlink_is_not_followed(path, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    path.symlink_to(elsewhere)
    with pytest.raises(JournalError, match="not a regular file"):
        open_database(path)
    assert not elsewhere.exists()


def test_a_folder_in_its_place_is_a_journal_error(path):
    path.mkdir()
    with pytest.raises(JournalError, match="not a regular file"):
        open_database(path)


def test_a_missing_folder_is_a_journal_error(tmp_path):
    with pytest.raises(JournalError, match="No such file"):
        open_database(tmp_path / "missing" / "journal.sqlite3")


def test_a_read_only_folder_is_a_journal_error():
    script = (
        "import os, sys; from pathlib import Path; from easyalert.errors import JournalError\n"
        "from easyalert.journal import Journal; from easyalert.runtime import boot_id; boot_id()\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: Journal(Path(sys.argv[1]))\n"
        "except JournalError as error: print('JournalError:', error)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", script, f"{folder}/journal.sqlite3"], capture_output=True, text=True, check=False
        )
    assert done.stdout.startswith(f"JournalError: the job journal {folder}/journal.sqlite3 "), done.stderr
    assert "denied" in done.stdout


# ---- damage ---------------------------------------------------------------------------------------------------------


def fill(path):
    with Journal(path) as journal:
        for n in range(40):
            journal.take([new_job(f"job_{n}", sealed=b"x" * 2000)])
            journal.start(f"job_{n}", WORKER)
            journal.finish(f"job_{n}", {**envelope(f"job_{n}"), "output": "y" * 3000})


def damage_header(path):
    path.write_bytes(b"this is no database" * 300)


def damage_middle(path):
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(60_000))


def damage_by_truncation(path):
    os.truncate(path, path.stat().st_size // 2)


def damage_columns(path):
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE jobs DROP COLUMN rejection")
    db.close()


def damage_tables(path):
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE totals")
    db.close()


def replace_by_another_programs_database(path):
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE jobs (id INTEGER)")
    db.close()


@pytest.mark.parametrize(
    "damage",
    [
        damage_header,
        damage_middle,
        damage_by_truncation,
        damage_columns,
        damage_tables,
        replace_by_another_programs_database,
    ],
)
def test_a_damaged_journal_is_kept_aside_and_a_new_one_is_begun(path, damage, caplog):
    fill(path)
    damage(path)
    bytes_found = path.read_bytes()
    aside = set_aside_if_damaged(path)
    assert aside is not None
    assert aside.parent == path.parent
    # opening it may have noted WAL mode in the header, the first 100 bytes
    assert aside.read_bytes()[100:] == bytes_found[100:], "what may be saved by hand is untouched"
    assert not path.exists()
    assert "was damaged" in caplog.text
    with Journal(path) as journal:
        assert journal.latest() == []
        assert journal.take([new_job()])


def test_two_damaged_journals_do_not_overwrite_each_other(path):
    found = []
    for content in (b"first " * 1000, b"second " * 1000):
        path.write_bytes(content)
        found.append(set_aside_if_damaged(path).read_bytes())
    assert found == [b"first " * 1000, b"second " * 1000]
    assert len(list(path.parent.glob("*.damaged-*"))) == 2


@pytest.mark.parametrize("damage", [damage_header, replace_by_another_programs_database])
def test_opening_a_damaged_journal_says_so(path, damage):
    fill(path)
    damage(path)
    with pytest.raises(JournalDamaged, match="restart the agent"):
        open_database(path)


def test_a_sound_journal_stays(path):
    fill(path)
    assert set_aside_if_damaged(path) is None
    with Journal(path) as journal:
        assert len(journal.unreported()) == 40


def test_no_journal_is_no_damage(path):
    assert set_aside_if_damaged(path) is None
    assert not path.exists()


def test_a_zero_length_file_becomes_an_empty_journal(path):
    path.touch()
    assert set_aside_if_damaged(path) is None
    with Journal(path) as journal:
        assert journal.take([new_job()])


def test_a_newer_agents_journal_is_neither_used_nor_set_aside(path):
    Journal(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    for door in (open_database, set_aside_if_damaged):
        with pytest.raises(JournalError, match="newer than this agent") as caught:
            door(path)
        assert not isinstance(caught.value, JournalDamaged)
    assert path.exists()


# ---- older formats --------------------------------------------------------------------------------------------------


def make_format(path, version):
    """What an agent of an older format has left: what the formats after it brought is taken out again."""
    fill(path)
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE bindings")
        if version < 5:
            db.execute("ALTER TABLE jobs DROP COLUMN requested_by")
        if version < 4:
            db.execute("DROP TABLE audit")
        if version < 3:
            db.execute("DROP TABLE spent")
            db.execute("ALTER TABLE jobs DROP COLUMN signature")
        if version < 2:
            for column in ("cancel_by", "cancel_at"):
                db.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
        db.execute(f"PRAGMA user_version = {version}")
    db.close()


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
@pytest.mark.parametrize("door", [set_aside_if_damaged, lambda path: Journal(path).close()])
def test_an_older_journal_is_upgraded_in_place_and_keeps_its_rows(path, door, version):
    make_format(path, version)
    assert not door(path)
    with Journal(path) as journal:
        assert journal._db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
        assert len(journal.unreported()) == 40
        journal.take([new_job("new")])
        assert journal.cancel("new", "Ada") == "cancelled"
        assert journal.spent_by("new") is None
        assert journal.bindings() == []
        assert [entry.kind for entry in journal.audit_waiting(500)][-2:] == ["job.ended", "job.cancel"]
    assert set_aside_if_damaged(path) is None, "an upgraded file has the tables of a new one"


def test_a_failing_upgrade_leaves_the_older_format_whole(path):
    make_format(path, 1)
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE jobs ADD COLUMN cancel_at REAL")  # the second step of the upgrade cannot be done
    db.close()
    with pytest.raises(JournalError):
        open_database(path)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == 1
        assert "cancel_by" not in {row[1] for row in db.execute("PRAGMA table_info(jobs)")}
    db.close()
