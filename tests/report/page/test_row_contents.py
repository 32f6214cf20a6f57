"""What stands in the rows of a page: from the cards, with the test labels sealed, or a note that says why not."""

import base64
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from mmkd.data.base import DataError, Example
from mmkd.data.card import open_source, read_card
from mmkd.data.dataset import DataSet
from mmkd.places import Places
from mmkd.record import RunRecord
from mmkd.report.page import contents
from mmkd.report.page.contents import Content, Member, forms_of, label_names, members_of, read_contents
from mmkd.report.page.disagreement import Disagreement, Row, Said
from mmkd.report.page.examples import Pair, examples_section
from tests.report.conftest import MakeRecord

CARDS = Path(__file__).resolve().parents[3] / "data_cards"
OPTIONS = {"train": 4, "transfer": 2, "validation": 3, "test": 8, "pixels": 320}
TASKS = {"sentiment": {"kind": "classify"}, "ner": {"kind": "tag"}, "risk": {"kind": "ordinal"}}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "data_cards").mkdir()
    for name in ("market_notes", "sst2"):
        shutil.copy(CARDS / f"{name}.md", tmp_path / "data_cards")
    return Places(tmp_path)


def record_of(make: MakeRecord, use: dict, tasks: dict = TASKS, **changes) -> RunRecord:
    return make("tiny", 0, experiment={"name": "tiny", "data": {"notes": use}, "tasks": tasks}, **changes)


def made_rows(places: Places) -> list[Example]:
    card = read_card(places.root / "data_cards" / "market_notes.md")
    return [row for row in open_source(card, OPTIONS, None).read("test") if isinstance(row, Example)]


