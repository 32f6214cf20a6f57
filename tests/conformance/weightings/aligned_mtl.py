"""Gradients with principal components of one length (CVPR 2023)."""

HEADS = "own"
