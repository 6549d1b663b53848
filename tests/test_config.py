import json
import os
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config import Loaded, Settings, load
from edge_agent.config.catalog import all_keys
from edge_agent.config.explain import explain, explain_all, plain
from edge_agent.config.lines import key_lines
from edge_agent.config.origin import dotted
from edge_agent.config.reference import PAGE_FILE, SCHEMA_FILE, page_with_tables, schema_text
from edge_agent.errors import ConfigError, ExitCode
from edge_agent.password import read_password
from edge_agent.readers.aids import DEFAULT_AID

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "config" / "edge-agent.toml"
SMALL = '[terminal]\nid = "t-1"\nfleet = "f"\n[uplink]\nhost = "localhost"\n'


def write(folder: Path, text: str, name: str = "agent.toml") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(path: Path, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, env or {})
    assert caught.value.exit_code == ExitCode.CONFIG == 78
    assert all(line.isprintable() for line in caught.value.problems)
    return caught.value.problems


# --- the sample file, the schema and the page are complete ---


def sample_with_all_keys() -> str:
    return re.sub(r"(?m)^#(?=[a-z_]+ = |\[\[)", "", SAMPLE.read_text(encoding="utf-8"))


def keys_of(values: dict[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for section, value in values.items():
        assert isinstance(value, dict | list)
        for table in value if isinstance(value, list) else [value]:
            prefix = f"{section}[]" if isinstance(value, list) else section
            for key, item in table.items():
                found.setdefault(f"{prefix}.{key}", item)
    return found


def test_the_sample_file_holds_exactly_the_keys_of_the_model() -> None:
    assert set(keys_of(tomllib.loads(sample_with_all_keys()))) == set(all_keys())


def test_the_sample_file_loads_as_it_is_and_with_every_key_switched_on(tmp_path: Path) -> None:
    load(SAMPLE, {})
    load(write(tmp_path, sample_with_all_keys()), {})


def siblings(name: str) -> set[str]:
    return {key for key in all_keys() if key.rpartition(".")[0] == name.rpartition(".")[0]}


def test_the_sample_file_shows_the_defaults() -> None:
    in_effect = keys_of(tomllib.loads(SAMPLE.read_text(encoding="utf-8")))
    shown = keys_of(tomllib.loads(sample_with_all_keys()))
    for name, key in all_keys().items():
        if key.required:
            # A list that is left out as a whole needs none of its keys.
            assert name in in_effect or (name in shown and not set(in_effect) & siblings(name)), name
        elif key.default is None:
            assert name not in in_effect
        else:
            assert shown[name] == plain(key.default), name


def test_every_key_of_the_sample_file_has_a_comment_above_it() -> None:
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    for above, line in pairwise(lines):
        if re.match(r"#?[a-z_]+ = ", line) and not line.startswith("#key ="):
            assert above.startswith("# "), line


def test_every_key_has_a_description_and_says_what_is_expected() -> None:
    for key in all_keys().values():
        assert key.description.endswith("."), key.name
        assert key.expects not in {"", "text"}, key.name
        assert "None" not in key.expects, key.name


def test_schema_and_reference_page_are_those_of_the_models() -> None:
    how = "run `python -m edge_agent.config.reference`"
    assert (ROOT / SCHEMA_FILE).read_text(encoding="utf-8") == schema_text(), how
    page = (ROOT / PAGE_FILE).read_text(encoding="utf-8")
    assert page == page_with_tables(page), how


def test_the_schema_accepts_the_sample_and_refuses_a_wrong_key() -> None:
    validator = jsonschema.Draft202012Validator(json.loads(schema_text()))
    values = tomllib.loads(sample_with_all_keys())
    validator.validate(values)
    values["uplink"]["hots"] = "x"
    assert not validator.is_valid(values)


def test_names_fixed_by_the_design_stay(tmp_path: Path) -> None:
    assert set(Settings.model_fields) == {
        "terminal", "readers", "exchange", "tickets", "tags", "limits", "token", "keys", "outbox",
        "uplink", "screens", "brightness", "campaigns", "player", "control", "clock", "logging", "receiver",
    }  # fmt: skip
    made = load(write(tmp_path, SMALL), {}).settings
    assert made.token.ttl == 90
    assert made.exchange.aids == (DEFAULT_AID.hex().upper(),)
    assert made.uplink.confirm == "receiver"
    assert str(made.outbox.path) == "/var/lib/edge-agent/outbox.db"


# --- sources and origins ---


def test_later_sources_win_key_by_key_and_each_value_knows_its_place(tmp_path: Path) -> None:
    main = write(tmp_path, SMALL + "keepalive_s = 30\nwindow = 5\n")
    drop_ins = tmp_path / "agent.toml.d"
    write(drop_ins, "[uplink]\nkeepalive_s = 31\n", "20-late.toml")
    write(drop_ins, "# first\n[uplink]\nkeepalive_s = 32\nhost = 'b.example'\n", "10-early.toml")
    write(drop_ins, "not toml at all", "README")
    write(drop_ins, "not toml at all", ".hidden.toml")
    loaded = load(main, {"EDGE_AGENT__UPLINK__WINDOW": "7", "EDGE_AGENT_OTHER": "x"})
    assert (loaded.settings.uplink.keepalive_s, loaded.settings.uplink.window) == (31, 7)

    [item] = explain(loaded, "uplink.keepalive_s")
    assert str(item.origin) == f"{drop_ins}/20-late.toml:2"
    assert [(str(origin), value) for origin, value in item.replaced] == [
        (f"{main}:6", 30),
        (f"{drop_ins}/10-early.toml:3", 32),
    ]
    assert str(explain(loaded, "uplink.window")[0].origin) == "environment EDGE_AGENT__UPLINK__WINDOW"
    assert str(explain(loaded, "uplink.host")[0].origin) == f"{drop_ins}/10-early.toml:4"
    assert str(explain(loaded, "token.ttl")[0].origin) == "default"


def test_a_list_replaces_a_list_and_the_environment_changes_one_item(tmp_path: Path) -> None:
    reader = '[[readers]]\ndriver = "pn532"\nname = "{0}"\ndevice = "/dev/{0}"\n'
    main = write(tmp_path, SMALL + reader.format("a") + reader.format("b"))
    drop_in = write(tmp_path / "agent.toml.d", reader.format("c"), "x.toml")
    env = {
        "EDGE_AGENT__READERS__0__BAUD": "9600",
        "EDGE_AGENT__READERS__1__DRIVER": "simulated",
        "EDGE_AGENT__READERS__1__NAME": "123",
        "EDGE_AGENT__EXCHANGE__AIDS": '["1122334455", "aabbccddee"]',
        "EDGE_AGENT__EXCHANGE__AIDS__1": "1112131415",
    }
    loaded = load(main, env)
    assert [reader.name for reader in loaded.settings.readers] == ["c", "123"]
    assert loaded.settings.exchange.aids == ("1122334455", "1112131415")
    origins = {item.key: str(item.origin) for item in explain_all(loaded)}
    assert origins["readers[0].device"] == f"{drop_in}:4"
    assert origins["readers[0].baud"] == "environment EDGE_AGENT__READERS__0__BAUD"
    assert origins["readers[1].poll_ms"] == "default"
    assert {item.key for item in explain(loaded, "readers.1.name")} == {"readers[1].name"}
    assert {item.key for item in explain(loaded, "readers.name")} == {"readers[0].name", "readers[1].name"}
    assert explain(loaded, "readers.nam") == []


def test_what_a_replaced_list_said_is_forgotten(tmp_path: Path) -> None:
    main = write(tmp_path, SMALL + '[[readers]]\ndriver = "pn532"\ndevice = "/dev/a"\nbaud = 9600\n')
    write(tmp_path / "agent.toml.d", '[[readers]]\ndriver = "pn532"\ndevice = "/dev/b"\n', "x.toml")
    [baud] = explain(load(main, {}), "readers[0].baud")
    assert (baud.value, str(baud.origin), baud.replaced) == (115200, "default", ())


@pytest.mark.parametrize(
    ("text", "value"),
    [("000123", "000123"), ("123", "123"), ("true", "true"), ('"quoted"', "quoted"), ("a-b", "a-b")],
)
def test_text_in_the_environment_needs_no_quotes(tmp_path: Path, text: str, value: str) -> None:
    assert load(write(tmp_path, SMALL), {"EDGE_AGENT__TERMINAL__ID": text}).settings.terminal.id == value


def test_a_variable_cannot_smuggle_in_a_second_statement(tmp_path: Path) -> None:
    [problem] = problems_of(write(tmp_path, SMALL), {"EDGE_AGENT__TOKEN__TTL": "5\n[uplink]\ntls = false"})
    assert "EDGE_AGENT__TOKEN__TTL: [token.ttl] got " in problem


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ({"EDGE_AGENT__TOKEN": "5"}, "names no key"),
        ({"EDGE_AGENT__": "5"}, "names no key"),
        ({"EDGE_AGENT__TOKEN____TTL": "5"}, "names no key"),
        ({"EDGE_AGENT__READERS__3__NAME": "x"}, "there are 0 items, expected a number from 0 to 0"),
        ({"EDGE_AGENT__TOKEN__TTL": "x" * 5000}, "longer than"),
        ({"EDGE_AGENT__UPLINK__HOST__X": "x"}, "expected the name of a key"),
        ({"EDGE_AGENT__TOKEN__TLL": "5"}, "[token.tll] unknown key, did you mean `ttl`?"),
    ],
)
def test_a_variable_that_names_no_key_is_an_error(tmp_path: Path, env: dict[str, str], problem: str) -> None:
    [line] = problems_of(write(tmp_path, SMALL), env)
    assert line.startswith(f"environment {next(iter(env))}: ")
    assert problem in line


