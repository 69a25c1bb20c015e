"""AWS answers as text: as long, and as full of what nobody reads, as the real ones."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from bench.scale import BOOTING, IDLE_SECONDS, NOW, STAGE, Scale, group, instance_id, slug

LAUNCHED = (datetime.fromtimestamp(NOW, UTC) - timedelta(seconds=120)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
RESERVATION = "r-0a1b2c3d4e5f60718"
AUTOSCALING = "http://autoscaling.amazonaws.com/doc/2011-01-01/"
EC2 = "http://ec2.amazonaws.com/doc/2016-11-15/"


def members(scale: Scale, fleet: int) -> list[str]:
    """Ids of a fleet's instances: its workers, and one that is booting where any does."""
    return [instance_id(fleet, number) for number in (*range(scale.crew), *([BOOTING] if scale.boots else []))]


def groups_page(scale: Scale, fleets: Iterable[int], next_token: str) -> str:
    found = "".join(_group(scale, fleet) for fleet in fleets)
    token = f"<NextToken>{next_token}</NextToken>" if next_token else ""
    return (
        f'<DescribeAutoScalingGroupsResponse xmlns="{AUTOSCALING}"><DescribeAutoScalingGroupsResult>'
        f"<AutoScalingGroups>{found}</AutoScalingGroups>{token}</DescribeAutoScalingGroupsResult>"
        "<ResponseMetadata><RequestId>bench</RequestId></ResponseMetadata></DescribeAutoScalingGroupsResponse>"
    )


def _group(scale: Scale, fleet: int) -> str:
    tags = {
        "Stage": STAGE,
        "WorkflowSlug": slug(fleet),
        "fleet:workflows": slug(fleet),
        "fleet:backlog-target": 2,
        "fleet:idle-seconds": IDLE_SECONDS,
        "fleet:scale-to-zero-minutes": IDLE_SECONDS // 60,
        "fleet:warmup-seconds": 300,
        "fleet:launch-grace-seconds": 300,
        "fleet:silent-seconds": 300,
        "fleet:drain-look-seconds": 3,
        "fleet:drain-limit-seconds": 60,
    }
    ids = members(scale, fleet)
    return (
        f"<member><AutoScalingGroupName>{group(fleet)}</AutoScalingGroupName>"
        f"<AutoScalingGroupARN>arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:{fleet:036x}:"
        f"autoScalingGroupName/{group(fleet)}</AutoScalingGroupARN>"
        f"<MinSize>0</MinSize><MaxSize>{scale.crew}</MaxSize><DesiredCapacity>{scale.crew}"
        "</DesiredCapacity><DefaultCooldown>300</DefaultCooldown><AvailabilityZones><member>us-east-1a</member>"
        "<member>us-east-1b</member></AvailabilityZones><LoadBalancerNames/><TargetGroupARNs/>"
        "<HealthCheckType>EC2</HealthCheckType><HealthCheckGracePeriod>0</HealthCheckGracePeriod>"
        f"<Instances>{''.join(map(_member, ids))}</Instances><CreatedTime>2026-01-01T00:00:00Z</CreatedTime>"
        "<SuspendedProcesses><member><ProcessName>AZRebalance</ProcessName><SuspensionReason>User suspended"
        "</SuspensionReason></member></SuspendedProcesses><VPCZoneIdentifier>subnet-0a,subnet-0b</VPCZoneIdentifier>"
        f"<Tags>{''.join(_tag(fleet, str(k), str(v)) for k, v in tags.items())}</Tags>"
        "<TerminationPolicies><member>Default</member></TerminationPolicies>"
        "<NewInstancesProtectedFromScaleIn>true</NewInstancesProtectedFromScaleIn>"
        "<CapacityRebalance>true</CapacityRebalance><TrafficSources/></member>"
    )


def activities_page(group: str, most: int) -> str:
    """What a fleet leaves in a week: instances launched for its queue and ended when that was empty, newest first."""
    found = "".join(_activity(group, number) for number in range(most))
    return (
        f'<DescribeScalingActivitiesResponse xmlns="{AUTOSCALING}"><DescribeScalingActivitiesResult>'
        f"<Activities>{found}</Activities><NextToken>more</NextToken></DescribeScalingActivitiesResult>"
        "<ResponseMetadata><RequestId>bench</RequestId></ResponseMetadata></DescribeScalingActivitiesResponse>"
    )


