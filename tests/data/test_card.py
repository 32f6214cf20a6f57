"""Data cards: what is read, and that each mistake is named with its line."""

import hashlib
from pathlib import Path

import pytest

from mmkd.data import card as cards
from mmkd.data.base import DataError
from mmkd.data.integrity import check_files, missing_files

TEXT = b"word\tO\nAcme\tB-ORG\n"

GOOD = f"""---
pretty_name: A tiny set
license: cc-by-4.0
language: [en]
paperswithcode_id: tiny
mmkd:
  version: 1
  source:
    kind: conll
    splits: {{train: tiny/train.txt}}
    task: ner
  files:
    tiny/train.txt: {{sha256: {hashlib.sha256(TEXT).hexdigest()}}}
  obtain: ask the author
  modalities: [text]
  tasks:
    ner: {{kind: tag, labels: [O, B-ORG, I-ORG]}}
  splits: {{train: 1}}
  pii: {{present: false}}
---

# Tiny
For people.
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "tiny").mkdir(parents=True)
    (tmp_path / "root" / "tiny" / "train.txt").write_bytes(TEXT)
    return tmp_path / "root"


def write(folder: Path, text: str = GOOD, name: str = "tiny") -> Path:
    path = folder / f"{name}.md"
    path.write_text(text, "utf-8")
    return path


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def test_a_good_card_is_read_whole(tmp_path):
    card = cards.read_card(write(tmp_path))
    assert (card.name, card.about.license, card.about.pretty_name) == ("tiny", "cc-by-4.0", "A tiny set")
    assert card.about.model_extra == {"paperswithcode_id": "tiny"}
    assert card.tasks["ner"].labels == ("O", "B-ORG", "I-ORG")
    assert card.splits == {"train": 1}
    assert card.body == "# Tiny\nFor people.\n"


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("  version: 1", "  version: 2", 7, "mmkd.version: found 2; expected `1`"),
        ("  version: 1", "  version: '1'", 7, "mmkd.version: found"),
        ("license: cc-by-4.0", "licence: cc-by-4.0", 1, "license: missing; expected text"),
        ("pretty_name: A tiny set", "pretty_name: 7", 2, "pretty_name: found 7"),
        ("  obtain: ask the author", "  obtian: ask the author", 14, "did you mean `obtain`?"),
        ("  obtain: ask the author\n", "", 6, "mmkd.obtain: is missing; expected where and how"),
        ("  pii: {present: false}", "  pii: {presnt: false}", 19, "did you mean `present`?"),
        ("  pii: {present: false}", "  pii: {present: 0}", 19, "mmkd.pii.present: found 0"),
        ("  modalities: [text]", "  modalities: [texts]", 15, "did you mean `text`?"),
        ("  modalities: [text]", "  modalities: []", 15, "mmkd.modalities"),
        ("kind: tag,", "kind: tags,", 17, "did you mean `tag`?"),
        ("[O, B-ORG, I-ORG]", "[O, B-ORG]", 17, "ner.labels: I-ORG: expected O and, for each entity type"),
        ("[O, B-ORG, I-ORG]", "[O, O, B-ORG, I-ORG]", 17, "ner.labels: found O twice"),
        ("{kind: tag, labels: [O, B-ORG, I-ORG]}", "{kind: classify, labels: [a]}", 17, "ner.labels: found 1 labels"),
        ("splits: {train: 1}", "splits: {train: 0}", 18, "mmkd.splits.train: found 0"),
        ("splits: {train: 1}", "splits: {dev: 1}", 18, "mmkd.splits.dev"),
        (
            "  pii: {present: false}",
            "  division: {of: train, shares: {train: 0.5, test: 0.5}}\n  pii: {present: false}",
            19,
            "mmkd.division: found shares for test; expected shares for the card's `splits` alone",
        ),
        (
            "splits: {train: 1}",
            "splits: {train: 1, validation: 1, test: 1}\n  division: {of: train, shares: {validation: 0.5, test: 0.5}}",
            19,
            "mmkd.division: found the split train, whose rows are all given away",
        ),
        (
            "splits: {train: 1}",
            "splits: {train: 1, test: 1}\n  division: {of: train, shares: {train: 0.5, test: 0.5}, stratify: nre}",
            19,
            "`stratify`: found no task `nre`; expected one of ner",
        ),
        ("    kind: conll", "    kind: connl", 9, "did you mean `conll`?"),
        ("    task: ner", "    taks: ner", 11, "did you mean `task`?"),
        ("    task: ner", "    task: ner\n    token: -1", 12, "mmkd.source.token: found -1"),
        ("    tiny/train.txt: {", "    ../train.txt: {", 12, "expected a plain path below the data root"),
        ("    tiny/train.txt: {", "    /tiny/train.txt: {", 12, "expected a plain path below the data root"),
        ("  version: 1", "  version: 1\n  version: 1", 8, "second time"),
        ("mmkd:", "mmdk:", 1, "expected the block that defines the data set"),
        ("---\npretty_name", "pretty_name", 1, "found no front matter"),
        ("language: [en]", "language: [en", 5, "YAML"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, old, new, line, says):
    path = write(tmp_path, changed(old, new))
    with pytest.raises(cards.CardError) as caught:
        cards.read_card(path)
    assert says in str(caught.value)
    assert caught.value.path == path
    assert any(f"{path}:{line}: " in row and says in row for row in str(caught.value).split("\n"))


def test_all_mistakes_come_at_once_in_the_order_of_the_file(tmp_path):
    text = (
        changed("  version: 1", "  version: 2").replace("present: false", "present: maybe").replace("A tiny set", "7")
    )
    with pytest.raises(cards.CardError) as caught:
        cards.read_card(write(tmp_path, text))
    assert [problem.line for problem in caught.value.problems] == [2, 7, 19]
    assert caught.value.line == 2


def test_find_card_by_name_in_the_nearest_folder_above(tmp_path):
    (tmp_path / "data_cards").mkdir()
    (tmp_path / "lab" / "experiments").mkdir(parents=True)
    experiment = tmp_path / "lab" / "experiments" / "a.yaml"
    outer = write(tmp_path / "data_cards")
    assert cards.find_card("tiny", experiment) == outer
    (tmp_path / "lab" / "data_cards").mkdir()
    inner = write(tmp_path / "lab" / "data_cards")
    assert cards.find_card("tiny", experiment) == inner
    with pytest.raises(cards.CardError, match="did you mean `tiny`"):
        cards.find_card("tinny", experiment)


def test_find_card_by_path_relative_to_the_experiment(tmp_path):
    own = write(tmp_path, name="own")
    (tmp_path / "sub").mkdir()
    assert cards.find_card("own.md", tmp_path / "a.yaml") == own
    assert cards.find_card("../own.md", tmp_path / "sub" / "a.yaml").samefile(own)
    with pytest.raises(cards.CardError, match="did you mean `own`"):
        cards.find_card("./owm.md", tmp_path / "a.yaml")


def test_missing_files_are_named_with_the_root_and_how_to_get_them(tmp_path, root):
    card = cards.read_card(write(tmp_path))
    assert missing_files(card, root) == []
    check_files(card, root, tmp_path / "memory")
    for where, says in ((tmp_path, str(tmp_path)), (None, "MMKD_DATA is not set")):
        assert missing_files(card, where) == ["tiny/train.txt"]
        checks = (
            lambda place: check_files(card, place, tmp_path / "memory"),
            lambda place: cards.open_source(card, {}, place),
        )
        for check in checks:
            with pytest.raises(DataError) as caught:
                check(where)
            assert all(part in str(caught.value) for part in (says, "tiny/train.txt", "ask the author"))


def test_one_changed_byte_is_noticed(tmp_path, root):
    card = cards.read_card(write(tmp_path))
    changed_text = TEXT.replace(b"word", b"wort")
    (root / "tiny" / "train.txt").write_bytes(changed_text)
    with pytest.raises(DataError) as caught:
        check_files(card, root, tmp_path / "memory")
    for part in ("tiny/train.txt", hashlib.sha256(changed_text).hexdigest(), hashlib.sha256(TEXT).hexdigest()):
        assert part in str(caught.value)


def test_data_root_is_the_environment_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("MMKD_DATA", str(tmp_path))
    assert cards.data_root() == tmp_path
    monkeypatch.setenv("MMKD_DATA", "")
    assert cards.data_root() is None
    monkeypatch.delenv("MMKD_DATA")
    assert cards.data_root() is None


def test_options_are_merged_into_the_source_and_checked(tmp_path, root):
    card = cards.read_card(write(tmp_path))
    source = cards.open_source(card, {"repair": True}, root)
    assert source.config.repair
    assert source.config.splits == {"train": "tiny/train.txt"}
    merged = cards.open_source(card, {"splits": {"test": "tiny/train.txt"}}, root)
    assert merged.config.splits == {"train": "tiny/train.txt", "test": "tiny/train.txt"}
    with pytest.raises(cards.OptionError) as caught:
        cards.open_source(card, {"repiar": True, "token": "0"}, root)
    assert {place for place, _ in caught.value.mistakes} == {("repiar",), ("token",)}
    assert "did you mean `repair`?" in str(caught.value)
    with pytest.raises(cards.OptionError, match="cannot change the kind"):
        cards.open_source(card, {"kind": "jsonl"}, root)


def test_a_file_that_is_read_must_be_listed(tmp_path, root):
    (root / "tiny" / "other.txt").write_bytes(TEXT)
    card = cards.read_card(write(tmp_path))
    with pytest.raises(cards.CardError, match=r"mmkd\.files: tiny/other\.txt is read but not listed"):
        cards.open_source(card, {"splits": {"train": "tiny/other.txt"}}, root)


def test_the_fingerprint_follows_files_config_labels_and_split(tmp_path, root):
    card = cards.read_card(write(tmp_path))
    both = {"splits": {"test": "tiny/train.txt"}}
    first = cards.open_source(card, both, root)
    same = cards.open_source(card, both, root)
    assert first.fingerprint("train") == same.fingerprint("train")
    other_labels = cards.read_card(write(tmp_path, GOOD.replace("[O, B-ORG, I-ORG]", "[B-ORG, I-ORG, O]"), "labels"))
    prints = {
        first.fingerprint("train"),
        first.fingerprint("test"),
        cards.open_source(card, both | {"repair": True}, root).fingerprint("train"),
        cards.open_source(other_labels, both, root).fingerprint("train"),
    }
    # Files count as the card gives them: what is there is compared with the card at the start of each run.
    (root / "tiny" / "train.txt").write_bytes(TEXT.replace(b"word", b"wort"))
    assert first.fingerprint("train") in prints
    other_file = cards.read_card(write(tmp_path, GOOD.replace(hashlib.sha256(TEXT).hexdigest(), "a" * 64), "file"))
    prints.add(cards.open_source(other_file, both, root).fingerprint("train"))
    assert len(prints) == 5


def test_the_text_of_a_data_error_names_file_row_and_field():
    assert str(DataError("a.jsonl", 3, "id", "found nothing")) == "a.jsonl:3: id: found nothing"
    assert str(DataError("a.jsonl", None, None, "is gone")) == "a.jsonl: is gone"