# --- errors ---


def test_all_mistakes_are_told_at_once_with_file_line_key_and_expectation(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
[terminal]
id = "UPPER"
flet = "x"
[[readers]]
driver = "pn533"
[[readers]]
driver = "pn532"
devise = 3
baud = 9601
[exchange]
aids = [
  "A0000000031010",
  "zz",
]
[token]
ttl = "90"
[uplink]
port = true
password = "geheim"
[tokens]
[outbox]
path = "relative.db"
""",
    )
    drivers = '"pn532", "pcsc", "serial" or "simulated"'
    port = "an absolute path, or usb:VENDOR:PRODUCT[:SERIAL] in hexadecimal as `lsusb` shows it"
    aid = "5 to 16 bytes in hexadecimal, never an application of a payment system"
    reason = "A0000000031010 belongs to Visa; use the AID that your own phone app registers"
    password = "passwords are never written here, expected `password_file` with the name of a file"
    level = '"debug", "info", "warning" or "error"'
    assert problems_of(path, {"EDGE_AGENT__TOKEN": "5", "EDGE_AGENT__LOGGING__LEVEL": "loud"}) == [
        "environment EDGE_AGENT__TOKEN: names no key, expected EDGE_AGENT__SECTION__KEY",
        f'{path}:3: [terminal.id] got "UPPER", expected 1 to 24 characters of a-z, 0-9 and -',
        f"{path}:2: [terminal.fleet] is missing, expected 1 to 24 characters of a-z, 0-9 and -",
        f"{path}:4: [terminal.flet] unknown key, did you mean `fleet`?",
        f'{path}:6: [readers[0].driver] got "pn533", expected {drivers}',
        f"{path}:7: [readers[1].device] is missing, expected {port}",
        f"{path}:10: [readers[1].baud] got 9601, expected 9600, 19200, 38400, 57600, 115200, 230400, 460800 or 921600",
        f"{path}:9: [readers[1].devise] unknown key, did you mean `device`?",
        f'{path}:12: [exchange.aids[0]] got "A0000000031010" ({reason}), expected {aid}',
        f'{path}:12: [exchange.aids[1]] got "zz", expected {aid}',
        f'{path}:17: [token.ttl] got "90", expected a whole number from 1 to 120',
        f'{path}:23: [outbox.path] got "relative.db", expected an absolute path',
        f"{path}:18: [uplink.host] is missing, expected a host name or IP address, without scheme and port",
        f"{path}:19: [uplink.port] got true, expected a whole number from 1 to 65535",
        f"{path}:20: [uplink.password] unknown key: {password}",
        f'environment EDGE_AGENT__LOGGING__LEVEL: [logging.level] got "loud", expected {level}',
        f"{path}:21: [tokens] unknown section, did you mean `token`?",
    ]


def test_an_empty_file_lacks_what_must_be_set(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    assert [line.split(" is missing")[0] for line in problems_of(path)] == [
        f"{path}: [terminal.id]",
        f"{path}: [terminal.fleet]",
        f"{path}: [uplink.host]",
    ]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ('password_file = "/x"', "`password_file` needs `username`"),
        ('tls = true\ncert = "/x"', "`cert` and `key` belong together"),
        ('ca = "/x"', "write `tls = true`"),
        ("backoff_base_s = 5\nbackoff_cap_s = 1", "`backoff_cap_s` is smaller"),
        ("protocol = 3", "[uplink.protocol] got 3, expected 5 or 4"),
        ("keepalive_s = 1e300", "expected a whole number from 5 to 3600"),
        ("connect_timeout_s = nan", "expected a number from 0.5 to 120"),
        ("window = 0xffffffffffffffffffffffffffffffff", "got a huge number, expected a whole number from 1 to 100"),
        ("keepalive_s = 2026-01-01", "got 2026-01-01, expected a whole number"),
        ("keepalive_s = [1]", "got a list of 1, expected"),
        ("keepalive_s.x = 1", "got a table, expected"),
        ('"a\\nb\\u001b" = 1', r"[uplink.a\nb\x1b] unknown key"),
        ("[[token]]", "[token] got a list of 1, expected a table [token]"),
        ("[readers]\na = 1", "[readers] got a table, expected tables [[readers]]"),
        ("[[readers]]\nname = 'x'", 'driver] is missing, expected "pn532", "pcsc", "serial" or "simulated"'),
        (
            "[[readers]]\ndriver = 'serial'\ndevice = '/dev/a'\ncards = 'ignore'",
            'sees cards only, and cards = "ignore" ignores them',
        ),
        (
            "[[readers]]\ndriver = 'serial'\ndevice = '/dev/a'\nprofile = 'aa_bb'\nprefix = 'x'",
            '`prefix` belongs to profile = "ascii_line", not to "aa_bb"',
        ),
        (
            "[[readers]]\ndriver = 'serial'\ndevice = '/dev/a'\nprofile = 'aa_bb'\nmin_length = 2",
            '`min_length` belongs to profile = "ascii_line", not to "aa_bb"',
        ),
        (
            "[[readers]]\ndriver = 'serial'\ndevice = '/dev/a'\npoll_ms = 75",
            '`poll_ms` belongs to profile = "acs_ccid", not to "ascii_line"',
        ),
        ("[[readers]]\ndriver = 'pcsc'\npoll_ms = 75", "no such key, only pn532 or serial or simulated"),
        ("[[readers]]\ndriver = 'pcsc'\n[[readers]]\ndriver = 'pcsc'\nname = 'b'", "each of them needs `reader`"),
        (
            "[[readers]]\ndriver = 'pcsc'\nreader = 'ACR1252'\n[[readers]]\ndriver = 'pcsc'\nname = 'b'",
            "each of them needs `reader`",
        ),
        (
            "[[readers]]\ndriver = 'pcsc'\nreader = 'HID 5'\n[[readers]]\ndriver = 'pcsc'\nname = 'b'\nreader = 'hid'",
            'what `reader = "HID 5"` fits, `reader = "hid"` fits, too',
        ),
        ("[[readers]]\ndriver = 'pn532'\ndevice = 'usb:4x3:6001'", 'got "usb:4x3:6001" (a USB port is usb:VENDOR'),
        (
            "[[readers]]\ndriver = 'pn532'\ndevice = '/dev/a'\nannotation = '6A0'",
            "expected 1 to 32 bytes in hexadecimal",
        ),
        ("[[tags]]\ndriver = 'ntag_i2c'\nbus = '/dev/i2c-1'", "[[tags]] need `host` in [tickets]"),
        ("[tickets]\nhost = 'https://t.example.net'", "expected a host name in lower case"),
        ("[tickets]\nhost = 't.example.net'\n[[tags]]\ndriver = 'qr'", "need a page to stand on"),
        (
            "[tickets]\nhost = 't.example.net'\nttl = 20\n[[tags]]\ndriver = 'qr'\n[[screens]]\ndriver = 'web'",
            "`rotate_s` is more than half of `ttl`",
        ),
        ("[exchange]\naids = []", "[exchange.aids] got a list of 0, expected a list"),
        ("[[screens]]\ndriver = 'web'\n[[screens]]\ndriver = 'web'", "use twice: the port 8787"),
        ("[[readers]]\ndriver = 'simulated'\n[[readers]]\ndriver = 'simulated'", "use twice: the name `nfc0`"),
        (
            "[[readers]]\ndriver='pn532'\ndevice='/dev/a'\n[[screens]]\ndriver='serial'\ndevice='/dev/a'",
            "use twice: the device /dev/a",
        ),
    ],
)
def test_each_mistake_has_one_clear_line(tmp_path: Path, more: str, problem: str) -> None:
    [line] = problems_of(write(tmp_path, SMALL + more + "\n"))
    assert problem in line


@pytest.mark.parametrize("host", ["mqtt://broker", "broker:1883", "a b", "", "-a", "a..b", "mqtt://me:geheim@broker"])
def test_a_host_is_a_host(tmp_path: Path, host: str) -> None:
    [line] = problems_of(write(tmp_path, SMALL), {"EDGE_AGENT__UPLINK__HOST": host})
    assert "without scheme and port" in line
    assert "geheim" not in line


@pytest.mark.parametrize(
    ("host", "tls", "uses_tls", "port"),
    [
        ("broker.example", None, True, 8883),
        ("10.0.0.1", None, True, 8883),
        ("broker.example", False, False, 1883),
        ("localhost", None, False, 1883),
        ("127.0.0.9", None, False, 1883),
        ("::1", None, False, 1883),
        ("localhost", True, True, 8883),
        ("localhost.example.net", None, True, 8883),
    ],
)
def test_tls_is_on_but_for_loopback_or_by_order(
    tmp_path: Path, host: str, tls: bool | None, uses_tls: bool, port: int
) -> None:
    env = {"EDGE_AGENT__UPLINK__HOST": host} | ({} if tls is None else {"EDGE_AGENT__UPLINK__TLS": str(tls).lower()})
    uplink = load(write(tmp_path, SMALL), env).settings.uplink
    assert (uplink.uses_tls, uplink.effective_port) == (uses_tls, port)


def test_a_file_that_cannot_be_used_is_one_clear_error(tmp_path: Path) -> None:
    directory = tmp_path / "dir.toml"
    directory.mkdir()
    fifo = tmp_path / "fifo.toml"
    os.mkfifo(fifo)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# ok\n# caf\xe9\n")
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    huge = write(tmp_path, "#" * (256 * 1024 + 1), "huge.toml")
    for path, text in {
        tmp_path / "absent.toml": " cannot be read: No such file or directory",
        loop: " cannot be read: Too many levels of symbolic links",
        directory: " is a directory, expected a TOML file",
        fifo: " is no regular file, expected a TOML file",
        latin: ":2 is not UTF-8 text (byte 0xe9), expected a TOML file",
        huge: " is larger than 256 KiB, expected a configuration file",
        tmp_path / "nul\0": " cannot be read: the name is not valid",
    }.items():
        with pytest.raises(ConfigError) as caught:
            load(path, {})
        assert caught.value.problems == [f"{path}{text}"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[terminal]\nid = \n", ":2 column 6 is not valid TOML: "),
        ("[terminal\n", ":1 column 10 is not valid TOML: "),
        ("a = 1\na = 2\n", ":2 column 6 is not valid TOML: "),
        ("a = " + "[" * 5000 + "]" * 5000, " is nested too deeply"),
        ("a." * 5000 + "a = 1", " is nested too deeply"),
        ("a = " + "9" * 5000, " is not valid TOML: "),
        ('x = """\nnever closed\n', ":2 is not valid TOML: "),
    ],
    ids=["value", "header", "twice", "deep list", "deep table", "digits", "string"],
)
def test_a_syntax_error_carries_line_and_column(tmp_path: Path, text: str, problem: str) -> None:
    path = write(tmp_path, text)
    [line] = problems_of(path)
    assert line.startswith(f"{path}{problem}")


