"""The image of a fleet: there before its group is, put once, from then on its operators' and never a deployment's."""

from __future__ import annotations

from typing import Protocol

from fleet_control.messages.cloudformation import AmiParameter, CustomResourceRequest, parse_properties
from fleet_control.telemetry import Recorder


class ImageStore(Protocol):
    def put_image_once(self, name: str, image_id: str) -> bool: ...


def bring_up(request: CustomResourceRequest, store: ImageStore, recorder: Recorder) -> dict[str, str]:
    """Gives the parameter's name. An image that is there already stays, whatever the request says."""
    wanted = parse_properties(AmiParameter, request)
    put = store.put_image_once(wanted.parameter_name, wanted.image_id)
    reason = f"put {wanted.image_id} now" if put else "was there already"
    recorder.decision(rule="ami_parameter", parameter=wanted.parameter_name, reason=reason)
    return {"ParameterName": wanted.parameter_name}
