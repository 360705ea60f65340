from controlplane.services.tokens import Scope


def test_admins_read_it_page_by_page(service):
    agent = service.agent()
    ids = [service.submit(agentId=agent.id) for _ in range(3)]
    for job_id in ids:
        assert service.operator.post(f"/api/v1/jobs/{job_id}/cancel").status_code == 200
    first = service.operator.get("/api/v1/audit", params={"limit": 2}).json()
    assert [row["target"] for row in first["data"]] == ids[:0:-1]
    assert {row["action"] for row in first["data"]} == {"job.cancel"}
    assert first["data"][0]["actor"].startswith("ADMIN (tok_")
    rest = service.operator.get("/api/v1/audit", params={"limit": 2, "cursor": first["nextCursor"]}).json()
    assert [row["target"] for row in rest["data"]] == ids[:1]
    assert "nextCursor" not in rest
    one = service.operator.get("/api/v1/audit", params={"target": ids[1], "action": "job.cancel"}).json()["data"]
    assert [row["target"] for row in one] == [ids[1]]


def test_others_do_not(service):
    for scope in (Scope.VIEWER, Scope.OPERATOR):
        answer = service.operator.get("/api/v1/audit", headers=service.bearer(scope))
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_nobody_changes_it(service):
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert service.operator.request(method, "/api/v1/audit").status_code == 405
