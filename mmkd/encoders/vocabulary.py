"""An embedding of sub-tokens of which only the rows that training looks up are trained.

A vocabulary has tens or hundreds of thousands of rows, the texts of a data set a few thousand of them. The others have
no gradient, yet an optimizer that holds the whole matrix reads and writes all of it, with its two moments, in every
step. While a network trains, the rows of the training texts are therefore a parameter of their own. They learn as they
would in the whole matrix; the others stay as they were, where AdamW would shrink them by its weight decay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional


class Vocabulary(nn.Embedding):
    """An embedding, of which some rows may be a parameter of their own: `learned`. Its state is always the whole."""

    learned: nn.Parameter | None
    rows: Tensor
    place: Tensor
    learned_padding: int | None

    def __init__(self, rows: int, width: int, padding: int | None = None, weight: Tensor | None = None) -> None:
        """padding: a row without a gradient. weight: [rows, width], in place of a random start."""
        super().__init__(rows, width, padding, _weight=weight)
        self.register_parameter("learned", None)
        self.register_buffer("rows", None, persistent=False)
        self.register_buffer("place", None, persistent=False)

    def learn_rows(self, rows: Int[Tensor, " R"]) -> None:
        """From now on, only these rows learn; in training mode, looking up another one is an IndexError."""
        self.rows = rows
        self.place = torch.full((self.num_embeddings,), -1, device=self.weight.device)
        self.place[rows] = torch.arange(len(rows), device=self.weight.device)
        self.learned = nn.Parameter(self.weight.detach()[rows])
        self.weight.requires_grad_(False)
        # A number, not a tensor: asked in every step, a device would be waited for, and a compiled pass break there.
        place = -1 if self.padding_idx is None else int(self.place[self.padding_idx])
        self.learned_padding = None if place == -1 else place

    def learn_all(self) -> None:
        """From now on, every row learns, as in any embedding."""
        if self.learned is not None:
            self.weight.data[self.rows] = self.learned.detach()
            self.weight.requires_grad_(True)
            self.learned = None

    def forward(self, ids: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape D"]:
        """Rows of the matrix."""
        if self.learned is None:
            return super().forward(ids)
        places = self.place[ids]
        if self.training:
            return functional.embedding(places, self.learned, self.learned_padding)
        learned = functional.embedding(places.clamp(min=0), self.learned)
        return torch.where((places < 0)[..., None], super().forward(ids), learned)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        if self.learned is None:
            super()._save_to_state_dict(destination, prefix, keep_vars)
        else:
            whole = destination[prefix + "weight"] = self.weight.detach().clone()
            whole[self.rows] = self.learned.detach()

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        learned, self.learned = self.learned, None
        super()._load_from_state_dict(state_dict, prefix, *others)
        if learned is not None:
            learned.data.copy_(self.weight.detach()[self.rows])
            self.learned = learned


def with_vocabulary(model: nn.Module, embedding: nn.Module) -> None:
    """Put a `Vocabulary` of the same weights in the place of a model's plain embedding; another kind stays."""
    if type(embedding) is not nn.Embedding or embedding.max_norm is not None or embedding.sparse:
        return
    own = Vocabulary(embedding.num_embeddings, embedding.embedding_dim, embedding.padding_idx, embedding.weight.data)
    for module in list(model.modules()):
        for name, part in list(module.named_children()):
            if part is embedding:
                setattr(module, name, own)


def learn_rows(network: nn.Module, rows: Int[np.ndarray, " R"] | None) -> None:
    """Have only these rows of a network's vocabulary learn, if it learns at all. None: leave it."""
    for module in network.modules() if rows is not None else ():
        if isinstance(module, Vocabulary) and module.weight.requires_grad:
            module.learn_rows(torch.from_numpy(rows).to(module.weight.device))


def learn_all(network: nn.Module) -> None:
    """Have every row of a network's vocabulary learn again."""
    for module in network.modules():
        if isinstance(module, Vocabulary):
            module.learn_all()
