"""The shared transformer: hidden states for a packed batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from transformers import (
    AutoModel,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from lit_llm.backbone.architecture import is_causal, load_config, set_task, takes_argument
from lit_llm.backbone.attention import implementation_name, mask_dtype, segment_arguments
from lit_llm.backbone.building import build_model, save_model, settle_padding
from lit_llm.backbone.dropout import set_dropout
from lit_llm.backbone.keep_layers import keep_layers
from lit_llm.backbone.keep_width import KeepWidth, check_width
from lit_llm.backbone.last_block import last_block_at
from lit_llm.backbone.layer_groups import LayerGroups, layer_groups, layer_modules
from lit_llm.backbone.loading import LoadReport, transfer
from lit_llm.backbone.narrowing import narrowed
from lit_llm.backbone.packed_inputs import (
    PACKABLE,
    check_lengths,
    max_positions,
    packed_inputs,
    single_inputs,
)
from lit_llm.backbone.quick_modules import use_quick_modules
from lit_llm.backbone.sizes import (
    SIZES,
    config_of_size,
    scratch_needs_tokenizer,
    take_vocabulary,
)
from lit_llm.backbone.source import TOKENIZER_KEY, find_directory, resolve_source
from lit_llm.backbone.tokenizer import (
    check_fits,
    check_same_vocabulary,
    load_tokenizer,
    tokenizer_state,
    tokenizer_to_train,
    with_padding,
)
from lit_llm.batch import PackedBatch


@final
class Backbone(nn.Module):
    """One transformers model without its head, shared by every objective.

    Creating it is cheap: the source is found and configuration and tokenizer are read. Weights
    come with ``build``, once the labels are known.

    Args:
        source: a hub id; a directory; an earlier run's directory (its ``best/`` is meant);
            ``pkg://package/path``, a directory inside an installed package; or a size trained from
            scratch: ``tiny``, ``mini``, ``small``, ``medium``, ``base``, ``gpt2-tiny``, ...
        tokenizer: hub id, directory or ``pkg://``; default the source's own. From scratch also
            ``train``, ``train:SIZE`` or ``train:KIND:SIZE``: learned from the training split, SIZE
            entries; KIND is ``wordpiece``, ``bpe`` or ``byte_level_bpe``.
        init_from: a run or directory whose backbone weights, and nothing else, are copied in.
        keep_layers: the blocks that are kept, from 0 upwards; the others are left out once the
            weights are there, which makes a student of its teacher. Default all.
        keep_width: the narrower model that is made of what is left then, the head with it.
        hidden_dropout: overrides the configuration's probability.
        attention_dropout: likewise, on the attention weights.
        attn_implementation: ``sdpa``, ``eager``, or ``segments``: each segment on its own, the
            default on a machine without a GPU; elsewhere ``sdpa`` where there is one.

    Attributes:
        source: as it was given.
        model: the base model, after ``build``.
        tokenizer: None until ``set_tokenizer`` where it is to be trained.
        tokenizer_to_train: its kind and size then, else None.
        causal: tokens see only what stands before them.
        packs: several examples per row are exact for this architecture.
        head_loaded: the head came from the source too (same task, same labels).
        whole: ``at`` computes all of the last block, for whoever looks at it (``inner_states``).

    Raises:
        ValueError: source, tokenizer or an override makes no sense (the message says what does).
        OSError: the hub does not have the source or cannot be reached.
    """

    def __init__(
        self,
        source: str,
        *,
        tokenizer: str | None = None,
        init_from: str | None = None,
        keep_layers: list[int] | None = None,
        keep_width: KeepWidth | None = None,
        hidden_dropout: float | None = None,
        attention_dropout: float | None = None,
        attn_implementation: str | None = None,
    ) -> None:
        super().__init__()
        self.source = source
        self.model: PreTrainedModel | None = None
        self._extra: dict[str, Any] = {}
        self.head_loaded = self.whole = False
        self._keep_layers, self._keep_width = keep_layers, keep_width
        found = resolve_source(source)
        self._directory = found.directory
        self._init_from = find_directory(init_from, "backbone.init_from") if init_from else None
        self.config: PreTrainedConfig = (
            load_config(found.directory) if found.directory else config_of_size(source)
        )
        if keep_width is not None:
            check_width(keep_width, self.config, from_scratch=found.directory is None)
        set_dropout(self.config, hidden_dropout, attention_dropout)
        self.causal = is_causal(self.config)
        self.packs = self.config.model_type in PACKABLE
        self._attention = implementation_name(
            attn_implementation,
            self.config.model_type,
            self.packs,
            windowed=getattr(self.config, "sliding_window", None) is not None,
        )
        self.tokenizer_to_train = tokenizer_to_train(tokenizer, self.causal)
        self.tokenizer: PreTrainedTokenizerFast = None
        self._read_tokenizer(source, tokenizer)

    @property
    def max_positions(self) -> int | None:
        """Tokens of the longest example the positions allow; None without a limit."""
        return max_positions(self.config)

    def set_tokenizer(self, tokenizer: PreTrainedTokenizerFast | str | Path) -> None:
        """Hand over the tokenizer of a model from scratch, itself or its directory.

        Raises:
            ValueError: the weights are already built, or the source brings its own tokenizer.
        """
        if self.model is not None or self._directory is not None:
            raise ValueError("only a model from scratch, not built yet, can be given a tokenizer")
        if isinstance(tokenizer, (str, Path)):
            tokenizer = load_tokenizer(Path(tokenizer))
        self.tokenizer = with_padding(tokenizer)
        take_vocabulary(self.config, self.tokenizer)

    def tokenizer_state(self) -> dict[str, Any]:
        """All that decides how the tokenizer cuts a text, as plain data."""
        return tokenizer_state(self.tokenizer)

    def build(self, task: Any = AutoModel, **config: Any) -> nn.Module | None:
        """Create the weights, once.

        Args:
            task: an ``AutoModel...`` class of transformers; ``AutoModelForPreTraining`` for an
                encoder's words and sentences.
            config: settings of the task: ``num_labels``, ``id2label``, ``problem_type``, ...

        Returns:
            The task's head, (M, D) to (M, C): transformers' own where it has one for this
            architecture, else dropout and a linear layer; an ``LMHead`` for language models. None
            for ``AutoModel``.

        Raises:
            ValueError: called twice, no tokenizer yet, an unknown setting, or weights that do not
                fill the model (the message names the key).
        """
        if self.model is not None:
            raise ValueError("the backbone is built already")
        if self.tokenizer is None:
            raise ValueError("a model from scratch needs its tokenizer before it is built")
        set_task(self.config, config)
        with torch.device("cpu"):  # Lightning sets the GPU here, and moves the model there itself
            model, head, report = build_model(task, self.config, self._directory, self._attention)
            if self._init_from is not None:
                check_same_vocabulary(self.tokenizer, self._init_from)
                report = report.followed_by(transfer(model, self._init_from, model.config))
            if self._keep_layers is not None:
                keep_layers(model, self._keep_layers)
                report.note(f"blocks {self._keep_layers}")
            if self._keep_width is not None:
                width = self._keep_width
                report.note(f"hidden size {width.hidden_size} of {model.config.hidden_size}")
                model, head = narrowed(model, head, width, task, self._attention)
        self.model, self.config, self.head_loaded = model, model.config, report.head
        settle_padding(model, self.tokenizer)
        self._extra = {"use_cache": False} if takes_argument(model, "use_cache") else {}
        for part in (model, head):
            if part is not None:
                use_quick_modules(part)
                part.train()  # transformers hands models over in evaluation mode
        self._tell(report)
        return head

    def forward(self, batch: PackedBatch, all_layers: bool = False) -> Tensor | tuple[Tensor, ...]:
        """Hidden states of a packed batch; each example as if it stood alone.

        Args:
            batch: R rows of L tokens; one example per row unless ``packs``.
            all_layers: also the embeddings' and every block's.

        Returns:
            (R, L, D), or with ``all_layers`` one such tensor per layer, embeddings first. What
            stands on filler means nothing.

        Raises:
            ValueError: not built yet, an example longer than ``max_positions``, or two examples in
                one row where the architecture cannot keep them apart.
        """
        if self.model is None:
            raise ValueError("call build() before the backbone runs")
        check_lengths(batch, self.max_positions)
        implementation = self.config._attn_implementation
        if self.packs:
            dtype = mask_dtype(implementation, self.model.dtype)
            inputs = packed_inputs(batch, self.config, self.causal, dtype)
        else:
            inputs = single_inputs(batch, self.config)
        if all_layers:
            inputs["output_hidden_states"] = True
        segments = segment_arguments(implementation, batch, self.causal)
        output = self.model(**inputs, **segments, **self._extra)
        hidden: Tensor | tuple[Tensor, ...] = (
            output.hidden_states if all_layers else output.last_hidden_state
        )
        return hidden

    def at(self, batch: PackedBatch, positions_M: Tensor) -> Tensor:
        """Hidden states of some tokens of a packed batch, (M, D), as ``forward`` gives them.

        The last block of BERT and its like leaves out most of what it would compute for others:
        of six blocks' products a tenth where 15 % of the tokens are asked for.

        Args:
            batch: as for ``forward``.
            positions_M: where the tokens stand in the flattened (R, L) batch, int64; M may be 0.

        Raises:
            ValueError: as ``forward``.
        """
        if self.model is None:
            raise ValueError("call build() before the backbone runs")
        if self.whole:
            return self(batch).flatten(0, 1)[positions_M]  # type: ignore[no-any-return]
        with last_block_at(self.model, positions_M) as reduction:
            hidden: Tensor = self(batch).flatten(0, 1)
        return hidden if reduction.done else hidden[positions_M]

    def layer_groups(self) -> LayerGroups:
        """The base model's parameters in order: embeddings, block 0, ..., perhaps final.

        Raises:
            ValueError: not built yet.
        """
        if self.model is None:
            raise ValueError("call build() before asking for layer groups")
        return layer_groups(self.model, self.config.num_hidden_layers)

    def layer_modules(self) -> dict[str, list[nn.Module]]:
        """The modules of each layer group, those without parameters too.

        Raises:
            ValueError: not built yet.
        """
        if self.model is None:
            raise ValueError("call build() before asking for layer modules")
        return layer_modules(self.model, self.config.num_hidden_layers)

    def save(self, directory: str | Path, head: nn.Module | None = None) -> None:
        """Write weights (safetensors), configuration and tokenizer as transformers reads them.

        Args:
            directory: created if need be.
            head: what ``build`` returned; with it ``AutoModelFor...`` opens the directory, without
                it ``AutoModel`` does. A head of our own goes to ``head.safetensors``.

        Raises:
            ValueError: not built yet.
        """
        if self.model is None:
            raise ValueError("call build() before saving")
        save_model(self.model, head, Path(directory))
        self.tokenizer.save_pretrained(directory)

    def _read_tokenizer(self, source: str, tokenizer: str | None) -> None:
        """Fill ``tokenizer`` from the argument or the source; left None if it is to be trained."""
        if self.tokenizer_to_train is not None:
            if self._directory is not None:
                raise ValueError(
                    f"backbone.tokenizer: {source!r} has its own vocabulary; train one only for "
                    f"the sizes {', '.join(SIZES)}"
                )
        elif self._directory is None:
            if tokenizer is None:
                raise ValueError(scratch_needs_tokenizer(source))
            self.set_tokenizer(find_directory(tokenizer, TOKENIZER_KEY))
        else:
            where = find_directory(tokenizer, TOKENIZER_KEY) if tokenizer else None
            self.tokenizer = load_tokenizer(where or self._directory)
            check_fits(self.tokenizer, self.config.vocab_size, source)

    def _tell(self, report: LoadReport) -> None:
        rank_zero_info(f"backbone: {self.config.model_type}, {report}")
        if not self.packs:
            rank_zero_info(
                f"backbone: {self.config.model_type} is not known to take packed rows: "
                "one example per row, slower, and just as exact"
            )
