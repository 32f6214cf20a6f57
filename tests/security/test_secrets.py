"""Secrets: refused in files and overrides, blotted out of what is printed and recorded, and nothing else is."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from mmkd.config.document import read_document
from mmkd.config.load import load
from mmkd.config.problems import ConfigError
from mmkd.data.card import CardError, read_card
from mmkd.secrets import BLOT, HiddenError, Redacting, Secrets, redacted, redacted_errors
from tiny_project import make_project, student_alone

ROOT = Path(__file__).resolve().parents[2]

# Made up; pieces are joined so that no scanner takes this file for a leak.
HEX = "0123456789abcdef" * 2 + "01234567"
IN_ENVIRONMENT = {
    "WANDB_API_KEY": HEX,
    "HF_TOKEN": "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz012345",
    "MLFLOW_TRACKING_PASSWORD": "correct-horse-battery",
    "AWS_ACCESS_KEY_ID": "AKIA" + "IOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+" + "bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzEBYaDExample//token==",
    "GITHUB_TOKEN": "ghp_" + "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8",
    "OPENAI_API_KEY": "sk-" + "proj-abcdefghijklmnopqrstuvwxyz",
}
OF_URLS = {
    "MLFLOW_TRACKING_URI": "https://tracker:swordfish99@mlflow.example.org/api",
    "HTTPS_PROXY": "http://proxy:open-sesame-7@127.0.0.1:9",
}
NETRC = "machine api.example.org login me password netrc-Pa55word\n"
REMOTE = "https://me:remote-Pa55word@git.example.org/me/project.git"
PLANTED = (*IN_ENVIRONMENT.values(), "swordfish99", "open-sesame-7", "netrc-Pa55word", "remote-Pa55word")

FORMS = {
    "a Hugging Face token": IN_ENVIRONMENT["HF_TOKEN"],
    "an AWS access key": IN_ENVIRONMENT["AWS_ACCESS_KEY_ID"],
    "a GitHub token": IN_ENVIRONMENT["GITHUB_TOKEN"],
    "a GitLab token": "glpat-" + "AbCdEfGhIjKlMnOpQrSt",
    "a Weights & Biases key": "local-" + HEX,
    "an API key": IN_ENVIRONMENT["OPENAI_API_KEY"],
    "a Slack token": "xoxb-" + "123456789012-abcdef",
    "a JSON web token": "eyJhbGciOiJI" + ".eyJzdWIiOiIxMjM0" + ".c2lnbmF0dXJl",
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
    "a URL with a password": OF_URLS["MLFLOW_TRACKING_URI"],
    "a named secret": "https://example.org/x?api_key=0a1b2c3d4e",
}

LEAKY = '''\
"""Says every secret that it can find, in every way in which a library might; and fails where it is told to."""

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Literal

import torch

from mmkd.config.plugin_base import TaskLossConfig
from mmkd.losses import base


class Config(TaskLossConfig):
    kind: Literal["my_lab.leaky"] = "my_lab.leaky"
    fail: bool = False


class Loss(base.Loss):
    def forward(self, student, teachers, batch):
        netrc = Path(os.environ["HOME"], ".netrc").read_text().split()[-1]
        remote = subprocess.run(["git", "remote", "get-url", "origin"], capture_output=True, text=True).stdout.strip()
        said = [f"{name}={value}" for name, value in os.environ.items()]
        said += [value for name, value in os.environ.items() if name in os.environ["PLANTED"].split()]
        said += [f"401 for {os.environ['MLFLOW_TRACKING_URI']}", f"login with {netrc}", f"cannot push to {remote}"]
        text = "; ".join(said)
        if self.config.fail:
            try:
                raise KeyError(text)
            except KeyError as error:
                raise RuntimeError(f"the tracker refused: {text}") from error
        print(text)
        print(text, file=sys.stderr)
        logging.getLogger("leaky").warning(text)
        warnings.warn(text)
        return student.logits["risk"][student.speaks].square().mean()
'''


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All secrets in the environment and in `.netrc`."""
    for name, value in (IN_ENVIRONMENT | OF_URLS).items():
        monkeypatch.setenv(name, value)
    (tmp_path / ".netrc").write_text(NETRC, "utf-8")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))


