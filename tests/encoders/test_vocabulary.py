"""A vocabulary of which the rows that training looks up learn: as the whole does, and nothing else of it changes."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from mmkd.encoders.vocabulary import Vocabulary, learn_all, learn_rows, with_vocabulary

SEEN = torch.tensor([0, 3, 5, 9])  # 0 is padding
TEXTS = torch.tensor([[3, 5, 5, 0], [9, 3, 0, 0]])
ROWS, WIDTH = 12, 4


def vocabulary() -> Vocabulary:
    torch.manual_seed(0)
    return Vocabulary(ROWS, WIDTH, padding=0).double()


def trained(module: Vocabulary, steps: int = 6, decay: float = 0.0) -> Tensor:
    """The state after some steps of AdamW that clip, on texts of which a step reads one or the other."""
    target = torch.linspace(-1, 1, WIDTH, dtype=torch.float64)
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.1, weight_decay=decay)
    for step in range(steps):
        (module.train()(TEXTS[step % 2]) - target).square().sum().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return module.state_dict()["weight"].clone()


def test_the_rows_learn_as_in_the_whole_matrix() -> None:
    few = vocabulary()
    few.learn_rows(SEEN)
    assert torch.allclose(trained(few), trained(vocabulary()), rtol=0, atol=1e-14)


def test_weight_decay_reaches_the_rows_and_no_others() -> None:
    few = vocabulary()
    start = few.weight.detach().clone()
    few.learn_rows(SEEN)
    found, whole = trained(few, decay=0.1), trained(vocabulary(), decay=0.1)
    others = [row for row in range(ROWS) if row not in SEEN.tolist()]
    assert torch.allclose(found[SEEN], whole[SEEN], rtol=0, atol=1e-14)
    assert torch.equal(found[others], start[others])
    assert not torch.equal(whole[others], start[others])


def test_only_the_rows_are_a_parameter_that_learns() -> None:
    few = vocabulary()
    few.learn_rows(SEEN)
    assert [(name, tuple(p.shape)) for name, p in few.named_parameters() if p.requires_grad] == [("learned", (4, 4))]
    few.learn_all()
    assert [(name, tuple(p.shape)) for name, p in few.named_parameters() if p.requires_grad] == [("weight", (12, 4))]


def test_evaluation_reads_every_row_as_it_is_now() -> None:
    few = vocabulary()
    few.learn_rows(SEEN)
    whole = trained(few)
    assert torch.equal(few.eval()(torch.arange(ROWS)), whole)
    few.learn_all()
    assert torch.equal(few(torch.arange(ROWS)), whole)


def test_a_row_that_was_not_named_cannot_be_looked_up_in_training() -> None:
    few = vocabulary()
    few.learn_rows(SEEN)
    with pytest.raises(IndexError):
        few.train()(torch.tensor([4]))


def test_the_state_is_the_whole_matrix_and_can_be_loaded_at_any_time() -> None:
    few = vocabulary()
    few.learn_rows(SEEN.flip(0))  # in any order
    assert list(few.state_dict()) == ["weight"]
    other = torch.randn(ROWS, WIDTH, dtype=torch.float64)
    few.load_state_dict({"weight": other})
    assert torch.equal(few.state_dict()["weight"], other)
    assert few.learned is not None and torch.equal(few.learned, other[SEEN.flip(0)])
    few.learn_all()
    assert torch.equal(few.weight, other)


def test_padding_has_no_gradient() -> None:
    few = vocabulary()
    few.learn_rows(SEEN)
    few.train()(TEXTS).sum().backward()
    assert few.learned is not None and few.learned.grad is not None
    assert few.learned.grad[0].eq(0).all() and few.learned.grad[1:].ne(0).all()


def test_a_step_asks_no_tensor_for_a_number() -> None:
    few = vocabulary()
    few.learn_rows(SEEN)
    few.train().to("meta")  # where tensors have no values
    assert few(TEXTS.to("meta")).shape == (*TEXTS.shape, WIDTH)


def test_a_copy_has_rows_of_its_own() -> None:
    few = vocabulary()
    few.learn_rows(SEEN)
    other = copy.deepcopy(few)
    trained(few)
    assert not torch.equal(few.state_dict()["weight"], other.state_dict()["weight"])


def test_a_model_computes_the_same_with_it() -> None:
    config = AutoConfig.for_model(
        "bert", hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=ROWS
    )
    model = AutoModel.from_config(config).eval()
    before, names = model(input_ids=TEXTS).last_hidden_state, list(model.state_dict())
    drawn = torch.random.get_rng_state()
    with_vocabulary(model, model.get_input_embeddings())
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert isinstance(model.get_input_embeddings(), Vocabulary) and list(model.state_dict()) == names
    learn_rows(model, SEEN.numpy())
    assert torch.equal(model(input_ids=TEXTS).last_hidden_state, before)
    learn_all(model)
    assert torch.equal(model(input_ids=TEXTS).last_hidden_state, before)


class Scaled(nn.Embedding):
    """An embedding that does more than look up."""


@pytest.mark.parametrize(
    "other", [lambda: Scaled(ROWS, WIDTH), lambda: nn.Embedding(ROWS, WIDTH, max_norm=1.0), nn.Identity]
)
def test_another_kind_of_embedding_stays(other: Callable[[], nn.Module]) -> None:
    model = nn.ModuleDict({"words": other()})
    with_vocabulary(model, model["words"])
    assert not isinstance(model["words"], Vocabulary)


def test_what_does_not_learn_is_left_alone() -> None:
    frozen = vocabulary().requires_grad_(False)
    learn_rows(frozen, np.array([0, 3]))
    assert frozen.learned is None
    free = vocabulary()
    learn_rows(free, None)
    assert free.learned is None
