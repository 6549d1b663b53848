from hypothesis import given
from hypothesis import strategies as st

from edge_agent.diag.causes import sort_out
from edge_agent.diag.finding import Finding, Kind, Severity

IDS = "abcdef"


def kind(name: str, *hides: str, severity: Severity = Severity.ERROR, symptom: bool = False) -> Kind:
    return Kind(name, severity, name, name, hides=hides, symptom=symptom)


def test_a_consequence_is_hidden_behind_its_cause_over_several_steps() -> None:
    unplugged = Finding(kind("unplugged", "deaf"), "", "nfc0")
    deaf = Finding(kind("deaf", "degraded"), "", "nfc0")
    degraded = Finding(kind("degraded"), "")
    assert sort_out([degraded, deaf, unplugged]) == ((unplugged,), (deaf, degraded))


def test_a_cause_explains_nothing_about_another_subject() -> None:
    unplugged = Finding(kind("unplugged", "deaf"), "", "nfc0")
    other = Finding(kind("deaf"), "", "nfc1")
    assert sort_out([unplugged, other]) == ((unplugged, other), ())


def test_a_cause_of_the_whole_terminal_explains_every_subject() -> None:
    network = Finding(kind("no-network", "broker-down"), "")
    broker = Finding(kind("broker-down"), "", "broker.example.net")
    assert sort_out([broker, network]) == ((network,), (broker,))


def test_a_symptom_is_explained_by_whatever_says_more_and_by_no_other_symptom() -> None:
    fever = Finding(kind("fever", symptom=True), "", "nfc0")
    cough = Finding(kind("cough", symptom=True), "")
    cold = Finding(kind("cold"), "", "nfc1")
    assert sort_out([fever, cough]) == ((fever, cough), ())
    assert sort_out([fever, cough, cold]) == ((cold,), (fever, cough))


def test_two_that_explain_each_other_are_both_shown() -> None:
    one, two = Finding(kind("one", "two"), ""), Finding(kind("two", "one"), "")
    assert sort_out([one, two]) == ((one, two), ())


def test_the_worst_come_first_and_equals_in_their_order() -> None:
    mild = Finding(kind("mild", severity=Severity.WARNING), "")
    bad, worse = Finding(kind("bad"), ""), Finding(kind("worse"), "")
    assert sort_out([mild, bad, worse]).shown == (bad, worse, mild)


kinds = st.builds(
    Kind,
    st.sampled_from(IDS),
    st.sampled_from(Severity),
    st.just("title"),
    st.just("remedy"),
    hides=st.lists(st.sampled_from(IDS), max_size=3).map(tuple),
    symptom=st.booleans(),
)
findings = st.builds(Finding, kinds, st.integers(0, 9).map(str), st.sampled_from(["", "x", "y"]))


@given(st.lists(findings, max_size=8, unique=True))
def test_nothing_gets_lost_and_nothing_is_hidden_without_a_cause_in_sight(found: list[Finding]) -> None:
    shown, hidden = sort_out(found)
    assert sorted(map(str, shown + hidden)) == sorted(map(str, found))
    assert bool(shown) == bool(found)
    for index, consequence in enumerate(hidden):
        assert any(cause.explains(consequence) for cause in (*shown, *hidden[:index], *hidden))
    reached = list(shown)
    for _ in hidden:
        reached += [one for one in hidden if one not in reached and any(cause.explains(one) for cause in reached)]
    assert set(map(id, hidden)) <= set(map(id, reached))
