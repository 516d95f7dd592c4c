"""Two scores for a text from its first token: is the second part the first one's continuation?"""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

# Where transformers' model for pre-training keeps its output for sentences; any other encoder gets
# a head of our own.
SENTENCE_OUTPUTS = {"albert": "sop_classifier", "bert": "cls.seq_relationship"}


class SentenceHead(nn.Module):
    """Pooler and classifier for next-sentence prediction or sentence order.

    Class 0 is the text as it was written, class 1 another second part (BERT) or swapped parts
    (ALBERT).

    Args:
        pooler: (B, D) to (B, D) where there is an ``activation``, else transformers' own module,
            which picks the first of each text's tokens, (B, L, D).
        activation: what follows the pooler.
        classifier: (B, D) to (B, 2).
    """

    def __init__(
        self, pooler: nn.Module, activation: nn.Module | None, classifier: nn.Module
    ) -> None:
        super().__init__()
        self.pooler = pooler
        self.activation = activation
        self.classifier = classifier

    def forward(self, first_BD: Tensor) -> Tensor:
        """Scores of B texts, (B, 2), from their first tokens' hidden vectors, (B, D)."""
        if self.activation is None:
            pooled_BD = self.pooler(first_BD.unsqueeze(1))
        else:
            pooled_BD = self.activation(self.pooler(first_BD))
        return self.classifier(pooled_BD)  # type: ignore[no-any-return]


def new_sentence_head(config: PreTrainedConfig) -> SentenceHead:
    """BERT's, with random weights, for an encoder that transformers has no such head for."""
    width = config.hidden_size
    pooler, classifier = nn.Linear(width, width), nn.Linear(width, 2)
    for layer in (pooler, classifier):
        nn.init.normal_(layer.weight, std=getattr(config, "initializer_range", 0.02))
        nn.init.zeros_(layer.bias)
    return SentenceHead(pooler, nn.Tanh(), classifier)


def sentence_output(task_model: PreTrainedModel) -> str | None:
    """The path of a task model's own output for sentences; None without one."""
    path = SENTENCE_OUTPUTS.get(task_model.config.model_type)
    return path if path in dict(task_model.named_modules()) else None
