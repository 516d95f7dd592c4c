"""Embeddings whose gradient is written into the same memory in every step."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

MAPPED_BYTES = 2**25
"""Of what is larger glibc asks the kernel for fresh pages each time (mallopt(3))."""

_TYPES = (torch.float32, torch.float64)  # of half the width PyTorch adds up in another order


class QuickEmbedding(nn.Embedding):
    """``nn.Embedding``; on a CPU its gradient, dense as before, needs no fresh memory.

    The gradient of 30,522 embeddings of 384 numbers has 47 MB, of which a batch fills some hundred
    rows: page faults are more than half of what it and its optimizer step cost (one thread, AdamW:
    16 in place of 34 ms). Elsewhere, and in a compiled graph, it is ``nn.Embedding`` itself.
    Differentiable once.

    Args:
        embedding: the one in whose place it stands: dense, without ``max_norm`` and
            ``scale_grad_by_freq``. The weight is shared, not copied.
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        size = (embedding.num_embeddings, embedding.embedding_dim)
        super().__init__(*size, embedding.padding_idx, device="meta")
        self.weight = embedding.weight
        self.train(embedding.training)
        self._room = Room()

    def forward(self, input: Tensor) -> Tensor:
        """Rows of the weight, (*input.shape, D)."""
        learns = torch.is_grad_enabled() and self.weight.requires_grad
        known = self.weight.device.type == "cpu" and self.weight.dtype in _TYPES
        if not (learns and known) or torch.compiler.is_compiling():
            return super().forward(input)
        found: Tensor = _Lookup.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.padding_idx, self._room
        )
        return found


class Room:
    """Memory for one tensor, handed out again once nobody holds the last one any more.

    A copy, and what is unpickled, begins with none.
    """

    def __init__(self) -> None:
        self._memory: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._lease: weakref.ref[NDArray[np.uint8]] | None = None

    def __reduce__(self) -> tuple[type[Room], tuple[()]]:
        return Room, ()

    def zeros(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Zeros, (*shape); in fresh memory while the last ones are in use."""
        in_use = self._lease is not None and self._lease() is not None
        num_bytes = shape.numel() * dtype.itemsize
        if in_use or self._memory.nbytes != num_bytes:
            self._memory = np.empty(num_bytes, np.uint8)
        lease = self._memory.view()  # lives as long as any tensor over it, and no longer
        self._lease = weakref.ref(lease)
        return torch.from_numpy(lease).view(dtype).view(shape).zero_()


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, ids: Tensor, weight_VD: Tensor, padding_idx: int | None, room: Room
    ) -> Tensor:
        ctx.save_for_backward(ids)  # the weight may change before the gradient is asked for
        ctx.shape, ctx.dtype = weight_VD.shape, weight_VD.dtype
        ctx.padding_idx, ctx.room = padding_idx, room
        return nn.functional.embedding(ids, weight_VD)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_output: Tensor) -> tuple[None, Tensor, None, None]:
        (ids,) = ctx.saved_tensors
        gradient_VD: Tensor = ctx.room.zeros(ctx.shape, ctx.dtype)
        gradient_VD.index_add_(0, ids.flatten(), grad_output.reshape(-1, ctx.shape[1]))
        if ctx.padding_idx is not None:
            gradient_VD[ctx.padding_idx] = 0
        return None, gradient_VD, None, None
