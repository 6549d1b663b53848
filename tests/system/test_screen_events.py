"""What a display says reaches a real broker: an alarm for tampering, figures in the telemetry, the status in words."""

from pathlib import Path

from edge_agent.screen_events import FAULT_ALARM, TAMPER_ALARM
from edge_agent.uplink.wire import Alarm, Health, Topics
from firmware_bridge.messages import EventCode, McuEvent
from tests.fakes.mqtt_probe import Probe
from tests.fakes.uplink_terminal import link_settings
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import FLEET, TERMINAL, whole_path


async def test_a_tampered_display_is_heard_of_at_the_broker_and_its_button_counted(tmp_path: Path) -> None:
    topics = Topics(FLEET, TERMINAL)
    async with whole_path(tmp_path, uplink__health_s=10) as path:
        terminal = path.terminal
        display, agent = terminal.display, terminal.agent
        probe = Probe(link_settings(path.port, client_id="observer"))
        await probe.up(topics.evt_alarm)

        def alarms() -> dict[str, Alarm]:
            return {alarm.code: alarm for alarm in map(Alarm.decode, probe.payloads(topics.evt_alarm))}

        await terminal.until(lambda: agent.bridge.snapshot()[0].told)
        for event in (
            McuEvent(EventCode.TAMPER),
            McuEvent(EventCode.BUTTON, b"\x01"),
            McuEvent(EventCode.AMBIENT_LIGHT, b"\x01\x2c"),
        ):
            display.raise_event(event)
        await eventually(lambda: TAMPER_ALARM in alarms())
        assert alarms()[TAMPER_ALARM].data == {"screen": "serial0"}
        assert alarms()[TAMPER_ALARM].text == "the tamper switch of serial0 says that it was opened"

        await eventually(lambda: agent._screen_events.of("serial0").lux)
        figures = Health.decode((await agent._reporter.telemetry()).encode()).figures
        assert {name: figures[name] for name in figures if name.startswith("screen_")} == {
            "screen_buttons": 1,
            "screen_tampers": 1,
            "screen_lux": 300,
            "screen_temp": 41,
        }

        # The display restarts with a fault: it is asked as soon as it is greeted again.
        display.temperature_c, display.fault_bits = 77, 0x12
        display.restart()
        await eventually(lambda: FAULT_ALARM in alarms())
        assert alarms()[FAULT_ALARM].data == {"screen": "serial0", "bits": 0x12, "new": 0x12}
        (screen,) = (await terminal.status())["screens"]
        assert (screen["state"], screen["temperature_c"], screen["faults"]) == ("up", 77, 0x12)
        assert (screen["buttons"], screen["tampers"], screen["lux"]) == (1, 1, 300)
        assert screen["confirmed"] <= screen["cues"]
        assert screen["rtt_ms"] is not None
        await terminal.good_tap()
        await path.all_stored()
        await probe.link.close()
