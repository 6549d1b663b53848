import io
import json
import tarfile

from edge_agent.diag.bundle.archive import MAX_BYTES, write_archive
from edge_agent.diag.bundle.collect import Part
from edge_agent.report_id import ReportId

REPORT = ReportId("K7QF-2M4D")
PARTS = [Part("agent/status.json", "what the agent says", b"{}\n", 0.1), Part("x.txt", "an x", problem="it hung")]


def made(parts: list[Part]) -> bytes:
    out = io.BytesIO()
    write_archive(out, REPORT, parts, terminal="sh-1", version="0.1.0", made=1_790_000_000)
    return out.getvalue()


def files(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        assert all((entry.mode, entry.uid, entry.mtime) == (0o600, 0, 1_790_000_000) for entry in archive)
        return {entry.name: (archive.extractfile(entry) or io.BytesIO()).read() for entry in archive if entry.isfile()}


def test_all_is_in_one_folder_and_says_what_it_is() -> None:
    found = files(made(PARTS))
    assert list(found) == [
        "edge-agent-K7QF-2M4D/README.txt",
        "edge-agent-K7QF-2M4D/manifest.json",
        "edge-agent-K7QF-2M4D/agent/status.json",
    ]
    readme = found["edge-agent-K7QF-2M4D/README.txt"].decode()
    assert readme.startswith("Support report K7QF-2M4D\n")
    assert "  agent/status.json  what the agent says\n" in readme
    assert "(not in it: it hung) an x" in readme
    assert max(map(len, readme.splitlines())) <= 80
    manifest = json.loads(found["edge-agent-K7QF-2M4D/manifest.json"])
    assert (manifest["report"], manifest["terminal"]) == ("K7QF-2M4D", "sh-1")
    assert [(part["name"], part["bytes"], part["problem"]) for part in manifest["parts"]] == [
        ("agent/status.json", 3, ""),
        ("x.txt", 0, "it hung"),
    ]


def test_the_same_parts_make_the_same_bytes() -> None:
    data = made(PARTS)
    assert data == made(list(PARTS))
    assert data[4:8] == (1_790_000_000).to_bytes(4, "little"), "RFC 1952: the time in the header is the report's"


def test_a_report_has_a_bound_and_what_is_left_out_is_told() -> None:
    parts = [Part("a", "", b"x" * (MAX_BYTES - 10)), Part("b", "", b"y" * 11), Part("c", "", b"z" * 10)]
    found = files(made(parts))
    assert [name for name in found if name[-2:] in {"/a", "/b", "/c"}] == [
        "edge-agent-K7QF-2M4D/a",
        "edge-agent-K7QF-2M4D/c",
    ]
    told = json.loads(found["edge-agent-K7QF-2M4D/manifest.json"])["parts"]
    assert [part["problem"] for part in told] == ["", "the report is full", ""]
