"""A transformers language model, cut in three: base model, head, output layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lit_llm.backbone.sentence_head import SentenceHead, sentence_output
from lit_llm.backbone.task_head import TaskHead


class LMHead(TaskHead):
    """Transformers' own language-modelling head, its output layer apart.

    The layer that turns features into one score per word of the vocabulary stands beside the rest,
    so that ``linear_cross_entropy`` can run it a few vectors at a time. Where the model ties it to
    the input embeddings, ``output_weight`` is their very parameter.

    Args:
        task_model: e.g. ``BertForMaskedLM`` or ``GPT2LMHeadModel``; its base model is taken out.

    Attributes:
        output: the layer over the vocabulary, (D') to (V).
        sentence: scores of a text from its first token's vector, (B, D) to (B, 2):
            transformers' own of ``BertForPreTraining`` and ``AlbertForPreTraining``, one of ours
            where it was put here, else None.

    Raises:
        ValueError: the model has no such layer, changes the logits after it (Gemma 2 caps them:
            ``linear_cross_entropy`` would train another model), or does not run without it.
    """

    def __init__(self, task_model: PreTrainedModel) -> None:
        name = type(task_model).__name__
        output = task_model.get_output_embeddings()
        if not isinstance(output, nn.Linear):
            raise ValueError(f"{name} has no linear output layer over the vocabulary")
        paths = {id(module): path for path, module in task_model.named_modules()}
        super().__init__(task_model)
        self._output_path = paths[id(output)]
        self._sentence_path = sentence_output(task_model)
        self.output = output
        self.sentence: SentenceHead | None = None
        if self._sentence_path is not None:
            states = getattr(task_model, self.base_name)
            classifier = task_model.get_submodule(self._sentence_path)
            self.sentence = SentenceHead(states.pooler, states.pooler_activation, classifier)
        self._cut()
        try:
            last = self._output_is_last(task_model.config.hidden_size)
        except Exception as error:  # whatever the model's code makes of a part that is not there
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(f"{name} cannot be cut before its output layer: {reason}") from error
        if not last:
            raise ValueError(f"{name} changes the logits after its output layer")

    @property
    def has_own_sentence_head(self) -> bool:
        """Whether ``sentence`` is ours, which transformers has no place for."""
        return self.sentence is not None and self._sentence_path is None

    @property
    def output_weight(self) -> Tensor:
        """Of the layer over the vocabulary, (V, D')."""
        return self.output.weight

    @property
    def output_bias(self) -> Tensor | None:
        """Likewise, (V,); None where the layer has none."""
        return self.output.bias

    def features(self, hidden_MD: Tensor) -> Tensor:
        """What goes into the output layer.

        Args:
            hidden_MD: hidden states of M tokens, (M, D), M may be 0.

        Returns:
            (M, D'): BERT's dense layer, activation and norm, for example; the hidden states
            themselves for most decoders. D' may be another width (ELECTRA, ALBERT).
        """
        return super().forward(hidden_MD)

    def forward(self, hidden_MD: Tensor) -> Tensor:
        """Logits of M tokens, (M, V), all at once: for a few; see ``features`` for many."""
        return self.output(self.features(hidden_MD))  # type: ignore[no-any-return]

    @contextmanager
    def joined(self, base: PreTrainedModel) -> Iterator[PreTrainedModel]:
        """The whole task model again, for as long as the context lasts."""
        self._put(self._output_path, self.output)
        if self._sentence_path is not None and self.sentence is not None:
            self._put(f"{self.base_name}.pooler", self.sentence.pooler)
            self._put(self._sentence_path, self.sentence.classifier)
        try:
            with super().joined(base) as task_model:
                yield task_model
        finally:
            self._cut()

    def _cut(self) -> None:
        """Take out of the task model what stands beside it."""
        self._put(self._output_path, nn.Identity())
        if self._sentence_path is not None:
            self._put(f"{self.base_name}.pooler", nn.Identity())
            self._put(self._sentence_path, nn.Identity())

    def _put(self, path: str, module: nn.Module) -> None:
        parent, _, name = path.rpartition(".")
        setattr(self.task_model.get_submodule(parent), name, module)

    @torch.no_grad()
    def _output_is_last(self, hidden_size: int) -> bool:
        """Whether the output layer applied to the features gives what the task model gives.

        Tried with a small output layer of large weights, because caps only show on large logits.
        """
        training = self.training
        self.eval()
        generator = torch.Generator().manual_seed(0)
        hidden_MD = torch.randn(8, hidden_size, generator=generator)
        bias = self.output.bias is not None
        probe: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, self.output.in_features, 16, bias
        )
        for parameter in probe.parameters():
            parameter.copy_(100 * torch.randn(parameter.shape, generator=generator))
        expected = probe(self.features(hidden_MD))
        self._put(self._output_path, probe)
        found = self.features(hidden_MD)
        self._put(self._output_path, nn.Identity())
        self.train(training)
        return bool(torch.allclose(found, expected, rtol=1e-4, atol=1e-2))
