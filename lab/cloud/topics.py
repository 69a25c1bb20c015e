"""What SNS sends to a function."""

from __future__ import annotations

from typing import Any

from lab.cloud.events import iso

SNS = "https://sns.us-east-1.amazonaws.com"


def sns_record(subscription: Any, message: str, message_id: str, subject: str | None) -> dict[str, Any]:
    """One record of the event SNS invokes a function with."""
    return {
        "EventVersion": "1.0",
        "EventSubscriptionArn": subscription.arn,
        "EventSource": "aws:sns",
        "Sns": {
            "Type": "Notification",
            "MessageId": message_id,
            "TopicArn": subscription.topic.arn,
            "Subject": subject,
            "Message": message,
            "Timestamp": iso().replace("Z", ".000Z"),
            "SignatureVersion": "1",
            "Signature": "lab",
            "SigningCertUrl": f"{SNS}/SimpleNotificationService.pem",
            "UnsubscribeUrl": f"{SNS}/?Action=Unsubscribe&SubscriptionArn={subscription.arn}",
            "MessageAttributes": {},
        },
    }
