"""Secrets are hidden, what only looks like one is not, and only the secret part of a value goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.model import redact


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PGPASSWORD", "hunter2"),
        ("DB_PWD", "/looks/like/a/path"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("sessionToken", "z"),
        ("SENTRY_DSN", "https://abc@sentry.example/1"),
        ("HTTP_COOKIE", "id=3"),
        ("DB_PASS", "1234"),
        ("GOOGLE_CREDENTIALS", '{"private_key": "x"}'),
        ("NOTE", "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"),
        ("NOTE", "ghp_abcdefghijklmnop1234567890"),
        ("NOTE", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"),
        ("NOTE", "wJalrXUtnFEMIxK7MDENGxbPxRfiCYEXAMPLEKEY1"),
    ],
)
def test_the_whole_value_is_hidden(name, text):
    assert redact.value(name, text) == (redact.HIDDEN, True)


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("DATABASE_URL", "postgres://app:p4ss@db/loans?sslmode=require", "postgres://app:***@db/loans?sslmode=require"),
        ("DB_SECRET_URL", "postgres://app:p4ss@db/loans", "postgres://app:***@db/loans"),
        ("REDIS_URL", "redis://:pw@h:6379", "redis://:***@h:6379"),
        ("ODBC", "Server=x;Password=hunter2;User=y", "Server=x;Password=***;User=y"),
        ("PROXY", "http://u:p@proxy:3128", "http://u:***@proxy:3128"),
        ("CALLBACK", "https://x/y?a=1&token=abc&b=2", "https://x/y?a=1&token=***&b=2"),
        ("HEADER", "Authorization: Basic dXNlcjpwYXNz", "Authorization: ***"),
    ],
)
def test_only_the_secret_part_goes(name, text, shown):
    assert redact.value(name, text) == (shown, True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PWD", "/srv/app"),
        ("OLDPWD", "/srv"),
        ("PATH", "/usr/local/bin:/usr/bin"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("MAX_TOKENS", "4096"),
        ("SSH_AUTH_SOCK", "/tmp/ssh-x/agent.1"),
        ("SECRET_KEY_FILE", "/run/secrets/key"),
        ("SSL_KEYFILE", "/etc/ssl/key.pem"),
        ("GIT_AUTHOR_NAME", "Mina"),
        ("KEYBOARD", "us"),
        ("AUTH_ENABLED", "true"),
        ("INVOCATION_ID", "a3e9b9b2b1c6cfd0ef4e3d5b47c6bb4c"),
        ("PYTHON_SHA256", "a3e9b9b2b1c6cfd0ef4e3d5b47c6bb4c6ed0de1c9bd7c4d1e1c8a7b6a5f4e3d2"),
        ("LS_COLORS", "rs=0:di=01;34:ln=01;36:mh=00:pi=40;33"),
        ("URL", "http://localhost:8000/a@b"),
        ("EMPTY_SECRET", ""),
    ],
)
def test_what_is_no_secret_is_shown(name, text):
    assert redact.value(name, text) == (text, False)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("mysql --password=abc -u root", "mysql --password=*** -u root"),
        ("app --token abc --port 80", "app --token *** --port 80"),
        ("vllm serve m --max-tokens 100 --api-key k", "vllm serve m --max-tokens 100 --api-key ***"),
        ("curl -u bob:pw https://x", "curl -u bob:*** https://x"),
        ("env PGPASSWORD=x psql", "env PGPASSWORD=*** psql"),
        ("psql postgres://u:p@h/db", "psql postgres://u:***@h/db"),
        ("java -Ddb.password=x -jar a.jar", "java -Ddb.password=*** -jar a.jar"),
        ("git clone https://ghp_abcdefghijklmnop1234567890@g/x", "git clone https://***@g/x"),
        ("gunicorn --keyfile /etc/k.pem --workers 4", "gunicorn --keyfile /etc/k.pem --workers 4"),
        ("python -m http.server --password --bind x", "python -m http.server --password --bind x"),
    ],
)
def test_command_lines(line, shown):
    assert " ".join(redact.command(line.split())) == shown


def test_a_command_inside_of_a_command():
    (_, _, shown) = redact.command(["sh", "-c", "mysql --password foo -e 'select 1'; login --token=bar"])
    assert shown == "mysql --password *** -e 'select 1'; login --token=***"
    (_, shown) = redact.command(["curl", '{"api_key": "abc", "page": "1"}'])
    assert shown == '{"api_key": "***", "page": "1"}'


@given(st.lists(st.text(max_size=40), max_size=6))
def test_never_fails_and_keeps_the_number_of_arguments(argv):
    assert len(redact.command(argv)) == len(argv)


@given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1, max_size=30))
def test_a_password_never_comes_through(secret):
    if secret.lower() not in redact._TRUTH:
        assert secret not in redact.command(["app", f"--password={secret}"])[1].replace("--password=", "", 1)
        assert redact.command(["app", "--db-password", secret])[2] == redact.HIDDEN


@pytest.mark.parametrize("piece", ["a.", "-a", "a=b ", "eyJ", "x://", "-----BEGIN PRIVATE KEY-----", "a:"])
def test_a_long_command_line_takes_no_long_time(piece):
    import time

    began = time.process_time()
    redact.command([piece * (120_000 // len(piece))])
    assert time.process_time() - began < 2
