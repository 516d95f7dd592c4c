"""Secrets become ``***``, everything else stays byte for byte, and no file of a run holds one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lit_llm.run_directory import write_json, write_records, write_text
from lit_llm.secrets import redact, redact_yaml, redacted
from tests.references.tiny_experiment import tiny_experiment, write_config

ROOT = Path(__file__).parents[1]
HEX = "0123456789abcdef" * 2 + "01234567"
AWKWARD = "pa\"ss/wörd +&'end"

HIDDEN = {
    "--wandb.api_key X": "--wandb.api_key ***",
    "--x.token=X --x.n 3": "--x.token=*** --x.n 3",
    "--db_password 12345678": "--db_password ***",
    "password: X": "password: ***",
    "  - client_secret: 'it''s'\n  - a: b": "  - client_secret: '***'\n  - a: b",
    '{"password": "a\\"b", "n": 1}': '{"password": "***", "n": 1}',
    '{"accessToken":"abcdefgh"}': '{"accessToken":"***"}',
    json.dumps('{"secret": "x y"}'): json.dumps('{"secret": "***"}'),
    '[\n "--x.api-key",\n "X"\n]': '[\n "--x.api-key",\n "***"\n]',
    "token: abcdefgh": "token: ***",
    "export API_KEY='a b'; ls": "export API_KEY='***'; ls",
    "Authorization: Bearer abc.def": "Authorization: ***",
    "https://user:p@ss@host/x?api_key=abc&n=1": "https://***@host/x?api_key=***&n=1",
    "postgres://:pw@host/db": "postgres://***@host/db",
    f"hf_{'aB3' * 12} ghp_{'aB3' * 12} github_pat_{'a_1' * 12}": "*** *** ***",
    f"sk-proj-{'aB3' * 12} sk-{'a1' * 16} AKIAABCDEFGHIJKLMNOP": "*** *** ***",
    f"wandb login {HEX}": "wandb login ***",
    "-----BEGIN RSA PRIVATE KEY-----\nab\ncd\n-----END RSA PRIVATE KEY-----\n": "***\n",
}
ORDINARY = [
    "tokenizer: train:100\nmax_tokens: 512\ntokens_per_batch: 2048\nlabel_key: label\n",
    "pad_token: endoftext\neos_token: </s>\nmask_token: '[MASK]'\ntoken: Bonn\nkey: value\n",
    f'"commit": "{HEX}-dirty", "sha256": "{HEX}"',
    "--model.backbone.tokenizer train:100 --data.max_tokens 5 --x.label_key gold",
    'password: null\nuse_auth: false\n"f1_secret": 0.93, "AUTH": {"f1": 1e-3},',
    "passwords:\n  nested: x\nauthor: Ann\nkeyboard: qwerty\n",
    "| val/f1_password | 0.93 |\nB-PASSWORD   1.00   0.50\n",
    "git@github.com:a/b.git https://host:8080/a@b ssh://git@host/x",
    "task-sk-learn-2-Models-of-text sk-learn-2-Models-of-text",
    "***bold*** and a rule\n***\n",
]


@pytest.mark.parametrize("text", HIDDEN)
def test_secret_is_hidden_and_the_rest_stays(text):
    assert redact(text) == HIDDEN[text]
    assert redact(HIDDEN[text]) == HIDDEN[text]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays(text):
    assert redact(text) == text


def test_configurations_and_results_stay_byte_for_byte():
    files = [ROOT / "lit_llm" / "base.yaml", *(ROOT / "configs").rglob("*.yaml")]
    files += [*(ROOT / "experiments").rglob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert len(files) > 5
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert redact(text) == text, file
        if file.suffix == ".yaml":
            assert redact_yaml(text) == text, file


def test_value_of_the_environment_is_hidden_in_every_writing(monkeypatch):
    monkeypatch.setenv("MY_PASSWORD", AWKWARD)
    for form in (AWKWARD, json.dumps(AWKWARD), json.dumps(AWKWARD, ensure_ascii=False)):
        assert redact(f"a{form}b") in ("a***b", 'a"***"b')
    assert redact("u?p=pa%22ss%2Fw%C3%B6rd%20%2B%26%27end") == "u?p=***"
    assert redact("u?p=pa%22ss%2Fw%C3%B6rd+%2B%26%27end") == "u?p=***"


@pytest.mark.parametrize("name", ["HF_TOKEN", "MY_KEY", "PGPASSWORD", "gh_token", "APP_SECRETS"])
def test_environment_variable_named_for_a_secret_is_one(monkeypatch, name):
    monkeypatch.setenv(name, "correct-horse\nbattery-staple")
    assert redact("a correct-horse, a battery-staple") == "a ***, a ***"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSH_AUTH_SOCK", "/tmp/no-such-agent"),
        ("KEYBOARD", "some-keyboard"),
        ("TOKENIZERS_PARALLELISM", "some-keyboard"),
        ("AUTH_METHOD", "kerberos-5"),
        ("GIT_AUTHOR_NAME", "Ann Other"),
        ("MY_KEY", str(ROOT)),
        ("MY_KEY", "short"),
    ],
)
def test_other_environment_variables_are_not(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert redact(f"x {value} x") == f"x {value} x"


def test_plain_data_is_hidden_by_key_and_by_flag():
    words = ["fit", "--x.token", "X", "--y.password=a b", "--data.tokenizer", "t", "--auth", "--z"]
    data = {"command": words, "passwords": ["a", "b"], "secret": 3, "auth": {"user": "u"}}
    hidden = ["fit", "--x.token", "***", "--y.password=***", *words[4:]]
    assert redacted(data) == {**data, "command": hidden, "passwords": ["***", "***"]}


def test_written_yaml_is_yaml_and_untouched_without_a_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "canary-canary")
    plain = "b: 1  # a comment\na: [x, 'y']\n"
    write_text(tmp_path / "plain.yaml", plain)
    assert (tmp_path / "plain.yaml").read_text() == plain
    text = yaml.safe_dump({"wandb": {"group": "canary-canary"}, "api_key": "x " * 60, "a": None})
    write_text(tmp_path / "config.yaml", text)
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert written == {"wandb": {"group": "***"}, "api_key": "***", "a": None}


def test_written_json_is_json_and_predictions_are_data(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", AWKWARD)
    write_json(tmp_path / "a.json", {"x": [AWKWARD, 1.5], "label_names": ["PASSWORD"]})
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "x": ["***", 1.5],
        "label_names": ["PASSWORD"],
    }
    record = {"id": "a", "text": f"password: {AWKWARD}"}
    write_records(tmp_path / "b.jsonl", [record])
    assert json.loads((tmp_path / "b.jsonl").read_text()) == record


PACKAGE = """
from lit_llm.data.conll2003 import CoNLL2003


