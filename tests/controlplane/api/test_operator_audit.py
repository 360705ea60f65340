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


def test_the_ends_of_an_agents_own_record_are_listed_and_a_warning_is_accepted_by_an_admin(service):
    agent = service.agent()
    for digit in "ac":
        agent.heartbeat(audit={"seq": 5, "hash": digit * 64})
    heads = f"/api/v1/agents/{agent.id}/audit-heads"
    told = service.operator.get(heads, headers=service.bearer(Scope.VIEWER)).json()["data"]
    assert told["agentId"] == agent.id
    assert told["warning"]["kind"] == "rewritten"
    assert [(h["chain"], h["seq"], h["hash"][0], h["verdict"]) for h in told["heads"]] == [
        (1, 5, "c", "rewritten"),
        (1, 5, "a", "grows"),
    ]
    page = service.operator.get(heads, params={"limit": 1}).json()
    rest = service.operator.get(heads, params={"limit": 1, "cursor": page["nextCursor"]}).json()
    assert [h["seq"] for h in page["data"]["heads"] + rest["data"]["heads"]] == [5, 5]
    assert service.operator.get(f"/api/v1/agents/{agent.id}").json()["data"]["auditWarning"]["kind"] == "rewritten"
    accept = f"/api/v1/agents/{agent.id}/accept-record"
    assert service.operator.post(accept, headers=service.bearer(Scope.OPERATOR)).status_code == 403
    assert service.operator.post(accept, json={"note": "restored"}).json()["data"]["warning"] is None
    assert service.operator.post(accept).json()["code"] == "no_audit_warning"
    assert service.operator.get(heads).json()["data"]["heads"][0]["chain"] == 2
    assert service.operator.get("/api/v1/agents/agt_none/audit-heads").status_code == 404
