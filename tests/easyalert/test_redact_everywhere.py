"""Every spelling of secrets drawn at random, in every place they could leave by, cut at every byte: none gets out."""

import json
import logging
import random

import pytest

from easyalert.logs import configure_logging, hidden_in_logs
from easyalert.redact import REPLACEMENT, Redactor
from easyalert.spellings import spellings
from workers.sdk.result import envelope, failure

ALPHABETS = {
    "letters": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    "signs": "aZ09!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ ",
    "unicode": "aé漢字ßЖ💡ü'\"\\",
    "repeats": "ab",
    "controls": "x\t\x1b\x07y\x7f",
}
MARK = REPLACEMENT.encode()


def secret_of(kind, rng):
    return "".join(rng.choices(ALPHABETS[kind], k=rng.randint(8, 24))).strip().ljust(6, "q")


def key_of(rng):
    lines = ["".join(rng.choices(ALPHABETS["letters"] + "+/", k=64)) for _ in range(6)]
    return "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----", ""])


def gone(form, clean):
    return form not in clean.replace(MARK, b"\0")


@pytest.fixture(
    params=[(kind, seed) for kind in ALPHABETS for seed in (1, 2)], ids=lambda param: f"{param[0]}-{param[1]}"
)
def secret(request):
    kind, seed = request.param
    return secret_of(kind, random.Random(f"{kind} {seed}"))


def test_every_spelling_cut_at_every_byte_of_a_stream(secret):
    redactor = Redactor([secret])
    for form in spellings(secret):
        data = b"<" + form + b">!" + form
        clean = redactor.data(data)
        assert gone(form, clean)
        for cut in range(len(data) + 1):
            stream = redactor.stream()
            assert stream.feed(data[:cut]) + stream.feed(data[cut:]) + stream.finish() == clean, (form, cut)
        stream = redactor.stream()
        assert b"".join(stream.feed(data[at : at + 1]) for at in range(len(data))) + stream.finish() == clean


@pytest.mark.parametrize("seed", range(2))
def test_every_kind_of_piece_of_a_long_secret_cut_anywhere(seed):
    rng = random.Random(seed)
    key = key_of(rng)
    redactor = Redactor([key])
    for form in rng.sample(sorted(spellings(key)), 150):
        data = b"<" + form + b">"
        clean = redactor.data(data)
        assert gone(form, clean)
        for cut in rng.sample(range(len(data) + 1), 8):
            stream = redactor.stream()
            assert stream.feed(data[:cut]) + stream.feed(data[cut:]) + stream.finish() == clean


def texts_of(secret):
    """The spellings that are text: those in other character sets reach a text as something else."""
    found = []
    for form in spellings(secret):
        try:
            found.append(form.decode())
        except UnicodeDecodeError:
            continue
    assert len(found) > 20
    return found


def test_every_spelling_in_texts_and_trees(secret):
    for form in texts_of(secret):
        redactor = Redactor([secret])
        assert gone(form.encode(), redactor.text(f"<{form}>").encode())
        tree = redactor.tree({"k": [form, {form: (form, 1)}], form: None})
        leaves = [tree["k"][0], *tree["k"][1], *[value[0] for value in tree["k"][1].values()], *tree]
        assert all(gone(form.encode(), leaf.encode()) for leaf in leaves)
        assert redactor.count >= 5


def test_every_spelling_in_results_and_their_errors_and_the_count_is_there(secret):
    for form in texts_of(secret):
        redactor = Redactor([secret])
        recorded = envelope("job_1", failure(f"no: {form}", output={"stdout": form, form: "x"}), redactor, 1)
        assert gone(form.encode(), recorded["error"].encode())
        assert all(gone(form.encode(), str(part).encode()) for pair in recorded["output"].items() for part in pair)
        assert recorded["output"]["redactions"] == redactor.count >= 3


@pytest.fixture
def written(capsys):
    """What the log has written to stderr so far."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers.clear()
    yield lambda: capsys.readouterr().err
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def fail(error, cause=None):
    raise error from cause


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_every_spelling_in_log_records_and_exceptions(secret, written, monkeypatch, log_format):
    monkeypatch.setenv("EASYALERT_LOG_FORMAT", log_format)
    configure_logging("workers", "DEBUG")
    log = logging.getLogger("easyalert.test")
    forms = [form for form in texts_of(secret) if form.isprintable()]
    with hidden_in_logs(Redactor([secret])):
        for form in forms:
            try:
                fail(OSError(5, f"for {form}"), cause=ValueError(f"given {form} {[secret]}"))
            except OSError:
                # not `[form]`: the spelling of a spelling is found for JSON only
                log.exception("message %s %r", form, [secret], extra={"given": {"k": secret}})
    text = written()
    assert text.count(REPLACEMENT) >= len(forms)
    for form in forms:
        for shown in {form, json.dumps(form)[1:-1]}:
            assert gone(shown.encode(), text.encode()), shown
