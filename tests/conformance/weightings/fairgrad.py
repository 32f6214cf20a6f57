"""G w = w^(-1 / alpha) (2402.15638)."""

CASES = {"proportional": {}, "half": {"alpha": 0.5}, "delay": {"alpha": 2.0}}
HEADS = "own"
ALONE = None  # the norm of its gradient to the power -2 alpha / (1 + alpha)
OPPOSES_NONE = True  # g_i' d = w_i^(-1 / alpha)


def SIZE(config) -> float:
    """s^2 G (s^x w) = (s^x w)^(-1 / alpha)."""
    return -2 * config.alpha / (1 + config.alpha)
