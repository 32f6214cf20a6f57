"""At each place the gradients of one sign (2010.06808, algorithm 1)."""

HEADS = "own"
COMBINES = False  # it keeps numbers, not gradients; the weights are the shares of their squares
RANDOM = True
