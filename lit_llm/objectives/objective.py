"""What is the same for every objective: one loss per optimizer step, divided once."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from lit_llm.backbone.backbone import Backbone
from lit_llm.batch import PackedBatch
from lit_llm.freezing_plan import FreezingPlan
from lit_llm.losses.soft_targets import Divergence, soft_targets
from lit_llm.objectives.divergence import diverged
from lit_llm.objectives.evaluation import Evaluation, Predictions, UnitEvaluation
from lit_llm.objectives.identity import identity, refuse_other_run
from lit_llm.objectives.layout import check_gate, cut_short, lay_out
from lit_llm.objectives.scorer import Scorer
from lit_llm.objectives.term_counts import counts_of_step
from lit_llm.objectives.votes import settle
from lit_llm.optim import Layers, OptimizerConfig, set_rates
from lit_llm.schedules import ScheduleConfig


class Objective(LightningModule):
    """A backbone, a head, a loss that is a sum with a count.

    The gradient of an optimizer step is that of (sum of losses) / (number of targets) over all
    ranks and all accumulated batches, whatever their sizes (docs/decisions/0002).

    A subclass says which head it wants (``build_head``), which logits it computes (``logits``), its
    loss (``loss``), and how a whole split is scored (``score``). One whose loss has several terms,
    or that is scored by sums rather than by one prediction per unit, overrides ``terms`` and
    ``evaluation`` instead of the last three.

    Attributes:
        term_weights: the loss terms and what each weighs: the step's loss is the sum over terms of
            weight * (sum of losses) / (number of targets).
        counted_by: of the terms whose count is not that of labels: ``targets``, with or without a
            label, or ``tokens``.
        loss_parts: what callbacks add to the sum of losses of a training batch, from the batch and
            its logits; see ``add_loss_part``.
        requests: what this rank wants to happen after the optimizer step, of ``votes.REQUESTS``.
        agreed: what some rank wanted to happen after the last one; the same on all ranks.
        freezing: which layers learn at which step of the run, where some are ever frozen.

    Args:
        backbone: the transformer; the attribute's name is the same in every objective.
        optimizer: which optimizer, how fast.
        schedule: how the learning rate moves, and which layers learn when.
    """

    monitor: ClassVar[str] = "val/loss"
    monitor_mode: ClassVar[str] = "min"
    headline: ClassVar[tuple[str, ...]] = ("loss",)
    """The metrics a terminal shows at the end; the files hold all of them."""

    def __init__(
        self, backbone: Backbone, optimizer: OptimizerConfig, schedule: ScheduleConfig
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head: nn.Module | None = None
        self.optimizer_config = optimizer
        self.schedule_config = schedule
        self.label_names: list[str] = []
        self.term_weights: dict[str, float] = {"loss": 1.0}
        self.counted_by: dict[str, str] = {}
        self.results: dict[str, dict[str, Any]] = {}
        self.loss_parts: list[Callable[[PackedBatch, Tensor], Tensor]] = []
        self.requests: set[str] = set()
        self.agreed: frozenset[str] = frozenset()
        self.freezing: FreezingPlan | None = None
        self._window: Tensor | None = None
        self._step_log: dict[str, float] = {}
        self._evaluation: Evaluation = self.evaluation()

    @abstractmethod
    def build_head(self) -> nn.Module | None:
        """Build the backbone's weights and return the head, once the labels are known."""

    @abstractmethod
    def logits(self, batch: PackedBatch) -> Tensor:
        """Scores at the batch's targets, (M, C), or per segment, (B, C)."""

    def loss(self, logits: Tensor, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """Loss summed over the targets, and their count."""
        raise NotImplementedError

    def probabilities(self, logits: Tensor) -> Tensor:
        """What a window contributes to its unit's prediction, the logits' shape."""
        raise NotImplementedError

    def match(
        self,
        logits: Tensor,
        teacher: Tensor,
        batch: PackedBatch,
        temperature: float,
        divergence: Divergence,
    ) -> tuple[Tensor, Tensor]:
        """How far scores are from a teacher's, summed over the targets, and their count."""
        weights = batch.targets.get("weights")
        return soft_targets(logits, teacher, temperature, divergence, weights)

    def score(self, predictions: Predictions, examples: Any) -> dict[str, Any]:
        """Metrics, tables and records of a split, from one prediction per unit."""
        raise NotImplementedError

    def terms(self, batch: PackedBatch) -> dict[str, tuple[Tensor, Tensor]]:
        """Sum and count of each of ``term_weights``; zeros on the graph where B = 0."""
        logits = self.logits(batch)
        if batch.num_examples == 0:
            return {"loss": (logits.sum() * 0.0, logits.new_zeros(()))}
        total, count = self.loss(logits, batch)
        for part in self.loss_parts:
            total = total + part(batch, logits)
        return {"loss": (total, count)}

    def taught(
        self, batch: PackedBatch, teacher: Scorer, temperature: float, divergence: Divergence
    ) -> tuple[tuple[Tensor, Tensor], dict[str, tuple[Tensor, Tensor]]]:
        """Sum and count of the distance from a teacher, and ``terms``, of one forward pass."""
        logits = self.logits(batch)
        if batch.num_examples == 0:
            nothing = (logits.sum() * 0.0, logits.new_zeros(()))
            return nothing, {"loss": nothing}
        soft = self.match(logits, teacher.logits(batch), batch, temperature, divergence)
        return soft, {"loss": self.loss(logits, batch)}

    def add_loss_part(self, part: Callable[[PackedBatch, Tensor], Tensor]) -> None:
        """Have something added to the sum of losses of each training batch.

        Raises:
            ValueError: the objective has ``terms`` of its own, which know of no parts.
        """
        if type(self).terms is not Objective.terms:
            raise ValueError(
                f"{type(self).__name__} computes its loss itself: nothing can be added"
            )
        self.loss_parts.append(part)

    def closing_facts(self, splits: Sequence[str]) -> dict[str, Any]:
        """What ``results.json`` says beside the scores, which ``results`` has by now."""
        return {}

    def evaluation(self) -> Evaluation:
        """What collects an evaluation epoch; a new one for each."""
        return UnitEvaluation(self)

    def build(self, label_names: list[str]) -> None:
        """Create the weights, once: later calls do nothing."""
        if self.head is None:
            self.label_names = list(label_names)
            self.head = self.build_head()

    def build_saved(self) -> None:
        """Create the weights of a saved model, its head and labels included.

        Raises:
            ValueError: the backbone's source holds no head for these labels.
        """
        names: dict[Any, str] = self.backbone.config.id2label
        self.build([name for _, name in sorted((int(i), name) for i, name in names.items())])
        if not self.backbone.head_loaded:
            raise ValueError(
                f"{self.backbone.source} holds no trained head of {type(self).__name__}"
            )

    def configure_model(self) -> None:
        """Called by the trainer when the data module knows the labels."""
        self.build(self.trainer.datamodule.label_names)  # type: ignore[attr-defined]

    def kept_parameters(self) -> list[nn.Parameter]:
        """Those that ``save`` writes, each once: backbone and head."""
        parts = [part for part in (self.backbone, self.head) if part is not None]
        return list(nn.ModuleList(parts).parameters())

    def becomes_teacher_of(self, student: Objective) -> None:
        """Settle what it is asked for by a student of the same kind; nothing here."""

    def save(self, directory: str | Path) -> None:
        """Write backbone, head and tokenizer as a transformers directory."""
        self.backbone.save(directory, self.head)

    def load_weights(self, directory: str | Path) -> None:
        """Take over the weights of a directory written by ``save``, every one of them."""
        assert self.head is not None
        backbone, head = self.backbone, self.head
        try:
            self.backbone = Backbone(str(directory))
            saved_head = self.build_head()
            assert backbone.model is not None
            assert self.backbone.model is not None
            backbone.model.load_state_dict(self.backbone.model.state_dict())
            if saved_head is not None:
                head.load_state_dict(saved_head.state_dict())
        finally:
            self.backbone, self.head = backbone, head

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say whose checkpoint it is."""
        checkpoint["identity"] = identity(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another objective, label set, backbone, tokenizer or data."""
        refuse_other_run(checkpoint.get("identity", {}), identity(self))

    def on_train_start(self) -> None:
        """Forget what an earlier, interrupted fit of the same object left behind."""
        self._window, self.agreed = None, frozenset()
        self.requests.clear()
        # ``estimated_stepping_batches`` makes Lightning set up the loader before it has read the
        # checkpoint, and then it passes over the loader's state.
        self.trainer.fit_loop._load_combined_loader_states()
        self.refresh_rates()  # a resumed run may be longer than it was
        check_gate(self)

    def refresh_rates(self) -> None:
        """Give each group of parameters the rate that its schedule now has for this step."""
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, LambdaLR):
                set_rates(config.scheduler)

    def layer_groups(self) -> Layers:
        """The backbone's groups from the input upwards, then ``head``; each parameter once."""
        groups = self.backbone.layer_groups()
        below = {id(parameter) for _, parameters in groups for parameter in parameters}
        head = [parameter for parameter in self.parameters() if id(parameter) not in below]
        return [*groups, ("head", head)] if head else groups

    def training_step(self, batch: PackedBatch, batch_idx: int) -> Tensor:
        """The local sum of losses; the division waits until the window's count is known.

        With several terms it is in units of the first one's targets (docs/decisions/0008).
        """
        terms = self.terms(batch)
        pairs = torch.stack([torch.stack([s.double(), n.double()]) for s, n in terms.values()])
        self._window = pairs.detach() if self._window is None else self._window + pairs.detach()
        (first, (loss, _)), *others = terms.items()
        loss = self.term_weights[first] * loss
        if others:  # of a single term no count is asked for: a device would have to be waited for
            counts = counts_of_step(self, batch, terms)
            for name, (total, _) in others:
                share = counts[first] / (counts[name] or 1.0)
                loss = loss + self.term_weights[name] * share * total
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Divide the window's gradients by its global count, and clip, in one pass.

        Lightning calls this before every optimizer step, after fp16 unscaling.

        Raises:
            DivergedError: the loss or a gradient is not finite, on whatever rank.
        """
        window, self._window = self._window, None
        if window is None:
            window = torch.zeros(len(self.term_weights), 2, dtype=torch.float64, device=self.device)
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        broken = torch.isfinite(norm).logical_not().double()
        *sums, broken_ranks = self.agree(torch.cat([window.flatten(), broken.view(1)]))
        means = self._means(sums)
        scale = self.trainer.accumulate_grad_batches * self.trainer.world_size / max(sums[1], 1e-12)
        norm = norm * scale
        loss = sum(self.term_weights[name] * mean for name, mean in means.items())
        self._step_log = {"train/loss": loss, "train/grad_norm": norm.item()}
        if len(means) > 1:
            self._step_log |= {f"train/{name}_loss": mean for name, mean in means.items()}
        infinite = bool(broken_ranks) and self.trainer.precision != "16-mixed"  # its scaler probes
        if infinite or not math.isfinite(loss):
            raise diverged(self, self.trainer.global_step + 1, loss, norm.item())
        if gradient_clip_algorithm in (None, "norm") and gradient_clip_val:
            scale = scale * min(1.0, gradient_clip_val / (self._step_log["train/grad_norm"] + 1e-6))
        torch._foreach_mul_(gradients, scale)
        if gradient_clip_algorithm == "value":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def _means(self, sums: list[float]) -> dict[str, float]:
        """Each term's loss per target, from (sum, count) of one after the other."""
        pairs = zip(self.term_weights, sums[::2], sums[1::2], strict=True)
        return {name: total / max(count, 1e-12) for name, total, count in pairs}

    def agree(self, sums: Tensor | None = None) -> list[float]:
        """Add up ``sums`` over the ranks, and settle what they ask for; ``agreed`` holds it.

        Every rank must call this as often as the others.
        """
        self.agreed, sums_of_all = settle(self.requests, sums, self.trainer.world_size, self.device)
        self.requests.clear()
        return sums_of_all

    def on_train_batch_end(self, outputs: Any, batch: PackedBatch, batch_idx: int) -> None:
        """Log the step that has just been made: global loss, gradient norm before clipping."""
        for name, value in self._step_log.items():
            self.log(name, value, prog_bar=name == "train/loss")
        self._step_log = {}

    def on_validation_epoch_start(self) -> None:
        """Begin anew, also after an interrupted evaluation."""
        self._evaluation = self.evaluation()

    def on_test_epoch_start(self) -> None:
        """Begin anew, also after an interrupted evaluation."""
        self._evaluation = self.evaluation()

    def validation_step(self, batch: PackedBatch, batch_idx: int) -> None:
        """Collect what one batch says."""
        self._evaluation.add(batch)

    def test_step(self, batch: PackedBatch, batch_idx: int) -> None:
        """Collect what one batch says."""
        self._evaluation.add(batch)

    def on_validation_epoch_end(self) -> None:
        """Score the development set."""
        self._report("val", partial=cut_short(self.trainer, self.trainer.limit_val_batches))

    def on_test_epoch_end(self) -> None:
        """Score the test set."""
        self._report("test", partial=cut_short(self.trainer, self.trainer.limit_test_batches))

    def _report(self, split: str, partial: bool) -> None:
        """Every rank has the same result, and logs it."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        result = self.results[split] = self._evaluation.result(data, split, partial)
        for name, value in result["metrics"].items():
            shown = f"{split}/{name}" in (self.monitor, f"{split}/loss")
            # Every rank has this very number: the largest of them is exactly it.
            self.log(f"{split}/{name}", value, prog_bar=shown, sync_dist=True, reduce_fx="max")

    def configure_optimizers(self) -> Any:
        """One optimizer over all parameters, one schedule stepped with it.

        Raises:
            ValueError: the run has no end, or the schedule does not fit it.
        """
        return lay_out(self)
