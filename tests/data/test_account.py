"""The account of a data set's rows, counted by hand."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from typing import Any

import pytest

from mmkd.data.account import SHOWN, Account, Report, accounted, policy_of, settle
from mmkd.data.base import DataError
from mmkd.data.findings import REASONS, Finding, policy_mistakes

ROWS = {"train": 10, "test": 3}


def one(split: str, reason: str, place: int) -> tuple[int, Finding]:
    row = None if place < 0 else place + 1
    return place, Finding(reason, split, f"{split}.jsonl", row, None, None, f"message of {reason}")


FINDINGS = [
    one("test", "text_nul", 2),
    one("train", "image_cmyk", 7),
    one("train", "text_nul", 4),
    one("train", "image_alpha", 4),
    one("train", "image_alpha", 1),
    one("train", "row_repeated", 7),
    one("train", "image_alpha", 9),
]


def test_each_row_is_counted_once_under_its_first_reason():
    policy: dict[str, Any] = {"text_nul": "quarantine", "image_cmyk": "quarantine", "row_repeated": "quarantine"}
    report = settle(ROWS, FINDINGS, policy, {"train": {"email": 2}})
    assert report.accounts == {
        "train": Account(
            rows=10,
            used=8,
            quarantined={"text_nul": 1, "image_cmyk": 1},
            accepted={"image_alpha": 2},  # that of the fifth row is left out with it
            masked={"email": 2},
        ),
        "test": Account(rows=3, used=2, quarantined={"text_nul": 1}),
    }
    assert report.dropped == {"train": [4, 7], "test": [2]}
    report.require("card")


def test_findings_stand_in_the_order_of_splits_and_rows():
    report = settle(ROWS, FINDINGS, {}, {})
    places = [(each.finding.split, each.place) for each in report.found]
    assert places == [("train", 1), ("train", 4), ("train", 4), ("train", 7), ("train", 7), ("train", 9), ("test", 2)]
    # Those of one row as they were found: the first names why it is left out.
    assert [each.finding.reason for each in report.found[1:5]] == [
        "text_nul", "image_alpha", "image_cmyk", "row_repeated",
    ]  # fmt: skip


def test_what_is_refused_is_neither_quarantined_nor_accepted_and_the_rows_still_add_up():
    report = settle(ROWS, FINDINGS, {}, {})
    for account in report.accounts.values():
        assert account.rows == account.used + sum(account.quarantined.values())
    assert report.accounts["test"] == Account(rows=3, used=3)
    assert [each.finding.reason for each in report.found if each.policy == "refuse"] == [
        "text_nul", "image_cmyk", "text_nul",
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_rows_in_are_rows_used_and_quarantined_whatever_is_found(seed: int):
    chance = random.Random(seed)
    rows = {split: chance.randint(1, 30) for split in ("train", "validation", "test")}
    policy: dict[str, Any] = {reason: chance.choice(["quarantine", "accept"]) for reason in REASONS}
    findings = []
    for _ in range(chance.randint(0, 80)):
        split = chance.choice(list(rows))
        findings.append(one(split, chance.choice(list(REASONS)), chance.randrange(rows[split])))
    report = settle(rows, findings, policy, {})
    for split, account in report.accounts.items():
        out = {place for place, each in findings if each.split == split and policy[each.reason] == "quarantine"}
        assert report.dropped[split] == sorted(out)
        assert account.rows == rows[split] == account.used + len(out)
        assert sum(account.quarantined.values()) == len(out)
        here = [(place, each.reason) for place, each in findings if each.split == split and place not in out]
        expected = Counter(reason for _, reason in here)
        assert account.accepted == dict(expected)


def test_a_policy_stands_in_the_place_of_the_reason_s_own():
    assert policy_of("text_nul", {}) == "refuse"
    assert policy_of("text_nul", {"text_nul": "quarantine", "image_alpha": "refuse"}) == "quarantine"
    assert policy_of("image_alpha", {}) == "accept"


def test_a_refusal_lists_what_was_found_where_and_what_to_do():
    findings = [one("train", "text_nul", place) for place in range(SHOWN + 2)] + [one("test", "image_cmyk", 0)]
    report = settle({"train": 40, "test": 3}, findings, {}, {})
    with pytest.raises(DataError) as caught:
        report.require("notes")
    lines = str(caught.value).split("\n")
    assert lines[0] == "notes: 23 findings refuse the data; nothing was run and nothing was replaced:"
    assert lines[1 : SHOWN + 1] == [f"train.jsonl:{n}: message of text_nul (text_nul)" for n in range(1, SHOWN + 1)]
    assert lines[SHOWN + 1 :] == [
        "... and 3 more; `mmkd data check notes --all` lists them",
        f"     22 text_nul: {REASONS['text_nul'].meaning}",
        f"      1 image_cmyk: {REASONS['image_cmyk'].meaning}",
        "Mend the rows, or let the card say what happens to them: `policy: {REASON: quarantine}`",
    ]


def test_what_can_be_refused_alone_comes_without_the_advice_to_quarantine_it():
    report = settle(ROWS, [one("train", "split_size", -1)], {}, {})
    with pytest.raises(DataError) as caught:
        report.require("notes")
    assert "quarantine" not in str(caught.value)
    assert str(caught.value).endswith("Mend the files, or the rows that the card states in `mmkd.splits`")


def test_one_finding_is_one_finding():
    report = settle(ROWS, [one("train", "text_nul", 0)], {}, {})
    with pytest.raises(DataError, match=r"^notes: 1 finding refuses the data; "):
        report.require("notes")


def test_a_report_comes_back_from_plain_data_as_it_was():
    surrogate = (5, Finding("text_surrogate", "train", None, None, "a 🙂", "text", "found \ud800"))
    report = settle(ROWS, [*FINDINGS, surrogate], {"text_nul": "quarantine"}, {"test": {"phone": 1}})
    assert Report.from_plain(json.loads(json.dumps(report.dump()))) == report


def test_accounts_are_said_in_a_line_for_each_split():
    accounts = {
        "notes/train": Account(
            rows=5061,
            used=5000,
            quarantined={"image_truncated": 60, "text_nul": 1},
            accepted={"image_alpha": 12},
            masked={"email": 1200},
        ),
        "notes/test": Account(rows=3, used=3),
    }
    assert accounted(accounts) == [
        "notes/train: 5,061 rows = 5,000 used + 60 quarantined (image_truncated) + 1 quarantined (text_nul); "
        "12 image_alpha, 1,200 email masked",
        "notes/test: 3 rows = 3 used",
    ]


def test_a_finding_says_where_and_what():
    assert str(Finding("text_nul", "train", "a.jsonl", 7, "r6", "text", "found U+0000")) == (
        "a.jsonl:7: row 'r6': text: found U+0000 (text_nul)"
    )
    assert str(Finding("split_empty", "test", None, None, None, None, "found none")) == "test: found none (split_empty)"


def test_a_policy_that_cannot_be_is_named():
    wrong = {"text_null": "quarantine", "text_nul": "accept", "split_empty": "quarantine"}
    found = policy_mistakes({**wrong, "image_cmyk": "accept"})
    assert found.keys() == wrong.keys()
    assert "did you mean `text_nul`?" in found["text_null"]
    assert re.search(r"found accept; expected refuse or quarantine$", found["text_nul"])
    assert found["split_empty"] == "found quarantine; expected refuse"
