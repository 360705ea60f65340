"""What Slack's error codes mean for whoever wrote the job or set up the connection (the reference of each method)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_MEANINGS: Final[Mapping[str, str]] = {
    "channel_not_found": "there is no such channel, or it is private and the bot is not in it",
    "not_in_channel": "invite the bot to the channel",
    "is_archived": "the channel is archived",
    "invalid_auth": "the token is wrong; store a new botToken for the connection",
    "not_authed": "no token was sent; store a botToken for the connection",
    "account_inactive": "the token's app or account was removed; store a new botToken for the connection",
    "token_revoked": "the token was revoked; store a new botToken for the connection",
    "token_expired": "the token has expired; store a new botToken for the connection",
    "msg_too_long": "the message is longer than 40,000 characters",
    "msg_blocks_too_long": "the blocks are too long together; send less",
    "invalid_blocks": "the blocks are not what Slack draws; response_metadata in the output says where",
    "invalid_blocks_format": "'blocks' is no list of blocks",
    "too_many_attachments": "there are too many attachments",
    "no_text": "the message is empty",
    "ratelimited": "too many messages; wait and run it again",
    "rate_limited": "too many messages; wait and run it again",
    "restricted_action": "a workspace setting forbids it",
    "message_not_found": "there is no message with that ts in the channel",
    "cant_update_message": "the bot may only change its own messages",
    "edit_window_closed": "the message is too old to be changed",
    "invalid_name": "there is no such emoji",
    "bad_timestamp": "'ts' is no message's timestamp",
    "too_many_reactions": "the message has as many reactions as it can have",
    "too_many_emoji": "the message has as many emoji as it can have",
}


def explained(method: str, reply: Mapping[str, Any]) -> str:
    """One sentence: what Slack refused, its code, and what to do."""
    code = str(reply.get("error") or "no reason given")
    if code == "missing_scope":
        meaning = f"the app needs the scope {reply.get('needed') or '?'}; add it and install the app again"
    else:
        meaning = _MEANINGS.get(code, "")
    return f"Slack refused {method}: {code}" + (f" ({meaning})" if meaning else "")
