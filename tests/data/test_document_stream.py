"""A streamed source: each document once a pass over all ranks, and from any document on."""

import json
from itertools import islice
from pathlib import Path

import datasets
import huggingface_hub
import pytest
import torch

from lit_llm.data.corpus_source import CorpusSource
from lit_llm.data.document_stream import DocumentStream
from lit_llm.data.documents import read_documents

NUMBER = 12
TEXTS = [f"w{i} stands here.\n\nAnd w{i} there." for i in range(NUMBER)]


def marked(directory, monkeypatch):
    (directory / "all.txt").write_text("\n---\n".join(["", *TEXTS]))  # an empty one comes first
    return CorpusSource(str(directory / "all.txt"), document_marker="---")


def files(directory, monkeypatch):
    (directory / "files").mkdir()
    for number in range(4):
        rows = [{"text": text, "book": number} for text in TEXTS[3 * number : 3 * number + 3]]
        lines = "\n".join(map(json.dumps, rows)) + "\n"
        (directory / "files" / f"part{number}.jsonl").write_text(lines)
    return CorpusSource(str(directory / "files"), group_column="book")


def saved(directory, monkeypatch):
    split = datasets.Dataset.from_dict({"text": TEXTS, "other": range(NUMBER)})
    datasets.DatasetDict(train=split).save_to_disk(str(directory / "saved"))
    return CorpusSource(str(directory / "saved"))


def hub(directory, monkeypatch):
    """Two parquet files, streamed as the hub's are."""
    for number, texts in enumerate((TEXTS[:5], TEXTS[5:])):
        split = datasets.Dataset.from_dict({"text": texts, "other": range(len(texts))})
        split.to_parquet(directory / f"{number}.parquet", batch_size=3)
    load = datasets.load_dataset

    def from_files(hub_id, config, streaming):
        assert (hub_id, config, streaming) == ("someone/corpus", "big", True)
        paths = {"train": [str(directory / f"{number}.parquet") for number in range(2)]}
        return load("parquet", data_files=paths, streaming=True)

    monkeypatch.setattr(datasets, "load_dataset", from_files)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return CorpusSource("someone/corpus", hub_config="big")


STORES = pytest.mark.parametrize("store", [marked, files, saved, hub])


def texts(documents):
    return ["\n\n".join(document["paragraphs"]) for document in documents]


@STORES
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_all_ranks_together_see_each_document_once_a_pass(store, world_size, tmp_path, monkeypatch):
    source = store(tmp_path, monkeypatch)
    streams = [DocumentStream(source, tmp_path, rank, world_size) for rank in range(world_size)]
    passes = [[], []]
    for stream in streams:
        for document in stream.take(2 * NUMBER):
            if stream.passes < 2:
                passes[stream.passes] += texts([document])
    assert [sorted(seen) for seen in passes] == 2 * [sorted(TEXTS)]


@STORES
@pytest.mark.parametrize("world_size", [1, 2])
def test_goes_on_from_any_document(store, world_size, tmp_path, monkeypatch):
    source = store(tmp_path, monkeypatch)
    streams = [DocumentStream(source, tmp_path, world_size - 1, world_size) for _ in range(2)]
    expected = list(streams[0].take(20))
    whole = DocumentStream(source, tmp_path, world_size - 1, world_size)
    for number in range(15):
        torch.save(whole.state_dict(), tmp_path / "state.pt")
        streams[1].load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        assert list(streams[1].take(5)) == expected[number : number + 5]
        list(whole.take(1))


@pytest.mark.parametrize("store", [marked, files, saved])
def test_documents_are_those_that_are_read_without_streaming(store, tmp_path, monkeypatch):
    source = store(tmp_path, monkeypatch)
    expected = list(read_documents(source, cache_dir=tmp_path))
    assert list(DocumentStream(source, tmp_path).take(NUMBER)) == expected


def test_ranks_read_files_of_their_own_where_they_can(tmp_path, monkeypatch):
    source = files(tmp_path, monkeypatch)
    groups = [
        {document["group"] for document in DocumentStream(source, tmp_path, rank, 2).take(6)}
        for rank in range(2)
    ]
    assert groups[0] | groups[1] == {"0", "1", "2", "3"}
    assert not groups[0] & groups[1]


def test_what_is_left_out_does_not_count(tmp_path, monkeypatch):
    def keep(documents):
        return (document for document in documents if "w3 " not in document["paragraphs"][0])

    stream = DocumentStream(marked(tmp_path, monkeypatch), tmp_path, keep=keep)
    assert texts(stream.take(NUMBER - 1)) == TEXTS[:3] + TEXTS[4:]


def test_a_corpus_without_a_document_is_refused(tmp_path, monkeypatch):
    stream = DocumentStream(marked(tmp_path, monkeypatch), tmp_path, keep=lambda _: iter(()))
    with pytest.raises(ValueError, match="rank 0 of 1 finds no document to train on"):
        list(stream.take(1))
    more_ranks = DocumentStream(marked(tmp_path, monkeypatch), tmp_path, 12, 13)
    with pytest.raises(ValueError, match="rank 12 of 13 finds no document"):
        list(more_ranks.take(1))


def test_hub_rows_are_named_in_errors(tmp_path, monkeypatch):
    source = CorpusSource(hub(tmp_path, monkeypatch).path, hub_config="big", group_column="other")
    split = datasets.Dataset.from_dict({"text": ["good", "bad"], "other": [1, None]})
    split.to_parquet(tmp_path / "0.parquet")
    with pytest.raises(ValueError, match=r"corpus\[train\] row 2, column 'other': .*missing"):
        list(DocumentStream(source, tmp_path).take(3))


def test_a_column_that_is_not_there_is_refused_at_once(tmp_path, monkeypatch):
    source = hub(tmp_path, monkeypatch)
    wrong = CorpusSource(source.path, hub_config="big", text_column="txt")
    with pytest.raises(ValueError, match="no column 'txt'; there are 'text', 'other'"):
        DocumentStream(wrong, tmp_path)


def test_hub_id_offline_fails_at_once(tmp_path, monkeypatch, attempts):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        ConnectionError, match=r"'nobody/nothing' is no path.*HF_HUB_OFFLINE is set"
    ):
        DocumentStream(CorpusSource("nobody/nothing"), tmp_path)
    assert attempts == []


def test_a_file_is_never_held_whole(tmp_path, monkeypatch):
    """Documents of the first file come before the second one is opened."""
    source = files(tmp_path, monkeypatch)
    stream = DocumentStream(source, tmp_path)
    first = list(islice(stream.take(NUMBER), 3))
    for path in Path(source.path).glob("part[123].jsonl"):
        path.unlink()
    assert texts(first) == TEXTS[:3]
