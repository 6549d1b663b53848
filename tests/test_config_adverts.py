"""Campaigns, player, brightness and the languages of the screens: what is taken, and one clear line for what is not."""

from pathlib import Path

import pytest

from edge_agent.config import Settings, load
from edge_agent.config.explain import explain
from edge_agent.errors import ConfigError

SMALL = '[terminal]\nid = "t-1"\nfleet = "f"\n[uplink]\nhost = "localhost"\n'
FIRST = SMALL.count("\n") + 1
"""The line on which what a test adds begins."""


def loaded(folder: Path, more: str, env: dict[str, str] | None = None) -> Settings:
    path = folder / "agent.toml"
    path.write_text(SMALL + more, encoding="utf-8")
    return load(path, env or {}).settings


def problems(folder: Path, more: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, more, env)
    return [line.removeprefix(f"{folder / 'agent.toml'}:") for line in caught.value.problems]


WHOLE = """
[[campaigns]]
name = "咖啡"
windows = ["mon,tue,wed 07:00-09:30", "22:00-00:00"]
text_zh = "碰一碰领咖啡券"
text_en = "Tap for a coffee"
thanks_zh = "咖啡券已到账"
thanks_en = "Your coffee is waiting"
colours = ["#FF5A36", "#ffb347"]
[[campaigns]]
name = "plain"
reward = false
enabled = false
[[brightness]]
window = "22:00-06:30"
level = 5
[player]
port = 8788
file = "/run/player/now.json"
"""


def test_a_campaign_holds_what_was_written_and_windows_are_written_in_one_way(tmp_path: Path) -> None:
    settings = loaded(tmp_path, WHOLE)
    coffee, plain = settings.campaigns
    assert (coffee.name, coffee.enabled, coffee.reward) == ("咖啡", True, True)
    assert coffee.windows == ("mon-wed 07:00-09:30", "22:00-24:00")
    assert (coffee.text_zh, coffee.text_en) == ("碰一碰领咖啡券", "Tap for a coffee")
    assert (coffee.thanks_zh, coffee.thanks_en) == ("咖啡券已到账", "Your coffee is waiting")
    assert coffee.colours == ("#ff5a36", "#ffb347")
    assert (plain.enabled, plain.reward, plain.windows, plain.text_zh, plain.colours) == (False, False, (), "", None)
    assert [(table.window, table.level) for table in settings.brightness] == [("22:00-06:30", 5)]
    assert (settings.player.port, str(settings.player.file)) == (8788, "/run/player/now.json")


def test_without_any_of_them_nothing_is_scheduled_and_no_door_is_open(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "")
    assert (settings.campaigns, settings.brightness) == ((), ())
    assert (settings.player.port, settings.player.file) == (None, None)


