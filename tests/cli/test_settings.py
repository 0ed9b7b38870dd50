"""Where a setting comes from, and what is said of one that is wrong."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from tidings import settings
from tidings.errors import Invalid
from tidings.settings import Settings


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path):
    (tmp_path / "tidings.toml").write_text('sender = "file@example.org"\nlog_format = "json"\n')
    found = settings.read({"TIDINGS_SENDER": "environment@example.org"}, tmp_path)
    assert (found.sender, found.log_format, found.log_level) == ("environment@example.org", "json", "info")


def test_the_command_line_wins_over_everything(tmp_path: Path):
    assert settings.read({"TIDINGS_HOME": "elsewhere"}, tmp_path, home=tmp_path / "here").home == tmp_path / "here"


def test_the_data_folders_file_is_read_before_the_working_folders(tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "tidings.toml").write_text('sender = "home@example.org"')
    (tmp_path / "tidings.toml").write_text('sender = "working@example.org"')
    assert settings.read({"TIDINGS_HOME": str(home)}, tmp_path).sender == "home@example.org"
    assert settings.read({}, tmp_path).sender == "working@example.org"


def test_paths_in_the_file_are_relative_to_the_file(tmp_path: Path):
    (tmp_path / "tidings.toml").write_text('home = "data"')
    assert settings.read({}, tmp_path).home == tmp_path / "data"


def test_an_empty_variable_counts_as_not_set(tmp_path: Path):
    assert settings.read({"TIDINGS_PUBLIC_URL": "", "TIDINGS_SECRET_KEY": ""}, tmp_path) == Settings()


@pytest.mark.parametrize(("text", "meant"), [("true", True), ("1", True), ("YES", True), ("false", False), ("0", False), ("off", False)])
def test_booleans_are_read_as_people_write_them(text: str, meant: bool, tmp_path: Path):
    assert settings.read({"TIDINGS_WEBHOOKS_ALLOW_PRIVATE": text}, tmp_path).webhooks_allow_private is meant


def test_without_a_database_url_it_is_sqlite_in_the_data_folder(tmp_path: Path):
    found = settings.read({"TIDINGS_HOME": "data"}, tmp_path)
    assert found.database == "sqlite:///data/tidings.db"
    assert found.embedded
    assert not settings.read({"TIDINGS_DATABASE_URL": "postgresql://host/name"}, tmp_path).embedded


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("TIDINGS_PUBLIC_ULR", "x", "There is no setting TIDINGS_PUBLIC_ULR (did you mean TIDINGS_PUBLIC_URL?)."),
        ("TIDINGS_LOG_LEVEL", "loud", "TIDINGS_LOG_LEVEL is wrong: it is debug, info, warning or error."),
        ("TIDINGS_MIGRATE", "perhaps", "TIDINGS_MIGRATE is wrong: it is true or false."),
        ("TIDINGS_DATABASE_POOL", "many", "TIDINGS_DATABASE_POOL is wrong: it is a whole number from 2 to 500."),
        ("TIDINGS_DATABASE_POOL", "1", "TIDINGS_DATABASE_POOL is wrong: it is a whole number from 2 to 500."),
        ("TIDINGS_DATABASE_URL", "mysql://x", "TIDINGS_DATABASE_URL must begin with sqlite:/// or postgresql://."),
        ("TIDINGS_PUBLIC_URL", "example.org", "TIDINGS_PUBLIC_URL must begin with http:// or https://."),
        ("TIDINGS_STORAGE_URL", "/srv/blobs", "TIDINGS_STORAGE_URL must begin with file:/// or s3://."),
        ("TIDINGS_SMTP_URL", "mail.example.org", "TIDINGS_SMTP_URL must begin with smtp:// or smtps://, or be sandbox:."),
        ("TIDINGS_SECRET_KEY", "short", "TIDINGS_SECRET_KEY must have at least 16 characters."),
        (
            "TIDINGS_DKIM_DOMAIN",
            "example.org",
            "DKIM needs all three: TIDINGS_DKIM_DOMAIN, TIDINGS_DKIM_SELECTOR and TIDINGS_DKIM_KEY_FILE.",
        ),
    ],
)
def test_a_wrong_setting_is_named_in_one_sentence(variable: str, value: str, sentence: str, tmp_path: Path):
    with pytest.raises(Invalid) as refused:
        settings.read({variable: value}, tmp_path)
    assert refused.value.message == sentence


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('publc_url = "x"', "{file} has an unknown setting 'publc_url' (did you mean public_url?)."),
        ("database_pool = 1.5", "database_pool in {file} is wrong: it is a whole number from 2 to 500."),
        ('migrate = "no"', None),
        ("home = 3", "home in {file} must be a path."),
        ("sender =", "{file} cannot be read: Invalid value (at end of document)."),
    ],
)
def test_a_wrong_file_is_named_too(line: str, sentence: str | None, tmp_path: Path):
    file = tmp_path / "tidings.toml"
    file.write_text(line)
    if sentence is None:
        assert settings.read({}, tmp_path).migrate is False
        return
    with pytest.raises(Invalid) as refused:
        settings.read({}, tmp_path)
    assert refused.value.message == sentence.format(file=file)


def test_variables_of_the_test_suite_are_nobody_elses(tmp_path: Path):
    assert settings.read({"TIDINGS_TEST_REQUIRE_ALL": "1"}, tmp_path) == Settings()


def test_every_setting_is_explained():
    assert all(explanation.endswith(".") for _, _, explanation in settings.described())
    assert [name for name, _, _ in settings.described()] == [f"TIDINGS_{field.upper()}" for field in Settings.__struct_fields__]


def test_the_secret_key_is_made_once_and_is_its_owners_alone(tmp_path: Path):
    fresh = Settings(home=tmp_path / "data")
    secret = settings.secret_key(fresh)
    assert len(secret) == 64
    assert settings.secret_key(fresh) == secret
    assert (tmp_path / "data" / "secret.key").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path / "data") == ["secret.key"]


def test_whoever_starts_at_the_same_moment_gets_the_same_secret_key(tmp_path: Path):
    fresh = Settings(home=tmp_path)
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: settings.secret_key(fresh), range(32)))) == 1


def test_a_secret_key_from_the_environment_leaves_no_file(tmp_path: Path):
    given = Settings(home=tmp_path, secret_key="sixteen letters!")
    assert settings.secret_key(given) == b"sixteen letters!"
    assert os.listdir(tmp_path) == []


def test_a_damaged_secret_key_is_not_replaced(tmp_path: Path):
    (tmp_path / "secret.key").write_text("")
    with pytest.raises(Invalid, match="shorter than 16 characters; restore it"):
        settings.secret_key(Settings(home=tmp_path))


def test_settings_do_not_change():
    with pytest.raises(AttributeError):
        Settings().sender = "x"  # pyright: ignore[reportAttributeAccessIssue]
    assert msgspec.structs.replace(Settings(), sender="x@y.example").sender == "x@y.example"
