from __future__ import annotations

import json

from bench import redact
from easyalert.redact import Redactor


def test_usual_output_passes_at_two_megabytes_a_second_and_none_is_far_slower():
    figures = redact.measure(400_000)
    json.dumps(figures)
    rates = figures["megabytesPerSecond"]
    assert rates["log lines"] > 2
    assert min(rates.values()) > 0.2
    assert all(name in redact.table(figures) for name in rates)


def test_the_measured_outputs_are_what_they_are_called():
    secrets = redact.usual_secrets()
    assert len(secrets[0].splitlines()) == 52
    for name, make in redact.OUTPUTS.items():
        redactor = Redactor(secrets)
        redactor.text("\n".join(make(secrets) for _ in range(50)))
        assert (redactor.count > 0) == (name == "secrets everywhere"), name
