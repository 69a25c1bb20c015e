"""Fixed names of the emulated account."""

from __future__ import annotations

import hashlib

ACCOUNT = "123456789012"
REGION = "us-east-1"


def function_arn(name: str) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def function_name(name_or_arn: str) -> str:
    """The bare name out of a name, a name with a qualifier, or an ARN with or without one."""
    bare = name_or_arn.rsplit(":function:", maxsplit=1)[-1]
    return bare.split(":")[0]


def access_key(caller: str) -> str:
    """A dummy access key of a caller's own (20 upper-case characters), by which the journal knows who called."""
    return "AKIA" + hashlib.sha256(caller.encode()).hexdigest()[:16].upper()
