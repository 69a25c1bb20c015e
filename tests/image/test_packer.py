"""The machine image's template: parsed by an HCL parser, and held to what it refers to."""

from __future__ import annotations

import re
import subprocess
from itertools import chain

import pytest

from . import hcl

NAMES = re.compile(r"scripts/([a-z-]+\.sh)")


def run_scripts() -> list[str]:
    return NAMES.findall("\n".join(chain.from_iterable(hcl.strings(block) for _, block in hcl.provisioners())))


def everything() -> str:
    return "\n".join(path.read_text() for path in hcl.PACKER.glob("*.pkr.hcl"))


def test_every_variable_that_is_used_is_declared_and_the_other_way_round() -> None:
    assert set(re.findall(r"\bvar\.(\w+)", everything())) == hcl.variables()


def test_every_local_that_is_used_is_declared_and_the_other_way_round() -> None:
    [block] = hcl.parsed()["locals"]
    declared = {name for name in block if not name.startswith("__")}
    assert set(re.findall(r"\blocal\.(\w+)", everything())) == declared


def test_every_version_that_is_asked_for_stands_in_versions_sh() -> None:
    asked = set(re.findall(r'local\.versions\["(\w+)"\]', everything()))
    assert asked
    assert asked <= hcl.versions().keys()


def test_every_file_that_is_uploaded_is_there() -> None:
    [upload] = [block for kind, block in hcl.provisioners() if kind == "file"]
    names = [text.removeprefix("${path.root}/") for text in hcl.strings(upload["sources"])]
    missing = [name for name in names if not (hcl.PACKER / name).exists()]
    assert len(names) == 6
    assert missing == []


def test_every_script_is_run_in_the_order_that_the_trial_run_has() -> None:
    steps = [line.split() for line in (hcl.PACKER / "test/steps").read_text().splitlines() if not line.startswith("#")]
    there = {path.name for path in (hcl.PACKER / "scripts").glob("*.sh")} - {"common.sh"}
    assert run_scripts() == [name for name, *_ in steps]
    assert set(run_scripts()) == there


def test_the_driver_is_tried_after_a_reboot_that_follows_its_installation() -> None:
    texts = [" ".join(hcl.strings(block.get("inline", []))) for _, block in hcl.provisioners()]
    positions = [
        next(i for i, text in enumerate(texts) if word in text)
        for word in ("install-nvidia-drivers.sh", "systemctl reboot", "check-nvidia-drivers.sh")
    ]
    assert positions == sorted(set(positions))
    assert hcl.provisioners()[positions[1]][1]["expect_disconnect"] is True


def test_what_is_uploaded_outlives_the_reboot() -> None:
    [block] = hcl.parsed()["locals"]
    assert not block["uploaded"].strip('"').startswith(("/tmp", "/run", "/var/tmp"))  # noqa: S108


def test_nothing_is_installed_after_the_self_test() -> None:
    assert run_scripts()[-2:] == ["self-test.sh", "clean-up.sh"]


@pytest.mark.parametrize("option", ["http_tokens", "http_put_response_hop_limit"])
def test_metadata_wants_a_session_on_the_machine_that_builds(option: str) -> None:
    [options] = hcl.source()["metadata_options"]
    assert options[option] in ('"required"', 1)


def test_metadata_wants_a_session_on_whatever_boots_the_image() -> None:
    assert hcl.source()["imds_support"] == '"v2.0"'


def test_disk_and_snapshot_are_encrypted() -> None:
    [disk] = hcl.source()["launch_block_device_mappings"]
    assert (disk["encrypted"], disk["device_name"]) == (True, '"/dev/sda1"')
    assert hcl.source()["encrypt_boot"] is True


def test_the_image_says_what_it_was_made_of() -> None:
    [block] = hcl.parsed()["locals"]
    assert block["tags"].keys() - {"__is_block__", "__comments__"} >= {
        *("SourceAmi", "SourceAmiName", "Nvidia", "Cuda", "PyTorch", "ComfyUI", "ComfyUICommit", "CloudWatchAgent"),
        *("Stage", "WorkflowSlug", "Revision"),
    }
    assert hcl.source()["tags"] == hcl.source()["snapshot_tags"] == "${local.tags}"


def test_the_base_is_canonicals_newest_of_its_release() -> None:
    [found] = hcl.source()["source_ami_filter"]
    versions = hcl.versions()
    assert (found["owners"], found["most_recent"]) == (['${local.versions["BASE_OWNER"]}'], True)
    assert versions["BASE_OWNER"] == "099720109477"
    assert versions["BASE_RELEASE"] in versions["BASE_FILTER"]


def test_shell_and_packer_read_the_same_versions() -> None:
    versions = hcl.versions()
    echo = "; ".join(f'printf "%s\\n" "${name}"' for name in versions)
    done = subprocess.run(
        ["/bin/bash", "-c", f". {hcl.PACKER}/versions.sh; {echo}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == list(versions.values())


def test_versions_name_one_thing_each() -> None:
    vague = {name: value for name, value in hcl.versions().items() if re.search(r"latest|main|master", value)}
    assert vague == {}
    assert re.fullmatch(r"[0-9a-f]{40}", hcl.versions()["COMFYUI_COMMIT"])
    assert re.fullmatch(r"[0-9a-f]{64}", hcl.versions()["CLOUDWATCH_AGENT_SHA256"])


@pytest.mark.parametrize("name", ["aws/requirements.txt", "comfyui/requirements.txt", "comfyui/cuda.txt"])
def test_every_python_package_is_pinned_by_hash(name: str) -> None:
    text = (hcl.PACKER / name).read_text()
    blocks = re.split(r"\n(?=\S)", text.strip())
    loose = [block for block in blocks if not re.match(r"[a-z0-9._-]+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", block)]
    assert blocks
    assert loose == []


def test_pytorch_and_its_cuda_are_those_of_the_versions() -> None:
    text = (hcl.PACKER / "comfyui/cuda.txt").read_text()
    assert f"torch=={hcl.versions()['PYTORCH_VERSION']} " in text
    assert f"\nnvidia-cuda-runtime=={hcl.versions()['CUDA_VERSION']}." in text
    assert hcl.versions()["NVIDIA_PACKAGE_VERSION"].startswith(hcl.versions()["NVIDIA_VERSION"] + "-")
