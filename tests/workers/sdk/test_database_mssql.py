"""SQL Server: what its driver is told. That a query of it comes out right is not shown: there is no such server here."""

import pytest

from easyalert.errors import CredentialError
from tests.workers.sdk.test_database_session import session


def test_its_driver_dials_the_judged_address():
    assert session("mssql").arguments() | {"password": "p"} == {
        "server": "10.9.8.7", "port": "1433", "user": "u", "password": "p", "database": "d", "login_timeout": 7,
        "timeout": 35, "encryption": "require", "appname": "easyalert-agent", "charset": "UTF-8", "autocommit": True,
    }  # fmt: skip
    assert session("mssql", sslMode="disable").arguments()["encryption"] == "off"


def test_sql_servers_driver_cannot_verify_and_does_not_pretend_to():
    for mode in ("verify-ca", "verify-full", "anything"):
        with pytest.raises(CredentialError, match="cannot verify"):
            session("mssql", sslMode=mode).arguments()
