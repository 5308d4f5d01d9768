"""Makes calls of the AWS API, one after the other; says what each came to.

Standard input: a JSON list of calls, {service, operation, parameters, credentials?, endpoint}; standard output: a list of
{"answer": …} or {"refused": CODE, "said": …}. Bytes are text in both. Operations have the API's names, such as PutObject.
"""

import json
import sys

import botocore.config
import botocore.exceptions
import botocore.session

# Text is text (an SNS message, a policy), but for these.
BYTES = {"Body", "Message", "Signature", "layerPartBlob"}


def text(value):
    if isinstance(value, dict):
        return {name: text(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [text(inner) for inner in value]
    if isinstance(value, bytes):
        return value.hex()
    if hasattr(value, "read"):
        return value.read().decode()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def parameters(call):
    given = dict(call["parameters"])
    for name in BYTES & given.keys():
        if call["service"] == "kms":
            given[name] = bytes.fromhex(given[name])
        elif call["service"] != "sns":
            given[name] = given[name].encode()
    return given


def client(call):
    credentials = call.get("credentials") or {}
    return session.create_client(
        call["service"],
        region_name="us-east-1",
        endpoint_url=call["endpoint"],
        aws_access_key_id=credentials.get("AccessKeyId", "test"),
        aws_secret_access_key=credentials.get("SecretAccessKey", "test"),
        aws_session_token=credentials.get("SessionToken"),
        config=settings,
    )


session = botocore.session.get_session()
settings = botocore.config.Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
clients, answers = {}, []
for call in json.load(sys.stdin):
    key = json.dumps([call["service"], call.get("credentials"), call["endpoint"]])
    if key not in clients:
        clients[key] = client(call)
    try:
        answer = clients[key]._make_api_call(call["operation"], parameters(call))
        answer.pop("ResponseMetadata", None)
        answers.append({"answer": text(answer)})
    except botocore.exceptions.ClientError as error:
        answers.append({"refused": error.response["Error"]["Code"], "said": str(error)})
json.dump(answers, sys.stdout)
