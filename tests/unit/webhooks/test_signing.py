"""Signatures are those of Standard Webhooks: by its published example, and by its public library."""

import base64
import time

import pytest

from app.webhooks.signing import PREFIX, headers, new_secret, sign

# The example of the specification's libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - a published one
MESSAGE, TIMESTAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_example() -> None:
    assert sign(SECRET, MESSAGE, TIMESTAMP, BODY) == SIGNATURE


def test_secrets_are_random_and_long_enough() -> None:
    secrets = {new_secret() for _ in range(10)}
    assert len(secrets) == 10
    assert all(24 <= len(base64.b64decode(secret.removeprefix(PREFIX), validate=True)) <= 64 for secret in secrets)


def test_the_public_library_takes_a_message_by_each_secret_that_signed_it_and_by_no_other() -> None:
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError  # noqa: PLC0415 - of this test alone

    new, old, stranger = new_secret(), new_secret(), new_secret()
    sent = headers((new, old), "msg_1", int(time.time()), b'{"type":"job.failed"}')
    for secret in (new, old):
        assert Webhook(secret).verify(b'{"type":"job.failed"}', sent) == {"type": "job.failed"}
    with pytest.raises(WebhookVerificationError):
        Webhook(stranger).verify(b'{"type":"job.failed"}', sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(b'{"type":"job.failed "}', sent)
