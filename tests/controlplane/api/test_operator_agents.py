import pytest

from easyalert.protocol import paths

pytestmark = pytest.mark.system


@pytest.fixture
def op(service):
    return service.operator


def create(op, name="edge-1", **more):
    answer = op.post("/api/v1/agents", json={"name": name, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


def test_the_key_is_shown_once_and_works(op, http):
    made = create(op, poolId="eu", tags=["prod"], description="rack 7")
    assert made["apiKey"].startswith("ea_agent_")
    assert (made["poolId"], made["tags"], made["status"]) == ("eu", ["prod"], "offline")
    assert http.get(paths.JOBS, headers={paths.API_KEY_HEADER: made["apiKey"]}).status_code == 200
    for path in ("/api/v1/agents", f"/api/v1/agents/{made['id']}"):
        assert made["apiKey"] not in op.get(path).text


def test_names_are_unique(op):
    create(op)
    answer = op.post("/api/v1/agents", json={"name": "edge-1"})
    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": " x"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"name": "x", "poolId": "a b"}, "poolId"),
        ({"name": "x", "tags": "prod"}, "tags"),
        ({"name": "x", "colour": "red"}, "colour"),
    ],
)
def test_refusals_name_the_field(op, body, field):
    answer = op.post("/api/v1/agents", json=body)
    assert answer.status_code == 422
    assert field in answer.json()["error"]


def test_change(op):
    made = create(op)
    changed = op.patch(f"/api/v1/agents/{made['id']}", json={"poolId": "us"}).json()["data"]
    assert (changed["poolId"], changed["name"]) == ("us", "edge-1")
    assert op.patch(f"/api/v1/agents/{made['id']}", json={"poolId": ""}).status_code == 422
    assert op.patch("/api/v1/agents/agt_x", json={"name": "n"}).json()["code"] == "not_found"


def test_disable_drain_enable(op):
    path = f"/api/v1/agents/{create(op)['id']}"
    seen = op.post(f"{path}/disable", json={"reason": "patch day", "until": "2099-01-01T00:00:00Z"}).json()["data"]
    assert seen["disabled"] == {"reason": "patch day", "until": "2099-01-01T00:00:00.000Z"}
    seen = op.post(f"{path}/drain").json()["data"]
    assert seen["draining"] == {"reason": None, "until": None}
    seen = op.post(f"{path}/enable").json()["data"]
    assert (seen["disabled"], seen["draining"], seen["blocked"]) == (None, None, None)
    assert op.post(f"{path}/drain", json={"until": "soon"}).status_code == 422
    assert op.post(f"{path}/drain", json={"until": "2099-01-01T00:00:00"}).status_code == 422, "no time zone"


def test_regenerate_with_overlap(service, op, http):
    made = create(op)
    path = f"/api/v1/agents/{made['id']}/regenerate-key"
    new = op.post(path, json={"overlapSeconds": 60}).json()["data"]["apiKey"]
    status = lambda key: http.get(paths.JOBS, headers={paths.API_KEY_HEADER: key}).status_code  # noqa: E731 - a word of this test
    assert (status(made["apiKey"]), status(new)) == (200, 200)
    service.clock.sleep(60)
    assert (status(made["apiKey"]), status(new)) == (401, 200)
    assert op.post("/api/v1/agents/agt_x/regenerate-key").status_code == 404
    assert op.post(path, json={"overlapSeconds": -1}).status_code == 422


def test_delete(service, op):
    made = create(op)
    job = service.submit(agentId=made["id"])
    assert op.delete(f"/api/v1/agents/{made['id']}").json()["data"] == {
        "jobs": {"reassigned": 0, "failed": 1, "inDoubt": 0}
    }
    assert op.get(f"/api/v1/agents/{made['id']}").status_code == 404
    assert service.job(job)["status"] == "error"


def test_lists_page_by_page(op):
    ids = sorted(create(op, f"a{n}", poolId=f"p{n % 2}")["id"] for n in range(3))
    first = op.get("/api/v1/agents", params={"limit": 2}).json()
    rest = op.get("/api/v1/agents", params={"limit": 2, "cursor": first["nextCursor"]}).json()
    assert [a["id"] for a in first["data"] + rest["data"]] == ids
    assert "nextCursor" not in rest
    assert len(op.get("/api/v1/agents", params={"poolId": "p0"}).json()["data"]) == 2


def test_pools(op):
    create(op, poolId="eu")
    assert [p["id"] for p in op.get("/api/v1/pools").json()["data"]] == ["eu"]
    made = op.put("/api/v1/pools/us", json={"maxQueueAgeSeconds": 60}).json()["data"]
    assert made["settings"] == {"maxQueueAgeSeconds": 60, "lostAfterSeconds": 600}
    assert op.get("/api/v1/pools/us").json()["data"]["agentsTotal"] == 0
    assert op.get("/api/v1/pools/none").json()["code"] == "not_found"
    assert op.put("/api/v1/pools/us", json={"maxQueueAgeSeconds": 1}).status_code == 422
    assert op.put("/api/v1/pools/a%20b", json={}).status_code == 422


def test_a_pools_queue_age_reaches_its_jobs(service, op):
    service.agent("eu")
    op.put("/api/v1/pools/eu", json={"maxQueueAgeSeconds": 60})
    job = service.job(service.submit(poolId="eu"))
    assert job["createdAt"][:16] != job["expiresAt"][:16]
