"""AWS on one machine: moto, and beside it what moto lacks.

As on AWS: what the functions run in (the real runtime client, one process an environment, warm and cold, time-outs,
reserved concurrency, retries and failure destinations); state machines (moto's interpreter, the real functions, error
names); delivery of events, topics and schedules; Auto Scaling (capacity is recorded and acted upon later, protection
from InService on, refusals, activities, events, replacement of what was interrupted or lost, terminate lifecycle hooks
with their time-outs and heartbeats, replacements launched first for instances at risk, launches that are refused and
tried again, zones without capacity); alarms with missing data; metrics from log lines; custom resources.

Not as on AWS: permissions, quotas, throttling of APIs and networks are not emulated; Spot runs dry, recommends and
interrupts only when told to; launch hooks do not fire; an image is not checked at launch; functions have no memory
limit; metric math alarms and metrics of AWS's own services (errors of functions, depth of queues) have no data; events
and notifications arrive once, in order, unless told otherwise.
"""
