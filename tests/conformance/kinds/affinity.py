"""Text i over the images against text i over its teacher's texts; image i likewise (2307.12732; 2303.17561)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import cosine, divergence, mean, pooled_rows, softmax
from conformance.scene import Scene
from mmkd.losses.affinity import Loss

CASES = {"pairs": {"text": "bert", "image": "vit", "temperature": 0.3}}
ONE_ROW = "zero"  # there is nothing to tell apart


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Pair by pair."""
    own, T = loss.config, loss.config.temperature
    rows = pooled_rows(scene, ("student", "text"), ("student", "image"), (own.text, "text"), (own.image, "image"))
    texts, images = [row[0] for row in rows], [row[1] for row in rows]
    teacher_texts, teacher_images = ([[x.detach() for x in row[n]] for row in rows] for n in (2, 3))
    found = []
    for i in range(len(rows)):
        from_text = softmax([cosine(texts[i], image) for image in images], T)
        from_image = softmax([cosine(text, images[i]) for text in texts], T)
        found.append(divergence(softmax([cosine(teacher_texts[i], text) for text in teacher_texts], T), from_text))
        found.append(divergence(softmax([cosine(teacher_images[i], image) for image in teacher_images], T), from_image))
    return mean(found)