def test_text_and_image_are_those_of_the_row(places: Places, make_record: MakeRecord):
    record = record_of(make_record, {"card": "market_notes", "options": OPTIONS})
    members, notes = members_of(record, places)
    rows = made_rows(places)
    wanted = rows[1], rows[5]
    found = read_contents(record, members, "test", {row.id for row in wanted}, places)
    assert notes == [] and found.rows.keys() == {row.id for row in wanted}
    for row in wanted:
        assert found.rows[row.id].words == row.words
    shown = next(each.image for each in found.rows.values() if each.image)
    assert shown.startswith("data:image/webp;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(shown.partition(",")[2]))).size == (160, 160)
    assert found.licences == ["Market notes (licence mit)"]


def test_the_test_labels_stay_sealed(places: Places, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch):
    given = []

    class Watched(DataSet):
        def read(self, split: str) -> Iterator[Example]:
            for row in super().read(split):
                given.append(row.labels)
                yield row

    monkeypatch.setattr(contents, "DataSet", Watched)
    record = record_of(make_record, {"card": "market_notes", "options": OPTIONS})
    read_contents(record, members_of(record, places)[0], "test", {made_rows(places)[0].id}, places)
    assert len(given) == 8
    for labels in given:
        with pytest.raises(DataError, match="sealed"):
            labels["sentiment"]


def test_other_data_than_the_records_are_told(places: Places, make_record: MakeRecord):
    use = {"card": "market_notes", "options": OPTIONS, "limit": {"test": 2}}
    record = record_of(make_record, use, data={"notes/test": "0123456789abcdef:2"})
    members, _ = members_of(record, places)
    rows = made_rows(places)
    found = read_contents(record, members, "test", {rows[1].id, rows[2].id}, places)
    assert found.rows.keys() == {rows[1].id}  # the third is beyond the limit
    assert "the records are of 0123456789ab" in found.notes[0]
    data = DataSet(members[0].card, open_source(members[0].card, OPTIONS, None), places.cache, {}, False)
    same = record.model_copy(update={"data": {"notes/test": f"{data.fingerprint('test')}:2"}})
    assert read_contents(same, members, "test", {rows[1].id}, places).notes == []


@pytest.mark.parametrize("root", [None, "empty"])
def test_data_that_are_not_here_are_told_and_ids_stand_alone(
    places: Places, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: str | None
):
    monkeypatch.delenv("MMKD_DATA", raising=False)
    if root is not None:
        monkeypatch.setenv("MMKD_DATA", str(tmp_path / root))
    record = record_of(make_record, {"card": "sst2"}, {"sentiment": {"kind": "classify"}})
    members, notes = members_of(record, places)
    found = read_contents(record, members, "test", {"a"}, places)
    assert notes == [] and found.rows == {} and found.licences == []
    (note,) = found.notes
    assert note.startswith("notes: its rows cannot be read, so ids stand alone: ")
    assert label_names(record, members) == {"sentiment": ("negative", "positive")}


def test_a_card_that_is_not_here_is_told(places: Places, make_record: MakeRecord):
    record = record_of(make_record, {"card": "elsewhere"})
    members, notes = members_of(record, places)
    assert members == [] and "notes: its card cannot be read" in notes[0] and "elsewhere" in notes[0]
    assert label_names(record, members)["sentiment"] == ()


def test_a_use_of_another_version_is_told(places: Places, make_record: MakeRecord):
    members, notes = members_of(record_of(make_record, {"card": "market_notes", "sampling": 3}), places)
    assert members == [] and "notes: its card cannot be read" in notes[0]


def test_an_id_of_two_data_sets_stands_alone(places: Places, make_record: MakeRecord):
    record = record_of(make_record, {"card": "market_notes", "options": OPTIONS})
    (member,) = members_of(record, places)[0]
    twice = [member, Member("again", member.use, member.card)]
    found = read_contents(record, twice, "test", {made_rows(places)[0].id}, places)
    assert found.rows == {} and found.notes[-1] == "1 ids stand in two data sets, so that they stand alone"


def test_labels_have_the_names_of_the_experiment(places: Places, make_record: MakeRecord):
    mapped = {"card": "market_notes", "tasks": {"mood": "sentiment"}, "labels": {"mood": {"neutral": "flat"}}}
    record = record_of(make_record, mapped, {"mood": {"kind": "classify"}, "risk": {"kind": "ordinal"}})
    names = label_names(record, members_of(record, places)[0])
    assert set(names["mood"]) == {"negative", "flat", "positive"} and names["risk"] == ()
    stated = record_of(make_record, mapped, {"mood": {"kind": "classify", "labels": ["flat", "negative", "positive"]}})
    assert label_names(stated, members_of(stated, places)[0])["mood"] == ("flat", "negative", "positive")


def test_the_form_of_labels_follows_from_the_kind_of_task(make_record: MakeRecord):
    kinds = {"a": "classify", "b": "tag", "c": "ordinal", "d": "multilabel", "e": "regress", "f": "nobody.knows"}
    record = record_of(make_record, {}, {name: {"kind": kind} for name, kind in kinds.items()})
    forms, notes = forms_of(record)
    assert forms == {"a": "class", "b": "words", "c": "class", "d": "set", "e": "value"}
    assert len(notes) == 1 and notes[0].startswith("f: its kind cannot be read: ")


TAGS = ("O", "B-PER", "I-PER", "B-<i>", "I-<i>")


def shown(row: Row, content: Content | None, form="words", labels=TAGS) -> str:
    found = Disagreement("t", form, labels, 1, 1, 1, 0, (row,))
    rows = {} if content is None else {row.id: content}
    return examples_section([Pair("pair", "student", "<teacher>", "test", (found,), rows, (), ())])


def tag_row(gold: tuple[int, ...], one: tuple[int, ...], other: tuple[int, ...]) -> Row:
    return Row("<id>", gold, Said(one, None), Said(other, None), "one", 1.0)


def test_entities_are_marked_in_the_text_and_in_what_is_said():
    row = tag_row((0, 1, 2), (0, 1, 2), (3, 0, 0))
    text = shown(row, Content(("<b>hello</b>", "Ada", "L."), None))
    assert '&lt;b&gt;hello&lt;/b&gt; <mark style="background:#99DDFF">Ada L. <small>PER</small></mark></p>' in text
    assert '<mark style="background:#EEDD88">&lt;b&gt;hello&lt;/b&gt; <small>&lt;i&gt;</small></mark>' in text
    assert text.count("Ada L.") == 2 and "<b>hello" not in text and "<i>" not in text and "<id>" not in text
    assert "<dt>label</dt>" not in text and "<teacher>" not in text


def test_without_a_text_entities_are_told_by_their_places():
    row = tag_row((0, 1, 2), (0, 1, 2), (3, 0, 0))
    for content in (None, Content(("another", "row"), "data:image/webp;base64,AA")):  # as many words as labels, or none
        text = shown(row, content)
        assert "word 2–3" in text and "word 1 " in text and "another" not in text and "<img" not in text
        assert "<dt>label</dt>" in text


def test_a_long_text_is_cut_and_its_label_told():
    words = tuple(f"w{n}" for n in range(100))
    text = shown(tag_row((0,) * 99 + (1,), (0,) * 99 + (1,), (0,) * 100), Content(words, None))
    assert "w79 … (100 words)" in text and "w80" not in text and "<dt>label</dt>" in text and "no entity" in text


def test_classes_sets_and_values_are_told_by_name():
    row = Row("a", (0,), Said((0,), 0.875), Said((1,), 0.25), "one", 0.25)
    text = shown(row, Content((), "the image cannot be read: <no>"), "class", ("yes", "no"))
    assert '<dd class="right">yes <small>0.88</small> ✓</dd>' in text and "no <small>0.25</small>" in text
    assert "cannot be read: &lt;no&gt;" in text and "<img" not in text
    assert "class 1" in shown(row, None, "class", ())
    chosen = Row("a", (0, 1), Said((0, 1), 0.5), Said((), 0.5), "one", 0.5)
    text = shown(chosen, None, "set", ("yes", "no"))
    assert "yes, no" in text and "none of the labels" in text
    assert '<dd class="">2.5</dd>' in shown(
        Row("a", 2.5, Said(2.0, None), Said(1.0, None), "one", 1.0), None, "value", ()
    )


def test_rows_of_the_first_pair_are_open_and_those_of_the_others_folded():
    row = Row("a", (0,), Said((0,), 0.875), Said((1,), 0.25), "one", 0.25)
    found = Disagreement("t", "class", ("yes", "no"), 10, 3, 1, 0, (row,))
    pairs = [Pair(name, "student", "teacher", "test", (found,), {}, (), ()) for name in ("first", "second")]
    text = examples_section([*pairs, Pair("third", "student", "teacher", "test", (), {}, ("nothing",), ())])
    assert text.count("<details open><summary>1 of these rows</summary>") == 1
    assert text.index("<details open>") < text.index("<h3>second") < text.index("<details><summary>1 of these rows")
    assert text.count("<details") == 2
