"""G w = 1 / w (2202.01017)."""

CASES = {"default": {}, "short": {"max_norm": 1.0}}
HEADS = "own"
ALONE = None  # 1 / the norm of its gradient
OPPOSES_NONE = True  # g_i' d = 1 / w_i


def SIZE(config) -> float:
    """The update's norm is always the same."""
    return -1