def test_broken_drop_ins_are_told_together(tmp_path: Path) -> None:
    main = write(tmp_path, SMALL)
    folder = tmp_path / "agent.toml.d"
    write(folder, "a = ", "a.toml")
    write(folder, "b = ", "b.toml")
    assert [line.split(" is ")[0] for line in problems_of(main)] == [f"{folder}/a.toml:1", f"{folder}/b.toml:1"]


# --- line numbers ---


def test_lines_of_keys_tables_and_list_items() -> None:
    text = '# c\n\n[a]\nb = """\n[x]\ny = 1\n"""\nc.d = 2\n[[l]]\ne = [\n 1,\n 2,\n]\n[[l]]\n[l.m]\nf = 1\r\n["q.r"]\n'
    lines = {dotted(path): line for path, line in key_lines(text).items()}
    assert lines == {
        "a": 3, "a.b": 4, "a.c": 8, "a.c.d": 8,
        "l": 9, "l[0]": 9, "l[0].e": 10, "l[0].e[0]": 10, "l[0].e[1]": 10, "l[1]": 14, "l[1].m": 15, "l[1].m.f": 16,
        "q.r": 17,
    }  # fmt: skip


# --- the password ---


def test_the_password_is_the_first_line_of_a_private_file(tmp_path: Path) -> None:
    path = write(tmp_path, "geheim\n", "password")
    path.chmod(0o600)
    assert read_password(path, {}) == "geheim"