def found_in(text: str | bytes) -> list[str]:
    """The planted secrets that stand in a text."""
    content = text.encode() if isinstance(text, str) else text
    return [secret for secret in PLANTED if secret.encode() in content]


@pytest.mark.parametrize("kind", FORMS)
def test_a_secret_is_known_by_its_form(kind: str) -> None:
    secrets, text = Secrets.here(), f"before {FORMS[kind]} after"
    assert secrets.kind_of(text) == kind
    clean = secrets.redacted(text)
    assert BLOT in clean
    assert clean.startswith("before ")
    assert clean.endswith(" after")
    assert "MIIEow" not in clean
    assert "swordfish99" not in clean


@pytest.mark.usefixtures("planted")
def test_a_secret_is_known_by_its_value_here() -> None:
    assert len(set(PLANTED)) == 12
    for value in (*IN_ENVIRONMENT.values(), "swordfish99", "open-sesame-7", "netrc-Pa55word"):
        assert redacted(f"<{value}>") == f"<{BLOT}>", value
    assert Secrets.here().kind_of(HEX) == "the value of the environment variable WANDB_API_KEY"


@pytest.mark.parametrize(
    "text",
    [
        HEX,  # a commit
        "https://user@example.org/x:y@z",
        "https://example.org:8080/@me/x?a=b&tokens=12",
        "file:line: losses.a.token: unknown key",
        "max_tokens=12345678, pad_token='[PAD]', access_keys: 3",
        "wrote 2026-01-01T00:00:00+00:00 @me",
        "a@b: c",
        "sk-learn",
        "password: expected text",
    ],
)
def test_what_is_no_secret_stays(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT_TOKEN", "12345")
    monkeypatch.setenv("KEY", "/")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "unknown")
    monkeypatch.setenv("RAY_AUTH_MODE", "expected")
    monkeypatch.setenv("NETRC", os.devnull)
    assert redacted(text) == text
    assert Secrets.here().kind_of(text, "pad_token") is None


def test_a_folder_is_no_secret_whatever_its_variable_is_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSH_AUTH", str(tmp_path))
    assert redacted(str(tmp_path)) == str(tmp_path)


@pytest.mark.parametrize("place", ["description", "data", "options", "key", "list"])
@pytest.mark.parametrize("kind", FORMS)
def test_an_experiment_with_a_secret_is_refused(tmp_path: Path, kind: str, place: str) -> None:
    value = json.dumps(FORMS[kind])
    lines = {
        "description": f"description: {value}",
        "data": f"data: {{notes: {{card: {value}}}}}",
        "options": f"data: {{notes: {{card: a, options: {{url: {value}}}}}}}",
        "key": f"data: {{notes: {{card: a, options: {{{value}: 1}}}}}}",
        "list": f"seeds: [0, {value}]",
    }
    path = tmp_path / "experiment.yaml"
    path.write_text(f"name: a\n{lines[place]}\n", "utf-8")
    _, problems = read_document(path)
    (problem,) = problems
    assert (problem.line, problem.message.startswith(f"found {kind}; expected none")) == (2, True)
    with pytest.raises(ConfigError, match="set it in the environment") as caught:
        load(path)
    assert redacted(str(caught.value)) == str(caught.value)


@pytest.mark.parametrize("key", ["password", "api_key", "wandb_api_key", "secret", "hf_token", "token", "AUTH_TOKEN"])
def test_a_key_that_says_secret_is_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(f"name: a\ndata:\n  a: {{card: b, options: {{{key}: xyzxyz9}}}}\n", "utf-8")
    _, (problem,) = read_document(path)
    assert (problem.line, "xyzxyz9" in str(problem)) == (3, False)
    path.write_text(path.read_text("utf-8").replace("xyzxyz9", "null"), "utf-8")
    assert read_document(path)[1] == []


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("value", [HEX, FORMS["a Hugging Face token"], OF_URLS["MLFLOW_TRACKING_URI"]])
@pytest.mark.parametrize("override", ["description='{}'", "losses.a.{}=3", "data.a.options.password={}"])
def test_an_override_with_a_secret_is_refused(tmp_path: Path, override: str, value: str) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text("name: a\n", "utf-8")
    _, (problem,) = read_document(path, [override.format(value)])
    assert "found a secret; expected none" in str(problem)
    assert found_in(str(problem)) == []


