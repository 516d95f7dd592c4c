"""The base model's parameters in order: embeddings, blocks from below, what comes after."""

from __future__ import annotations

from torch import nn

LayerGroups = list[tuple[str, list[nn.Parameter]]]


def layer_groups(model: nn.Module, num_hidden_layers: int) -> LayerGroups:
    """Group a transformer's parameters from the input upwards.

    Args:
        model: a transformers base model (BERT, GPT-2, ...).
        num_hidden_layers: its number of layers.

    Returns:
        ``[("embeddings", ...), ("block 0", ...), ..., ("final", ...)]``: each parameter exactly
        once, ``final`` (a last norm) only where there is one. Layers that share their weights
        (ALBERT) are one block.

    Raises:
        ValueError: the model holds no list of layers.
    """
    path, lists = block_lists(model, num_hidden_layers)
    blocks: list[list[nn.Parameter]] = [[] for _ in lists[0]]
    for modules in lists:
        for block, module in zip(blocks, modules, strict=True):
            block.extend(module.parameters())
    in_blocks = {id(parameter) for block in blocks for parameter in block}
    below: list[nn.Parameter] = []
    above: list[nn.Parameter] = []
    # DeBERTa registers what all its blocks read from below (relative positions) after them.
    reads_from_below = hasattr(model.get_submodule(path), "rel_embeddings")
    seen_blocks = False
    for name, parameter in model.named_parameters():
        if id(parameter) in in_blocks:
            seen_blocks = True
        elif "final" in name or (seen_blocks and not reads_from_below):  # OPT registers it first
            above.append(parameter)
        else:
            below.append(parameter)
    groups = [("embeddings", below)]
    groups += [(f"block {i}", block) for i, block in enumerate(blocks)]
    return groups + ([("final", above)] if above else [])


def layer_modules(model: nn.Module, num_hidden_layers: int) -> dict[str, list[nn.Module]]:
    """The modules of each group of ``layer_groups``, the largest that belong to one group alone.

    Modules without parameters (dropout) are there too. What stands before the blocks goes with
    the embeddings, the rest with ``final``.

    Raises:
        ValueError: the model holds no list of layers.
    """
    _, lists = block_lists(model, num_hidden_layers)
    group_of = {
        id(parameter): name
        for name, parameters in layer_groups(model, num_hidden_layers)
        for parameter in parameters
    }
    blocks = {id(module): f"block {i}" for modules in lists for i, module in enumerate(modules)}
    found: dict[str, list[nn.Module]] = {}
    reached_blocks = False

    def walk(module: nn.Module) -> None:
        nonlocal reached_blocks
        for child in module.children():
            if id(child) in blocks:
                found.setdefault(blocks[id(child)], []).append(child)
                reached_blocks = True
            elif any(id(inner) in blocks for inner in child.modules()):
                walk(child)
            else:
                parameter = next(child.parameters(), None)
                by_place = "final" if reached_blocks else "embeddings"
                name = by_place if parameter is None else group_of[id(parameter)]
                found.setdefault(name, []).append(child)

    walk(model)
    return found


def block_lists(model: nn.Module, num_hidden_layers: int) -> tuple[str, list[nn.ModuleList]]:
    """The parent's name and its lists of layers; XLM keeps one list per part of a layer.

    Raises:
        ValueError: the model holds no list of layers.
    """
    by_depth = sorted(model.named_modules(), key=lambda item: item[0].count("."))
    lists = [(name, module) for name, module in by_depth if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ValueError(f"{type(model).__name__} holds no list of layers to group")
    full = [(name, module) for name, module in lists if len(module) == num_hidden_layers]
    chosen = full or lists[:1]  # ALBERT: fewer groups of weights than layers
    parent = chosen[0][0].rpartition(".")[0]
    size = len(chosen[0][1])
    return parent, [m for n, m in chosen if n.rpartition(".")[0] == parent and len(m) == size]
