from __future__ import annotations

import pytest

from deploy.quickstart.operator import Operator
from tests.deploy.quickstart.fake_operators_api import FakeOperatorsApi


@pytest.fixture
def api():
    fake = FakeOperatorsApi()
    yield fake
    fake.close()


@pytest.fixture
def operator(api):
    with Operator(api.url, "ea_op_test") as client:
        yield client