def _activity(group: str, number: int) -> str:
    instance, end = f"i-{number // 2:017x}", number % 2 == 0
    at = (datetime.fromtimestamp(NOW, UTC) - timedelta(minutes=10 * number + 10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    what = "Terminating EC2 instance" if end else "Launching a new EC2 instance"
    cause = "was taken out of service" if end else "was started"
    return (
        f"<member><ActivityId>{number:08d}-0a1b-2c3d-4e5f-60718293a4b5</ActivityId><AutoScalingGroupName>{group}"
        f"</AutoScalingGroupName><Description>{what}: {instance}</Description><Cause>At {at} an instance {cause} in "
        "response to a difference between desired and actual capacity, changing the capacity from 1 to 2.</Cause>"
        f"<StartTime>{at}</StartTime><EndTime>{at}</EndTime><StatusCode>Successful</StatusCode><Progress>100</Progress>"
        "<Details>{&quot;Subnet ID&quot;:&quot;subnet-0a1b2c3d4e5f60718&quot;,&quot;Availability Zone&quot;:&quot;"
        "us-east-1a&quot;}</Details><AutoScalingGroupARN>arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:"
        f"0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9:autoScalingGroupName/{group}</AutoScalingGroupARN></member>"
    )


def _member(instance: str) -> str:
    return (
        f"<member><InstanceId>{instance}</InstanceId><InstanceType>g4dn.xlarge</InstanceType>"
        "<AvailabilityZone>us-east-1a</AvailabilityZone><LifecycleState>InService</LifecycleState>"
        "<HealthStatus>Healthy</HealthStatus><LaunchTemplate><LaunchTemplateId>lt-0123456789abcdef0"
        "</LaunchTemplateId><LaunchTemplateName>lt-staging-workflow-0000</LaunchTemplateName><Version>3</Version>"
        "</LaunchTemplate><ProtectedFromScaleIn>true</ProtectedFromScaleIn></member>"
    )


def _tag(fleet: int, key: str, value: str) -> str:
    return (
        f"<member><ResourceId>{group(fleet)}</ResourceId><ResourceType>auto-scaling-group</ResourceType>"
        f"<Key>{key}</Key><Value>{value}</Value><PropagateAtLaunch>{str(':' not in key).lower()}"
        "</PropagateAtLaunch></member>"
    )


def instances_page(ids: Iterable[str], next_token: str) -> str:
    found = "".join(map(_reservation, ids))
    token = f"<nextToken>{next_token}</nextToken>" if next_token else ""
    return (
        f'<DescribeInstancesResponse xmlns="{EC2}"><requestId>bench</requestId>'
        f"<reservationSet>{found}</reservationSet>{token}</DescribeInstancesResponse>"
    )


def _reservation(instance: str) -> str:
    """One instance a reservation, as Spot in a group comes."""
    return (
        f"<item><reservationId>{RESERVATION}</reservationId><ownerId>123456789012</ownerId><groupSet/>"
        f"<instancesSet><item><instanceId>{instance}</instanceId><imageId>ami-0123456789abcdef0</imageId>"
        "<instanceState><code>16</code><name>running</name></instanceState>"
        "<privateDnsName>ip-10-0-16-20.ec2.internal</privateDnsName><dnsName/><reason/><amiLaunchIndex>0"
        f"</amiLaunchIndex><productCodes/><instanceType>g4dn.xlarge</instanceType><launchTime>{LAUNCHED}</launchTime>"
        "<placement><availabilityZoneId>use1-az1</availabilityZoneId><availabilityZone>us-east-1a</availabilityZone>"
        "<groupName/><tenancy>default</tenancy></placement><monitoring><state>disabled</state></monitoring>"
        "<subnetId>subnet-0a1b2c3d4e5f60718</subnetId><vpcId>vpc-0a1b2c3d4e5f60718</vpcId>"
        "<privateIpAddress>10.0.16.20</privateIpAddress><sourceDestCheck>true</sourceDestCheck>"
        "<groupSet><item><groupId>sg-0a1b2c3d4e5f60718</groupId><groupName>gpu</groupName></item></groupSet>"
        "<architecture>x86_64</architecture><rootDeviceType>ebs</rootDeviceType>"
        "<rootDeviceName>/dev/sda1</rootDeviceName><blockDeviceMapping><item><deviceName>/dev/sda1</deviceName><ebs>"
        f"<volumeId>vol-0a1b2c3d4e5f60718</volumeId><status>attached</status><attachTime>{LAUNCHED}</attachTime>"
        "<deleteOnTermination>true</deleteOnTermination></ebs></item></blockDeviceMapping>"
        "<virtualizationType>hvm</virtualizationType><clientToken>fleet-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
        f"</clientToken>{_instance_tags()}<hypervisor>xen</hypervisor><networkInterfaceSet><item>"
        "<networkInterfaceId>eni-0a1b2c3d4e5f60718</networkInterfaceId><subnetId>subnet-0a1b2c3d4e5f60718</subnetId>"
        "<vpcId>vpc-0a1b2c3d4e5f60718</vpcId><description/><ownerId>123456789012</ownerId><status>in-use</status>"
        "<macAddress>0a:1b:2c:3d:4e:5f</macAddress><privateIpAddress>10.0.16.20</privateIpAddress>"
        "<privateDnsName>ip-10-0-16-20.ec2.internal</privateDnsName><sourceDestCheck>true</sourceDestCheck>"
        "<groupSet><item><groupId>sg-0a1b2c3d4e5f60718</groupId><groupName>gpu</groupName></item></groupSet>"
        f"<attachment><attachmentId>eni-attach-0a1b2c3d</attachmentId><deviceIndex>0</deviceIndex><status>attached"
        f"</status><attachTime>{LAUNCHED}</attachTime><deleteOnTermination>true</deleteOnTermination>"
        "<networkCardIndex>0</networkCardIndex></attachment><privateIpAddressesSet><item><privateIpAddress>10.0.16.20"
        "</privateIpAddress><privateDnsName>ip-10-0-16-20.ec2.internal</privateDnsName><primary>true</primary></item>"
        "</privateIpAddressesSet><ipv6AddressesSet/><interfaceType>interface</interfaceType></item>"
        "</networkInterfaceSet><iamInstanceProfile><arn>arn:aws:iam::123456789012:instance-profile/worker</arn>"
        "<id>AIPA0123456789ABCDEF0</id></iamInstanceProfile><ebsOptimized>false</ebsOptimized>"
        "<enaSupport>true</enaSupport><instanceLifecycle>spot</instanceLifecycle><spotInstanceRequestId>sir-a1b2c3d4"
        "</spotInstanceRequestId><cpuOptions><coreCount>2</coreCount><threadsPerCore>2</threadsPerCore></cpuOptions>"
        "<capacityReservationSpecification><capacityReservationPreference>open</capacityReservationPreference>"
        "</capacityReservationSpecification><hibernationOptions><configured>false</configured></hibernationOptions>"
        "<metadataOptions><state>applied</state><httpTokens>required</httpTokens><httpPutResponseHopLimit>1"
        "</httpPutResponseHopLimit><httpEndpoint>enabled</httpEndpoint><httpProtocolIpv6>disabled</httpProtocolIpv6>"
        "<instanceMetadataTags>disabled</instanceMetadataTags></metadataOptions><enclaveOptions><enabled>false"
        "</enabled></enclaveOptions><platformDetails>Linux/UNIX</platformDetails><usageOperation>RunInstances:SV002"
        f"</usageOperation><usageOperationUpdateTime>{LAUNCHED}</usageOperationUpdateTime>"
        "<maintenanceOptions><autoRecovery>default</autoRecovery></maintenanceOptions></item></instancesSet>"
        "<requesterId>722737459838</requesterId></item>"
    )


def _instance_tags() -> str:
    tags = {
        "Stage": STAGE,
        "WorkflowSlug": "workflow-0000",
        "aws:autoscaling:groupName": "asg-staging-workflow-0000",
        "aws:ec2launchtemplate:id": "lt-0123456789abcdef0",
        "aws:ec2launchtemplate:version": "3",
    }
    return "<tagSet>" + "".join(f"<item><key>{k}</key><value>{v}</value></item>" for k, v in tags.items()) + "</tagSet>"
