"""One optimizer step of a plain transformers model, one example at a time.

Loss: -log p of the label at the scored sub-word of each word (Devlin et al. 2019, section 5.3), or
of the text (section 4.1), summed and divided by the number of words or texts. AdamW is torch's;
matrices are decayed, vectors are not.
"""

from __future__ import annotations

import torch
from torch import Tensor


def word_losses(model, tokenizer, example, label_ids, subword="first") -> list[Tensor]:
    encoded = tokenizer(example["words"], is_split_into_words=True, return_tensors="pt")
    place_of_word: dict[int, int] = {}
    for place, word in enumerate(encoded.word_ids()):
        if word is not None and (subword == "last" or word not in place_of_word):
            place_of_word[word] = place
    log_p = model(input_ids=encoded["input_ids"]).logits[0].log_softmax(-1)
    return [-log_p[place_of_word[w], label_ids[tag]] for w, tag in enumerate(example["tags"])]


def text_loss(model, tokenizer, example, label_ids) -> Tensor:
    encoded = tokenizer(example["text"], return_tensors="pt")
    log_p = model(input_ids=encoded["input_ids"]).logits[0].log_softmax(-1)
    return -log_p[label_ids[example["label"]]]


def one_step(model, losses: list[Tensor], *, lr, weight_decay, eps, max_norm=None):
    """(loss, gradients as the optimizer sees them, parameters after the step), by name."""
    loss = sum(losses) / len(losses)
    loss.backward()
    if max_norm is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=lr,
        eps=eps,
    ).step()
    return loss.item(), gradients, dict(model.named_parameters())
