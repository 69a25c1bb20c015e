"""The image of a fleet: there before its group is, put once, from then on its operators' and never a deployment's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from fleet_control.errors import ImageNotAccepted
from fleet_control.messages.cloudformation import AmiParameter, CustomResourceRequest, parse_properties
from fleet_control.telemetry import Recorder

LOOKS = 15
LOOK_SECONDS = 2.0
"""How long Systems Manager may take to look for an image. A group that is created meanwhile would find no parameter."""


class ImageStore(Protocol):
    def put_image_once(self, name: str, image_id: str) -> bool: ...

    def exists(self, name: str) -> bool: ...


def bring_up(
    request: CustomResourceRequest,
    store: ImageStore,
    recorder: Recorder,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """Gives the parameter's name once it can be read. An image that is there already stays, whatever the request says.

    Raises ImageNotAccepted when there is still no parameter after LOOKS looks.
    """
    wanted = parse_properties(AmiParameter, request)
    put = store.put_image_once(wanted.parameter_name, wanted.image_id)
    if put:
        _await(store, wanted, sleep)
    reason = f"put {wanted.image_id} now" if put else "was there already"
    recorder.decision(rule="ami_parameter", parameter=wanted.parameter_name, reason=reason)
    return {"ParameterName": wanted.parameter_name}


def _await(store: ImageStore, wanted: AmiParameter, sleep: Callable[[float], None]) -> None:
    for look in range(LOOKS):
        if store.exists(wanted.parameter_name):
            return
        if look < LOOKS - 1:
            sleep(LOOK_SECONDS)
    raise ImageNotAccepted(
        f"{wanted.parameter_name} is not there {(LOOKS - 1) * LOOK_SECONDS:.0f} s after {wanted.image_id} was put: "
        "is there such an image in this region?"
    )
