"""Downloads from a server on the loopback address: whole, resumed, broken off, and wrong."""

import gzip
import hashlib
import io
import re
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from needle import data
from needle.data import Remote
from needle.errors import DataError
from needle_nn.data import cifar, mnist, text

CONTENT = np.random.default_rng(0).integers(0, 256, 700_000, np.uint8).tobytes()


@dataclass
class Server:
    """Serves `files`. `cuts` are byte counts after which the next connections break; `ranges` is whether it resumes."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    asked: list[str] = field(default_factory=list)

    def remote(self, name: str = "file", content: bytes = CONTENT, kind: str = "md5") -> Remote:
        self.files[f"/{name}"] = content
        return Remote(f"http://127.0.0.1:{self.port}/{name}", f"{kind}:{hashlib.new(kind, content).hexdigest()}")


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.headers.get("Range", "all"))
            content = state.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(re.findall(r"\d+", self.headers.get("Range", "0"))[0]) if state.ranges else 0
            if start >= len(content) > 0:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start : start + state.cuts.pop(0)] if state.cuts else content[start:])

        def log_message(self, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.port = http.server_port
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield state
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_whole(kind: str, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, remote = tmp_path / "deep" / "file", server.remote(kind=kind)
    assert data.download(remote, target) == target
    assert target.read_bytes() == CONTENT
    assert capsys.readouterr().err == f"needle: downloading {remote.url} to {target}\n"
    assert data.download(remote, target) == target
    assert server.asked == ["all"]
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_goes_on_where_a_connection_broke_off(server: Server, tmp_path: Path) -> None:
    server.cuts = [300_000, 200_000]
    assert data.download(server.remote(), tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == ["all", "bytes=300000-", "bytes=500000-"]


def test_goes_on_in_a_later_call(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 50_000, 30_000]
    remote, target = server.remote(), tmp_path / "file"
    with pytest.raises(DataError) as caught:
        data.download(remote, target)
    assert str(caught.value) == (
        f"{remote.url}: cannot be downloaded: the connection ended after 30,000 of 550,000 bytes; "
        "180,000 bytes are kept, and the next call goes on from there"
    )
    assert not target.exists()
    assert data.download(remote, target).read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=180000-"


def test_a_server_that_cannot_resume(server: Server, tmp_path: Path) -> None:
    server.cuts, server.ranges = [300_000], False
    assert data.download(server.remote(), tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == ["all", "bytes=300000-"]


@pytest.mark.parametrize("kept", [CONTENT, b"of another file", CONTENT + b"!"], ids=["whole", "other", "too long"])
def test_what_was_kept_is_verified(kept: bytes, server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(kept)
    assert data.download(server.remote(), tmp_path / "file").read_bytes() == CONTENT
    assert ("all" in server.asked) == (kept is not CONTENT)


def test_a_wrong_file(server: Server, tmp_path: Path) -> None:
    remote = server.remote()
    server.files["/file"] = b"<html>"
    with pytest.raises(DataError) as caught:
        data.download(remote, tmp_path / "file")
    found = hashlib.md5(b"<html>").hexdigest()
    assert str(caught.value) == (
        f"{remote.url}: not the expected file: {remote.checksum} expected, md5:{found} found in 6 bytes; "
        "the server may send another file; try again later"
    )
    assert list(tmp_path.iterdir()) == []


def test_no_file_no_server_and_no_room(server: Server, tmp_path: Path) -> None:
    remote = server.remote()
    server.files.clear()
    with pytest.raises(DataError, match=r"/file: cannot be downloaded: HTTP 404 Not Found$"):
        data.download(remote, tmp_path / "file")
    assert server.asked == ["all"]
    with pytest.raises(DataError, match=r"^http://127\.0\.0\.1:9/x: cannot be downloaded: .*refused$"):
        data.download(Remote("http://127.0.0.1:9/x", "md5:0"), tmp_path / "x")
    (tmp_path / "plain").touch()
    with pytest.raises(DataError, match=r"plain/file: cannot be written: (File exists|Not a directory); check the"):
        data.download(remote, tmp_path / "plain" / "file")


def test_mnist(server: Server, tmp_path: Path, idx_bytes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"train-images-idx3-ubyte.gz": np.ones((2, 28, 28)), "train-labels-idx1-ubyte.gz": np.array([4, 5])}
    remotes = {name: server.remote(name, gzip.compress(idx_bytes(array))) for name, array in arrays.items()}
    monkeypatch.setattr(mnist, "MNIST", remotes)
    images, labels = (tmp_path / "mnist" / name for name in arrays)
    assert data.MNISTDataset(images, labels, download=True)[1][1] == 5
    assert len(server.asked) == 2
    assert len(data.MNISTDataset(images, labels, download=True)) == 2
    assert len(server.asked) == 2
    with pytest.raises(
        DataError, match=r"odd\.gz: cannot be downloaded: MNIST's files are train-images-idx3-ubyte\.gz"
    ):
        data.MNISTDataset(tmp_path / "odd.gz", labels, download=True)
    monkeypatch.setattr(mnist, "FASHION_MNIST", remotes)
    assert len(data.FashionMNISTDataset(tmp_path / "fashion", download=True)) == 2


def test_penn_treebank(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {name: server.remote(name, f"{name} of\n words \n".encode()) for name in text.PENN_TREEBANK}
    monkeypatch.setattr(text, "PENN_TREEBANK", files)
    corpus = data.Corpus(tmp_path / "ptb", download=True)
    assert corpus.dictionary.idx2word == ["train.txt", "of", "<eos>", "words", "test.txt"]


def archive(folder: Path, change: str | None = None) -> bytes:
    """A .tar.gz of the folder's files, one of them changed."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for path in sorted(folder.iterdir()):
            content = path.read_bytes() + (b"!" if path.name == change else b"")
            info = tarfile.TarInfo(f"{cifar.FOLDER}/{path.name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def test_cifar(server: Server, cifar_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checksums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in cifar_folder.iterdir()}
    monkeypatch.setattr(cifar, "FILES", checksums)
    monkeypatch.setattr(cifar, "ARCHIVE", server.remote("cifar.tar.gz", archive(cifar_folder)))
    folder = tmp_path / "data"
    assert len(data.CIFAR10Dataset(folder, train=True, download=True)) == 40
    assert sorted(path.name for path in (folder / cifar.FOLDER).iterdir()) == sorted(checksums)
    (folder / cifar.FOLDER / "test_batch").unlink()
    assert len(data.CIFAR10Dataset(folder, train=False, download=True)) == 8
    assert server.asked == ["all"]


def test_cifar_wrong_contents(
    server: Server, cifar_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checksums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in cifar_folder.iterdir()}
    monkeypatch.setattr(cifar, "FILES", checksums)
    monkeypatch.setattr(cifar, "ARCHIVE", server.remote("a.tar.gz", archive(cifar_folder, change="data_batch_3")))
    with pytest.raises(DataError, match=r"a\.tar\.gz: data_batch_3 has md5 \w+, not \w+; delete the archive and"):
        data.CIFAR10Dataset(tmp_path / "a", train=True, download=True)
    monkeypatch.setattr(cifar, "ARCHIVE", server.remote("b.tar.gz", gzip.compress(b"no tar" * 999)))
    with pytest.raises(DataError, match=r"b\.tar\.gz: damaged: .*; delete it and download again"):
        data.CIFAR10Dataset(tmp_path / "b", train=True, download=True)
