import threading

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from controlplane.models.engine import Database
from controlplane.models.migrate import SCRIPTS, alembic_config, at_head, migrate
from controlplane.models.tables import Base, Job, JobOutput


def test_migrations_and_models_agree(database):
    with database.read() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        assert at_head(session)


def test_there_is_one_line_of_revisions_and_it_travels_in_the_package(database):
    script = ScriptDirectory.from_config(alembic_config(database))
    assert len(script.get_heads()) == 1
    assert (SCRIPTS / "versions" / "0001_first_tables.py").is_file()


def test_down_and_up_again(database):
    command.downgrade(alembic_config(database), "base")
    with database.read() as session:
        assert not at_head(session)
    migrate(database)
    with database.read() as session:
        assert at_head(session)


def test_two_servers_that_start_at_once_migrate_once(tmp_path):
    databases = [Database(f"sqlite:///{tmp_path / 'x.sqlite3'}") for _ in range(2)]
    threads = [threading.Thread(target=migrate, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for database in databases:
        with database.read() as session:
            assert at_head(session)
        database.close()


def test_a_migration_that_fails_half_way_leaves_the_old_tables(database, monkeypatch):
    command.downgrade(alembic_config(database), "base")
    with monkeypatch.context() as broken:
        broken.setattr("alembic.operations.Operations.create_table", _fail_at("jobs", database))
        try:
            migrate(database)
        except ZeroDivisionError:
            pass
        else:
            raise AssertionError("did not fail")
    with database.read() as session:
        tables = session.connection().exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars()
        assert set(tables) <= {"alembic_version"}
    migrate(database)


def test_a_database_of_the_first_version_is_upgraded_with_its_jobs(database):
    command.downgrade(alembic_config(database), "0001")
    columns = "id, action_type, category, params, priority, timeout_s, fingerprint, created_at, created_by, state, "
    columns += "available_at, expires_at, attempt, credentials_wiped"
    values = "'job_old', 'script.bash', 'script', '{}', 0, 300, 'f', 1, 'tok', 'success', 1, 2, 1, 0"
    with database.write() as session:
        session.connection().exec_driver_sql(f"INSERT INTO jobs ({columns}) VALUES ({values})")
    migrate(database)
    with database.read() as session:
        assert at_head(session)
        assert session.get(Job, "job_old").state == "success"
        assert session.get(JobOutput, ("job_old", 1)) is None


def _fail_at(name, _database):
    from alembic.operations import Operations

    real = Operations.create_table

    def create_table(self, table_name, *args, **kw):
        if table_name == name:
            raise ZeroDivisionError
        return real(self, table_name, *args, **kw)

    return create_table
