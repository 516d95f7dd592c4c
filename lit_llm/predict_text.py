"""Requests -> continuations, by transformers' own ``generate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from lit_llm.backbone.loading import quiet_transformers
from lit_llm.backbone.source import check_weights
from lit_llm.backbone.tokenizer import load_tokenizer
from lit_llm.data.causal_items import document_ends
from lit_llm.data.subwords import Subwords
from lit_llm.predict_input import Request
from lit_llm.sampling import Sampling


class TextGenerator:
    """Continues texts with a causal language model, one at a time, in float32.

    Args:
        directory: of the model and its tokenizer.
        sampling: how the next token is chosen.
        device: where it runs.
    """

    uses_documents = False
    label_names: Sequence[str] = ()

    def __init__(self, directory: Path, sampling: Sampling, device: str = "cpu") -> None:
        check_weights(directory)
        self.tokenizer = load_tokenizer(directory)
        with quiet_transformers():
            self.model: Any = AutoModelForCausalLM.from_pretrained(
                directory,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
            )
        self.model.eval().to(device)
        self.sampling, self.device = sampling, device
        self._subwords = Subwords(self.tokenizer)
        self._start, end = document_ends(self.tokenizer, self._subwords)
        self._end = end[-1] if end else None

    def __call__(
        self, requests: Sequence[Request], with_logits: bool = False
    ) -> list[dict[str, Any]]:
        """``text`` and ``continuation`` of each request; an empty text starts a document.

        Raises:
            ValueError: logits are asked for, or a text leaves no room for a new token.
        """
        if with_logits:
            raise ValueError("--logits is for labels; a causal language model gives a continuation")
        return [
            {
                **request.passed_on,
                "text": request.text,
                "continuation": self._continued(request.text),
            }
            for request in requests
        ]

    @torch.inference_mode()
    def _continued(self, text: str) -> str:
        ids = self._start + next(self._subwords.of_texts([text]))
        limit = getattr(self.model.config, "max_position_embeddings", None)
        if limit is not None and len(ids) + self.sampling.max_new_tokens > limit:
            raise ValueError(
                f"a text of {len(ids)} tokens and {self.sampling.max_new_tokens} new ones are more "
                f"than the model's {limit} positions: shorten it, or lower --max_new_tokens"
            )
        torch.manual_seed(self.sampling.seed)
        prompt = torch.tensor([ids], device=self.device)
        with quiet_transformers():  # a start token that also fills rows is no oversight
            found = self.model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                eos_token_id=self._end,
                pad_token_id=self.tokenizer.pad_token_id,
                **self.sampling.arguments(),
            )[0]
        whole = self.tokenizer.decode(found, skip_special_tokens=True)
        given = self.tokenizer.decode(ids, skip_special_tokens=True)
        return str(whole.removeprefix(given))
