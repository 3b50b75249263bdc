"""An HTTP API (payload format 2.0): a shopping basket that adds up."""

import base64
import json
import logging

logger = logging.getLogger()
logger.setLevel(logging.INFO)


def handler(event, context):
    method = event["requestContext"]["http"]["method"]
    if method != "POST":
        return answer(405, {"message": f"{method} is not allowed here"})
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body).decode()
    try:
        items = json.loads(body)["items"]
        total = sum(round(item["price"] * 100) * item.get("quantity", 1) for item in items)
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("refused: %s", error)
        return answer(400, {"message": 'send {"items": [{"price": 1.5, "quantity": 2}]}'})
    customer = event.get("queryStringParameters", {}).get("customer", "somebody")
    logger.info("%d items for %s", len(items), customer)
    return answer(200, {"customer": customer, "total": total / 100})


def answer(status, document):
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(document),
    }