@pytest.mark.parametrize(
    ("data", "mode", "problem"),
    [
        (b"geheim", 0o644, "has mode 0644, expected 0600"),
        (b"geheim", 0o640, "has mode 0640, expected 0600"),
        (b"", 0o600, "is empty"),
        (b"\n", 0o600, "is empty"),
        (b"geheim" * 500, 0o600, "longer than 1024 bytes"),
        (b"geheim\xff", 0o600, "is not UTF-8"),
    ],
)
def test_a_bad_password_file_is_refused_without_telling_it(
    tmp_path: Path, data: bytes, mode: int, problem: str
) -> None:
    path = tmp_path / "password"
    path.write_bytes(data)
    path.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        read_password(path, {})
    assert problem in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_a_missing_password_file_is_an_error_and_a_credential_may_be_group_readable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_password(tmp_path / "none", {})
    with pytest.raises(ConfigError, match="is a directory"):
        read_password(tmp_path, {})
    path = write(tmp_path, "geheim", "mqtt")
    path.chmod(0o440)
    assert read_password(path, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "geheim"
    with pytest.raises(ConfigError):
        read_password(path, {"CREDENTIALS_DIRECTORY": "/elsewhere"})


# --- whatever is written, the answer is settings or an error ---

toml_scalars = st.one_of(
    st.booleans().map(lambda value: str(value).lower()),
    st.integers(-(10**25), 10**25).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["nan", "-inf", "2026-01-01", "07:32:00", "''", '"x"', '"/dev/x"', '"pn532"', '"web"', '"a-1"']),
    st.text(max_size=8).map(json.dumps),
)
toml_values = st.one_of(toml_scalars, st.lists(toml_scalars, max_size=3).map(lambda items: f"[{', '.join(items)}]"))
key_names = st.one_of(
    st.sampled_from(sorted({name.rsplit(".", 1)[-1] for name in all_keys()})), st.text(max_size=5).map(json.dumps)
)
headers = st.one_of(
    st.sampled_from([f"[{name}]" for name in Settings.model_fields]),
    st.sampled_from(["[[readers]]", "[[screens]]", "[[campaigns]]", "[[brightness]]", "[readers.x]", "[[token]]"]),
    st.sampled_from(["[x]", "[a.b]"]),
)
statements = st.one_of(headers, st.tuples(key_names, toml_values).map(" = ".join), st.text(max_size=20))


