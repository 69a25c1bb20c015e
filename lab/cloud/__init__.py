"""AWS on one machine: moto, and beside it what moto lacks.

As on AWS: what the functions run in (the real runtime client, one process an environment, warm and cold, time-outs,
reserved concurrency, retries and failure destinations); state machines (moto's interpreter, the real functions, error
names); delivery of events, topics and schedules; Auto Scaling (capacity is recorded and acted upon later, protection
from InService on, refusals, activities, events, replacement of what was interrupted or lost); alarms with missing data;
metrics from log lines; custom resources.

Not as on AWS: permissions, quotas, throttling of APIs and networks are not emulated; Spot never runs dry; lifecycle
hooks do not fire; the warning of an interruption comes alone, without a rebalance recommendation before it; functions
have no memory limit; metric math alarms and metrics of AWS's own services (errors of functions, depth of queues) have
no data; events and notifications arrive once, in order, unless told otherwise.
"""
