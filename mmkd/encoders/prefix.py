"""Prefix tuning of a text encoder (Li and Liang, 2101.00190), through peft.

In each block, the attention of every sub-token also reads `tokens` learned keys and values, which stand before those of
the text. They are learned as they are, without the paper's reparametrisation by an MLP. Positions of the text that are
counted go on after the prefix. The network takes the prefix as keys and values of the past, so it must know these.
"""

from __future__ import annotations

import torch
from peft import PrefixTuningConfig, TaskType, get_peft_model

from mmkd.encoders.text import TextEncoder


def add_prefix(encoder: TextEncoder, tokens: int, max_tokens: int) -> None:
    """Give each block of the encoder a prefix, in place; the prefix alone learns.

    max_tokens: of the longest text. Raises ValueError for an encoder that takes no prefix, or whose positions do not
    suffice.
    """
    config = encoder.model.config
    settings = PrefixTuningConfig(
        task_type=TaskType.FEATURE_EXTRACTION,
        num_virtual_tokens=tokens,
        token_dim=encoder.width,
        num_layers=encoder.depth,
        num_attention_heads=config.num_attention_heads,
    )
    ids, kept = torch.full((1, max_tokens), int(config.pad_token_id == 0)), torch.ones((1, max_tokens), dtype=torch.long)
    training = encoder.training
    encoder.eval()
    with torch.no_grad():
        before = encoder.model(input_ids=ids[:, :1], attention_mask=kept[:, :1]).last_hidden_state
        model = get_peft_model(encoder.model, settings)
        try:
            after = model(input_ids=ids[:, :1], attention_mask=kept[:, :1]).last_hidden_state
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"{config.model_type} takes no prefix ({error}); expected an encoder such as bert") from error
        if torch.equal(before, after):
            raise ValueError(f"a prefix changes nothing in {config.model_type}; expected an encoder such as bert")
        try:
            model(input_ids=ids, attention_mask=kept)
        except (RuntimeError, IndexError) as error:
            text = f"{tokens} tokens and texts of {max_tokens} are more than the encoder has positions for ({error})"
            raise ValueError(f"{text}; lower `tokens` or `max_tokens`") from error
    encoder.model = model
    encoder.train(training)