def test_a_card_with_a_secret_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    url = "https://me:pa55word@example.org/set.zip"
    path.write_text(f"---\npretty_name: a\nmmkd:\n  obtain: curl {url}\n---\n", "utf-8")
    with pytest.raises(CardError, match=r"card.md:4: mmkd.obtain: found a URL with a password") as caught:
        read_card(path)
    assert "pa55word" not in str(caught.value)


def test_a_stream_blots_out_and_is_else_the_same() -> None:
    stream = io.StringIO()
    out: Any = Redacting(stream, Secrets.here())
    assert out.write(FORMS["an API key"] + "\n") == len(FORMS["an API key"]) + 1
    print("a", FORMS["a GitHub token"], file=out)
    out.writelines(["b ", FORMS["a Slack token"]])
    assert stream.getvalue() == f"{BLOT}\na {BLOT}\nb {BLOT}"
    assert out.isatty() is False


def test_an_error_with_a_secret_in_its_chain_becomes_one_without() -> None:
    secret = FORMS["a GitHub token"]
    with pytest.raises(HiddenError, match="RuntimeError: refused") as caught, redacted_errors():
        try:
            raise KeyError(secret)
        except KeyError as error:
            raise RuntimeError("refused") from error
    assert secret not in str(caught.value)
    assert secret not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(KeyError, match="plain"), redacted_errors():
        raise KeyError("plain")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project under git whose remote, home and changes hold secrets, with a plug-in that tells them all."""
    folder = make_project(tmp_path_factory.mktemp("secrets") / "project").parent
    (folder / "my_lab").mkdir()
    (folder / "my_lab" / "leaky.py").write_text(LEAKY, "utf-8")
    plain = student_alone(epochs=1)
    plain["losses"] = {"risk": plain["losses"]["risk"], "leaky": {"kind": "my_lab.leaky", "task": "risk"}}
    plain["tasks"] = {"risk": plain["tasks"]["risk"]}
    with (folder / f"tiny-{FORMS['a GitLab token']}.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(plain, file)
    for command in (["init", "-q"], ["remote", "add", "origin", REMOTE], ["add", "data_cards"]):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
    (folder.parent / ".netrc").write_text(NETRC, "utf-8")
    (folder.parent / ".netrc").chmod(0o600)
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | IN_ENVIRONMENT | OF_URLS
    environment |= {"PYTHONPATH": str(ROOT), "HOME": str(folder.parent), "PLANTED": " ".join(IN_ENVIRONMENT)}
    environment.pop("NETRC", None)
    file = f"tiny-{FORMS['a GitLab token']}.yaml"
    return subprocess.run(
        [sys.executable, "-m", "mmkd", "run", file, *arguments], cwd=folder, env=environment, capture_output=True
    )


def leaks(folder: Path, done: subprocess.CompletedProcess[bytes]) -> list[str]:
    """Where planted secrets stand: in what was printed, and in the files that the run left."""
    texts = {"stdout": done.stdout, "stderr": done.stderr}
    texts |= {str(path): path.read_bytes() for path in (folder / "results").rglob("*") if path.is_file()}
    return [f"{where}: {secret}" for where, text in texts.items() for secret in found_in(text)]


def test_a_run_prints_and_leaves_no_secret(project: Path) -> None:
    done = run(project)
    assert done.returncode == 0, done.stderr
    for stream in (done.stdout, done.stderr):
        assert stream.count(BLOT.encode()) >= len(PLANTED)  # it was said
    assert leaks(project, done) == []
    (record,) = (project / "results" / "runs").glob("*/seed0/record.json")
    assert json.loads(record.read_text("utf-8"))["command"] == f"mmkd run tiny-{BLOT}.yaml"


def test_a_run_that_breaks_off_prints_and_leaves_no_secret(project: Path) -> None:
    done = run(project, "losses.leaky.fail=true")
    assert done.returncode == 1
    assert b"RuntimeError: the tracker refused" in done.stderr
    assert b"KeyError" in done.stderr
    assert leaks(project, done) == []


def test_a_command_with_a_secret_is_refused_without_saying_it(project: Path) -> None:
    for secret in (HEX, IN_ENVIRONMENT["HF_TOKEN"], REMOTE):
        done = run(project, f"description='{secret}'")
        assert (done.returncode, b"found a secret" in done.stderr) == (2, True)
        assert leaks(project, done) == []
