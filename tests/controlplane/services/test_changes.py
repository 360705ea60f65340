from controlplane.services.changes import changes_of


def test_a_session_has_one_record_of_changes_and_a_new_one_has_none(database):
    with database.write() as session:
        changes_of(session).pools.add("eu")
        changes_of(session).jobs.add("job")
        assert changes_of(session).pools == {"eu"}
    with database.write() as session:
        assert (changes_of(session).pools, changes_of(session).jobs, changes_of(session).wiped) == (set(), set(), False)
