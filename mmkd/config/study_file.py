"""The study file, `experiments/studies/<name>.yaml`: one question, the runs that answer it, its tables and figures."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from mmkd.config.experiment import Name
from mmkd.config.section import Names, Section


class StudyRun(Section):
    """One experiment of the study.

    experiment: its file, relative to the study file. set: key of it -> what it has here, as `mmkd run FILE key=value`;
    null removes a teacher or a loss.
    """

    experiment: str
    set: dict[str, Any] = {}


class Study(Section):
    """One question.

    title: of the page. question: what is asked, in words. runs: name -> experiment; its records have that name, by
    which rows of tables and figures call it. seeds: of every run. tables, figures: names of files in results/tables and
    results/figures.
    """

    title: str
    question: str
    runs: Annotated[dict[Name, StudyRun], Field(min_length=1)]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False, min_length=1)]
    tables: Names = ()
    figures: Names = ()

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"found {list(seeds)}; expected each seed once")
        return seeds

    @field_validator("runs")
    @classmethod
    def _the_study_names_and_seeds(cls, runs: dict[str, StudyRun]) -> dict[str, StudyRun]:
        for name, run in runs.items():
            for key in ("name", "seeds"):
                if key in run.set:
                    raise ValueError(f"{name}: set: found `{key}`, which the study says; leave it out")
        return runs
