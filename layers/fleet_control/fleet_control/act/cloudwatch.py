"""CloudWatch metrics, in as few PutMetricData calls as its limits allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDatumTypeDef

# Limits of PutMetricData: 1,000 metrics and 1 MB a request. Sizes are estimated from above for every protocol the
# SDK may speak: in the widest one (query) a field's name is some 50 bytes, and a value at most triples.
MAX_METRICS = 1_000
MAX_BYTES = 1_000_000
_BYTES_A_METRIC = 250
_BYTES_A_DIMENSION = 120


class MetricPoint(Protocol):
    """`at` is UTC, naive or aware."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def at(self) -> datetime: ...
    @property
    def dimensions(self) -> Sequence[tuple[str, str]]: ...


class CloudWatch:
    def __init__(self, client: CloudWatchClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    def put(self, points: Iterable[MetricPoint]) -> int:
        """Sends all in their order, gives the number of calls. The SDK's error says that the rest was not sent."""
        calls = 0
        for batch in batches(points):
            self._client.put_metric_data(Namespace=self._namespace, MetricData=[_datum(point) for point in batch])
            calls += 1
        return calls


def batches(points: Iterable[MetricPoint]) -> Iterator[list[MetricPoint]]:
    """In order, each within both limits."""
    batch: list[MetricPoint] = []
    size = 0
    for point in points:
        extra = _size(point)
        if batch and (len(batch) == MAX_METRICS or size + extra > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(point)
        size += extra
    if batch:
        yield batch


def _size(point: MetricPoint) -> int:
    named = sum(_BYTES_A_DIMENSION + 3 * (len(name) + len(value)) for name, value in point.dimensions)
    return _BYTES_A_METRIC + 3 * len(point.name) + named


def _datum(point: MetricPoint) -> MetricDatumTypeDef:
    return {
        "MetricName": point.name,
        "Unit": point.unit,  # type: ignore[typeddict-item]
        "Value": float(point.value),
        "Timestamp": point.at.replace(tzinfo=UTC) if point.at.tzinfo is None else point.at,
        "Dimensions": [{"Name": name, "Value": value} for name, value in point.dimensions],
    }
