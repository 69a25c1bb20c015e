"""The platform as it is deployed: either stage, with and without a certificate, with one and three workflows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

from lab.iam.resolve import Stack, resolve_stacks
from lab.render import Template, render

from .conftest import PARAMETERS, ROOT

UPSCALE = '    upscale: { MinSize: 0, MaxSize: 3, BacklogTarget: 4, WarmupSeconds: 120, InstanceTypes: "g6.xlarge" }\n'
SLUGS = {1: "image-to-video", 3: "image-to-video,face-swap,upscale"}
CERTIFICATE = {
    "CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/0a1b",
    "DomainName": "app.example.com",
}


@dataclass(frozen=True)
class Variant:
    """`folder` is where a third workflow's template may be written."""

    folder: Path
    stage: str
    https: bool
    workflows: int

    @property
    def parameters(self) -> dict[str, str]:
        own = {"Stage": self.stage, "WorkflowSlugs": SLUGS[self.workflows]}
        return PARAMETERS | own | (CERTIFICATE if self.https else {})

    @cached_property
    def rendered(self) -> Template:
        return render(self._path(), self.parameters)

    @cached_property
    def stacks(self) -> dict[str, Template]:
        return resolve_stacks(self.rendered, self.parameters)

    @cached_property
    def templates(self) -> dict[str, Template]:
        """Rendered and not resolved, by stack; "" is the root."""
        nested = {name: self.rendered["Resources"][name] for name in Stack(self.rendered, self.parameters).children()}
        return {"": self.rendered} | {name: resource["Metadata"]["Template"] for name, resource in nested.items()}

    def _path(self) -> Path:
        """The template, for three workflows with one mapping entry more."""
        if self.workflows < 3:
            return ROOT / "template.yaml"
        path = self.folder / "template.yaml"
        if not path.exists():
            for name in ("stacks", "statemachines"):
                (self.folder / name).symlink_to(ROOT / name)
            source = (ROOT / "template.yaml").read_text(encoding="utf-8")
            path.write_text(source.replace("    face-swap: {", f"{UPSCALE}    face-swap: {{", 1), encoding="utf-8")
        return path

    def __str__(self) -> str:
        return f"{self.stage}, {'HTTPS' if self.https else 'HTTP'}, {self.workflows} workflows"


ALL = list(product(("staging", "production"), (False, True), SLUGS))
