from tests.diag.findings_index import INDEX, index


def test_the_list_of_findings_is_what_the_checks_declare() -> None:
    assert INDEX.read_text(encoding="utf-8") == index(), "run: python -m tests.diag.findings_index"
