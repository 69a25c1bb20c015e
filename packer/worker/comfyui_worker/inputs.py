"""Brings a job's files to ComfyUI: the customer's input and the workflow's assets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import requests

from comfyui_worker import workflow
from comfyui_worker.cache import AssetCache
from comfyui_worker.comfyui import ComfyUi
from comfyui_worker.errors import JobFailedError
from comfyui_worker.jobs import Job
from comfyui_worker.keeper import Keeper
from comfyui_worker.retry import persist
from comfyui_worker.transfer import download

TRANSFER_SECONDS = 120.0
"""How long a transfer is tried again while the storage does not answer."""
CHUNK = 1 << 20


@dataclass
class Inputs:
    """For one job; `scratch` is its directory, `patience` in seconds with a silent ComfyUI, `max_bytes` of a file."""

    comfyui: ComfyUi
    session: requests.Session
    cache: AssetCache
    scratch: Path
    keeper: Keeper
    patience: float
    max_bytes: int
    max_bytes_of_all: int
    _offered: int = 0

    def graph(self, job: Job) -> dict[str, Any]:
        """The workflow with all its files in place at ComfyUI."""
        names: dict[str, str] = {}
        for asset in job.payload.get("assets") or []:
            names |= self._asset(asset)
        if not job.input_url:
            return workflow.graph(job.payload, names)
        name = self._offer(self._fetched(job.input_url, "input"), _suffix(job.input_url))
        placeholder = str(job.payload.get("input_path_placeholder") or workflow.INPUT_PLACEHOLDER)
        filled = workflow.graph(job.payload, {**names, placeholder: name})
        return workflow.with_input(filled, job.payload, name)

    def _asset(self, asset: Mapping[str, Any]) -> dict[str, str]:
        """Its placeholder and ComfyUI's name for it."""
        try:
            placeholder, url = str(asset["placeholder"]), str(asset["download_url"])
        except KeyError as missing:
            raise JobFailedError(f"an asset has no {missing.args[0]}") from None
        content_hash = asset.get("content_hash")
        if content_hash and not asset.get("is_primary_input"):
            path = self.cache.get(str(content_hash), self.scratch, lambda new: self._download(url, new, "asset"))
        else:
            path = self._fetched(url, "asset")
        return {placeholder: self._offer(path, _suffix(url))}

    def _fetched(self, url: str, what: str) -> Path:
        path = self.scratch / f"{what}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
        self._download(url, path, what)
        return path

    def _download(self, url: str, path: Path, what: str) -> str:
        return persist(
            lambda: download(self.session, url, path, what, self.keeper.check, max_bytes=self.max_bytes),
            TRANSFER_SECONDS, self.keeper.wait,
        )  # fmt: skip

    def _offer(self, path: Path, suffix: str) -> str:
        """Named by its content, so that the same file twice is one file for ComfyUI and another never passes for it."""
        self.keeper.check()
        self._offered += path.stat().st_size
        if self._offered > self.max_bytes_of_all:
            raise JobFailedError(f"the files of the job are larger than {self.max_bytes_of_all} bytes")
        name = f"{_digest(path)}{suffix}"
        return persist(lambda: self.comfyui.upload(path, name), self.patience, self.keeper.wait)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _suffix(url: str) -> str:
    """`.mp4` of a URL's path: ComfyUI's loaders choose their decoder by it."""
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    return suffix if suffix[1:].isalnum() and len(suffix) <= 8 else ".bin"