def test_each_setting_knows_its_place_in_these_lists_too(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(SMALL + '[[campaigns]]\nname = "a"\n[[campaigns]]\nname = "b"\nwindows = ["sat"]\n')
    known = load(path, {"EDGE_AGENT__CAMPAIGNS__0__REWARD": "false", "EDGE_AGENT__CAMPAIGNS__1__NAME": "007"})
    [windows] = explain(known, "campaigns[1].windows")
    assert (windows.value, str(windows.origin)) == (["sat"], f"{path}:{FIRST + 4}")
    assert [item.value for item in explain(known, "campaigns.name")] == ["a", "007"]
    [reward] = explain(known, "campaigns[0].reward")
    assert (reward.value, str(reward.origin)) == (False, "environment EDGE_AGENT__CAMPAIGNS__0__REWARD")


def test_all_mistakes_are_told_with_file_line_key_and_expectation(tmp_path: Path) -> None:
    more = """[[campaigns]]
nam = "x"
[[campaigns]]
name = "a"
windows = [
  "mon-fri 07:00-09:30",
  "mon-fri 7-9",
]
colours = ["#12345", "#ffb347"]
text_zh = 3
driver = "web"
[[brightness]]
window = "evening"
level = 4
[player]
fil = "/x"
file = "relative"
"""
    window = 'expected a window such as "mon-fri 07:00-09:30"'
    times = 'got "mon-fri 7-9" ("7" is no time of day: write HH:MM from 00:00 to 24:00, such as 07:00)'
    days = 'got "evening" ("evening" is no weekday: write mon, tue, wed, thu, fri, sat or sun)'
    assert problems(tmp_path, more) == [
        f"{FIRST + 12}: [brightness[0].window] {days}, {window}",
        f"{FIRST + 13}: [brightness[0].level] got 4, expected a whole number from 5 to 100",
        f"{FIRST}: [campaigns[0].name] is missing, expected 1 to 16 bytes of printable text",
        f"{FIRST + 1}: [campaigns[0].nam] unknown key, did you mean `name`?",
        f"{FIRST + 4}: [campaigns[1].windows[1]] {times}, {window}",
        f"{FIRST + 9}: [campaigns[1].text_zh] got 3, expected printable text of 0 to 60 characters",
        f'{FIRST + 8}: [campaigns[1].colours[0]] got "#12345", expected two colours, such as ["#ff5a36", "#ffb347"]',
        f"{FIRST + 10}: [campaigns[1].driver] unknown key, did you mean `readers[].driver`?",
        f'{FIRST + 16}: [player.file] got "relative", expected an absolute path',
        f"{FIRST + 15}: [player.fil] unknown key, did you mean `file`?",
    ]


@pytest.mark.parametrize(
    ("more", "line", "problem"),
    [
        (
            '[[campaigns]]\nname = "a"\n[[campaigns]]\nname = "b"\n[[campaigns]]\nname = "a"',
            5,
            "[campaigns[2].name] `a` is the name of campaigns[0] already: each has its own",
        ),
        ("[campaigns]\nname = 'a'", 0, "[campaigns] got a table, expected tables [[campaigns]]"),
        ("[[player]]\nport = 1", 0, "[player] got a list of 1, expected a table [player]"),
        ('[[campaigns]]\nname = "12345678901234567"', 1, "expected 1 to 16 bytes of printable text"),
        ('[[campaigns]]\nname = "a"\nwindows = "mon"', 2, '[campaigns[0].windows] got "mon", expected a list, each'),
        ('[[campaigns]]\nname = "a"\nwindows = [3]', 2, "[campaigns[0].windows[0]] got 3, expected a window such as"),
        ('[[campaigns]]\nname = "a"\nwindows = ["mon\\u001b"]', 2, '"mon\\x1b" is no weekday'),
        (
            f'[[campaigns]]\nname = "a"\nwindows = {["mon"] * 17}',
            2,
            'got a list of 17, expected a list, each item a window such as "mon-fri 07:00-09:30", and fewer of them',
        ),
        (
            '[[campaigns]]\nname = "a"\ncolours = ["#112233"]',
            2,
            "colours[1]] is missing, expected two colours, such as",
        ),
        (f'[[campaigns]]\nname = "a"\ntext_en = "{"x" * 61}"', 2, "expected printable text of 0 to 60 characters"),
        ('[[campaigns]]\nname = "a"\nthanks_zh = "谢谢\\n"', 2, "expected printable text of 0 to 60 characters"),
        ("[[brightness]]\nlevel = 50", 0, "[brightness[0].window] is missing, expected a window such as"),
        ("[[brightness]]\nwindow = ''\nlevel = 50", 1, 'got "" (it is empty: write days, a time or both'),
        ('[[brightness]]\nwindow = "mon"\nlevel = 101', 2, "expected a whole number from 5 to 100"),
        ("[player]\nport = 65536", 1, "expected a whole number from 0 to 65535"),
        ("[player]\nport = 8787\n[[screens]]\ndriver = 'web'", 1, "8787 is the port of a page in [[screens]] already"),
        (
            "[[screens]]\ndriver = 'web'\n[[screens]]\ndriver = 'serial'\ndevice = '/dev/a'\nlang = 'zh'",
            5,
            '[screens[1].lang] got "zh", expected "en" or "zh-CN"',
        ),
        ("[[screens]]\ndriver = 'ble'", 0, "[screens[0]] a BLE screen is found by `address` or by `name`: write one"),
        (
            "[[screens]]\ndriver = 'ble'\nname = 'a'\naddress = 'C0:FF:EE:00:12:34'",
            0,
            "[screens[0]] a BLE screen is found by `address` or by `name`: write one of them",
        ),
        ("[[screens]]\ndriver = 'ble'\naddress = 'C0-FF-EE-00-12-34'", 2, "expected a Bluetooth address, such as C0:"),
        ("[[screens]]\ndriver = 'ble'\nname = 'a'\nadapter = '/dev/hci0'", 3, "expected hciN, such as hci0"),
        ("[[screens]]\ndriver = 'ble'\nname = 'a'\nbaud = 9600", 3, "this driver has no such key, only serial"),
    ],
)
def test_each_mistake_has_one_clear_line(tmp_path: Path, more: str, line: int, problem: str) -> None:
    [told] = problems(tmp_path, more + "\n")
    assert told.startswith(f"{FIRST + line}: ")
    assert problem in told


def test_three_colours_are_one_too_many(tmp_path: Path) -> None:
    [told] = problems(tmp_path, f'[[campaigns]]\nname = "a"\ncolours = {["#112233"] * 3}\n')
    assert told.endswith('got a list of 3, expected two colours, such as ["#ff5a36", "#ffb347"]')


def test_too_many_tables_are_refused(tmp_path: Path) -> None:
    campaigns = "".join(f'[[campaigns]]\nname = "c{number}"\n' for number in range(65))
    levels = '[[brightness]]\nwindow = "mon"\nlevel = 50\n' * 9
    assert [line.partition("[")[2] for line in problems(tmp_path, campaigns + levels)] == [
        "brightness] got a list of 9, expected at most 8 tables [[brightness]]",
        "campaigns] got a list of 65, expected at most 64 tables [[campaigns]]",
    ]


def test_one_ble_screen_is_not_driven_twice(tmp_path: Path) -> None:
    screen = "[[screens]]\ndriver = 'ble'\naddress = '{}'\n"
    [line] = problems(tmp_path, screen.format("C0:FF:EE:00:12:34") + screen.format("c0:ff:ee:00:12:34"))
    assert "use twice: the BLE screen C0:FF:EE:00:12:34" in line


def test_a_free_port_for_the_player_collides_with_no_page(tmp_path: Path) -> None:
    assert loaded(tmp_path, "[player]\nport = 0\n[[screens]]\ndriver = 'web'\nport = 0\n").player.port == 0


@pytest.mark.parametrize(
    "screen",
    ["driver = 'serial'\ndevice = '/dev/a'", "driver = 'simulated'", "driver = 'web'", "driver = 'ble'\nname = 'x'"],
)
def test_every_screen_speaks_english_unless_it_is_told_otherwise(tmp_path: Path, screen: str) -> None:
    assert loaded(tmp_path, f"[[screens]]\n{screen}\n").screens[0].lang == "en"
    assert loaded(tmp_path, f"[[screens]]\n{screen}\nlang = 'zh-CN'\n").screens[0].lang == "zh-CN"