@pytest.fixture(scope="module")
def fuzz_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "agent.toml"


@settings(max_examples=300)
@given(base=st.sampled_from(["", SMALL]), lines=st.lists(statements, max_size=12))
def test_any_file_gives_settings_or_a_config_error(fuzz_file: Path, base: str, lines: list[str]) -> None:
    fuzz_file.write_bytes((base + "\n".join(lines)).encode("utf-8", "surrogatepass"))
    loaded = settings_or_error(fuzz_file, {})
    if loaded is not None:
        assert {item.key for item in explain_all(loaded)}


@settings(max_examples=200)
@given(
    path=st.lists(
        st.one_of(key_names, st.sampled_from([*Settings.model_fields, "0", "1", ""])), min_size=1, max_size=4
    ),
    value=st.one_of(toml_values, st.text(max_size=20)),
)
def test_any_variable_gives_settings_or_a_config_error(fuzz_file: Path, path: list[str], value: str) -> None:
    fuzz_file.write_text(SMALL, encoding="utf-8")
    settings_or_error(fuzz_file, {"EDGE_AGENT__" + "__".join(path).upper(): value})


def settings_or_error(path: Path, env: dict[str, str]) -> Loaded | None:
    try:
        return load(path, env)
    except ConfigError as error:
        problems = error.problems
    assert problems
    assert all(line.isprintable() for line in problems), problems
    return None