class Guarded(CoNLL2003):
    def __init__(self, path: str, password: str, mirror: str) -> None:
        super().__init__(path)
        self.secrets = password, mirror

    def train_dataloader(self):
        print("signing in with", *self.secrets)
        return super().train_dataloader()
"""
CANARIES = {
    "HF_TOKEN": "hf_canaryOne11111111111111111",
    "WANDB_API_KEY": HEX,
    "MY_PASSWORD": 'canary two/"22"',
    "AWS_SECRET_ACCESS_KEY": "canary/Three+33333333333333333333333333",
}
ARGUMENTS = {"argument": "canary-four", "address": "canary-five", "setting": "canary-six"}


def test_no_file_of_a_run_holds_a_secret(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "guarded.py").write_text(PACKAGE)
    config = tiny_experiment(tmp_path)
    config["data"] = {
        "class_path": "guarded.Guarded",
        "init_args": {
            "path": config["data"]["init_args"]["path"],
            "mirror": f"https://ann:{ARGUMENTS['setting']}@host/x",
        },
    }
    words = ["--config", write_config(tmp_path / "a.yaml", config), "--allow_import", "guarded"]
    words += ["--data.password", ARGUMENTS["argument"], "--run_dir", str(inside / "run")]
    words += ["--wandb.group", CANARIES["MY_PASSWORD"], "--wandb.project", CANARIES["HF_TOKEN"]]
    words += [f"--wandb.tags=[https://ann:{ARGUMENTS['address']}@host, plain]"]
    places = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "LIT_LLM_CACHE", "TMPDIR")
    environment = {name: str(inside / name.lower()) for name in places}
    (inside / "tmpdir").mkdir()
    environment |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "WANDB_MODE": "offline"}
    done = subprocess.run(
        [sys.executable, "-m", "lit_llm", "fit", *words],
        env={**os.environ, **environment, **CANARIES},
        cwd=inside,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert f"signing in with {ARGUMENTS['argument']}" in done.stdout
    files = [path for path in inside.rglob("*") if path.is_file()]
    assert [path for path in files if path.suffix == ".wandb"]
    assert [path for path in files if path.name == "debug.log"]
    for path in files:
        content = path.read_bytes()
        for name, value in {**CANARIES, **ARGUMENTS}.items():
            forms = (value, json.dumps(value)[1:-1])
            assert not any(form.encode() in content for form in forms), f"{name} in {path}"
    written = yaml.safe_load((inside / "run" / "config.yaml").read_text())
    assert written["data"]["init_args"]["password"] == "***"
    assert written["wandb"]["tags"] == ["https://***@host", "plain"]
    command = json.loads((inside / "run" / "environment.json").read_text())["command"]
    assert command[command.index("--data.password") + 1] == "***"
