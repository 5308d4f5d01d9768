//! The templates of infra/aws: clean for cfn-lint, and applied to ministack, which judges each call by the policies in
//! them.
//!
//! What ministack does not do is named in `what_the_double_does_not_do`, which fails as soon as it does.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests start programs and servers of their own")]

#[path = "aws_templates/cloud.rs"]
mod cloud;
#[path = "redirect/nginx.rs"]
mod nginx;

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::{Value, json};

use crate::cloud::{Cloud, REPOSITORY, ask, call, claims, must, program, read, template};

const TEMPLATES: [&str; 3] = ["account.yaml", "environment.yaml", "subscriber.yaml"];

/// An account that may subscribe, and one that may not.
const SUBSCRIBER: &str = "111111111111";
const STRANGER: &str = "333333333333";

/// The SHA-256 of nothing, which is what gets signed.
const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The statements of a policy by their names.
fn statements(policy: &Value) -> BTreeMap<String, Value> {
    let policy: Value = serde_json::from_str(policy.as_str().unwrap()).unwrap();
    let statements = policy["Statement"].as_array().unwrap().iter();
    statements.map(|one| (one["Sid"].as_str().unwrap().to_owned(), one.clone())).collect()
}

/// Makes calls with credentials; fails unless all are answered.
#[track_caller]
fn allowed(cloud: &Cloud, credentials: &Value, calls: &[Value]) -> Vec<Value> {
    let answers = cloud.calls(with(credentials, calls));
    for (call, answer) in calls.iter().zip(&answers) {
        assert!(answer.get("answer").is_some(), "{call}: {answer}");
    }
    answers.iter().map(|answer| answer["answer"].clone()).collect()
}

/// Makes calls with credentials; fails unless each is refused for want of a right.
#[track_caller]
fn refused(cloud: &Cloud, credentials: &Value, calls: &[Value]) {
    let answers = cloud.calls(with(credentials, calls));
    for (call, answer) in calls.iter().zip(answers) {
        let code = answer["refused"].as_str().unwrap_or_default();
        let codes = ["AccessDenied", "AccessDeniedException", "AuthorizationError"];
        assert!(codes.contains(&code), "{call}: {answer}");
    }
}

fn with(credentials: &Value, calls: &[Value]) -> Vec<Value> {
    let mut calls = calls.to_vec();
    for call in &mut calls {
        call["credentials"] = credentials.clone();
    }
    calls
}

fn sign(key: &str) -> Value {
    let algorithm = "ECDSA_SHA_256";
    let parameters = json!({
        "KeyId": key, "Message": DIGEST, "MessageType": "DIGEST", "SigningAlgorithm": algorithm,
    });
    call("kms", "Sign", parameters)
}

#[test]
fn cfn_lint_finds_nothing() {
    let lint = |files: &[PathBuf]| {
        let mut lint = program("cfn-lint");
        lint.args(["--non-zero-exit-code", "informational", "--"]).args(files).output().unwrap()
    };
    must(lint(&TEMPLATES.map(template)));
    // It does look.
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("environment.yaml");
    let text = fs::read_to_string(template("environment.yaml")).unwrap();
    fs::write(&broken, text.replace("SigningBehavior: always", "SigningBehavior: maybe")).unwrap();
    assert!(!lint(&[broken]).status.success());
}

#[test]
fn no_template_uses_yaml_that_cloudformation_does_not_read() {
    // AWS CloudFormation User Guide, "CloudFormation template format": neither aliases nor merges.
    for name in TEMPLATES {
        for line in fs::read_to_string(template(name)).unwrap().lines() {
            let value = line.trim_start().trim_start_matches("- ");
            let value = value.split_once(": ").map_or(value, |(_, value)| value);
            assert!(!value.starts_with(['&', '*']) && !line.contains("<<:"), "{name}: {line}");
        }
    }
}

#[test]
fn an_environment_is_what_its_template_says() {
    let cloud = Cloud::start();
    let outputs = cloud.environment("dev", &["RegistryHost=registry.example"]);
    the_bucket_is_private_and_keeps_all_versions(&cloud, &outputs["Bucket"]);
    the_keys_sign_and_nothing_else(&cloud, &outputs);
    everybody_reads_through_the_cdn_alone(&cloud, &outputs);
    assert_eq!(outputs["Registry"], "000000000000.dkr.ecr.us-east-1.amazonaws.com/kdistro-dev");
    // Deployed again it stays as it is.
    assert_eq!(cloud.environment("dev", &["RegistryHost=registry.example"]), outputs);

    let stack = "kdistro-dev";
    must(cloud.aws(&["cloudformation", "delete-stack", "--stack-name", stack]));
    must(cloud.aws(&["cloudformation", "wait", "stack-delete-complete", "--stack-name", stack]));
    cloud.call("s3", "HeadBucket", json!({"Bucket": outputs["Bucket"]}));
    for key in ["ReleaseKey", "LogKey"] {
        let key = cloud.call("kms", "DescribeKey", json!({"KeyId": outputs[key]}));
        assert_eq!(key["KeyMetadata"]["KeyState"], "Enabled");
    }
    let topics = cloud.call("sns", "ListTopics", json!({}));
    assert!(!topics.to_string().contains("kdistro-dev"), "{topics}");
}

fn the_bucket_is_private_and_keeps_all_versions(cloud: &Cloud, bucket: &str) {
    let ask = |operation| cloud.call("s3", operation, json!({"Bucket": bucket}));
    assert_eq!(ask("GetBucketVersioning")["Status"], "Enabled");
    let block = &ask("GetPublicAccessBlock")["PublicAccessBlockConfiguration"];
    let block = block.as_object().unwrap();
    assert!(block.len() == 4 && block.values().all(|blocked| blocked == true), "{block:?}");
    let owner = ask("GetBucketOwnershipControls");
    assert_eq!(owner["OwnershipControls"]["Rules"][0]["ObjectOwnership"], "BucketOwnerEnforced");
    let policy = statements(&ask("GetBucketPolicy")["Policy"]);
    for (name, statement) in &policy {
        let to_cdn = statement["Principal"] == json!({"Service": "cloudfront.amazonaws.com"})
            && statement["Condition"]["StringEquals"]["aws:SourceArn"].is_string();
        assert!(statement["Effect"] == "Deny" || to_cdn, "{name}");
    }
    let names: Vec<_> = policy.keys().map(String::as_str).collect();
    let expected = [
        "CdnReads",
        "CdnTellsWhatIsMissing",
        "NothingIsDeleted",
        "NothingIsReplaced",
        "OnlyTls",
        "SwappedOnlyIfUnchanged",
    ];
    assert_eq!(names, expected);
}

fn the_keys_sign_and_nothing_else(cloud: &Cloud, outputs: &BTreeMap<String, String>) {
    for key in ["ReleaseKey", "LogKey"] {
        let key = json!({"KeyId": outputs[key]});
        let found = cloud.call("kms", "DescribeKey", key.clone());
        let found = &found["KeyMetadata"];
        assert_eq!(found["KeySpec"], "ECC_NIST_P256");
        assert_eq!(found["KeyUsage"], "SIGN_VERIFY");
        let policy = statements(&cloud.call("kms", "GetKeyPolicy", key)["Policy"]);
        let signs = &policy["CiSigns"];
        assert_eq!(signs["Action"], json!(["kms:Sign", "kms:GetPublicKey"]));
        assert_eq!(signs["Principal"]["AWS"], outputs["CiRole"].as_str());
        let administers = policy["Administer"]["Action"].to_string();
        for forbidden in ["*", "kms:Sign\"", "kms:CreateGrant"] {
            assert!(!administers.contains(forbidden), "{administers}");
        }
        assert_eq!(policy.len(), 2);
    }
}

fn everybody_reads_through_the_cdn_alone(cloud: &Cloud, outputs: &BTreeMap<String, String>) {
    let (bucket, host) = (&outputs["Bucket"], outputs["CdnName"].as_str());
    assert_eq!(outputs["Url"], format!("https://{host}"));
    let name = "containers/images/sha256:00";
    cloud.call("s3", "PutObject", json!({"Bucket": bucket, "Key": name, "Body": "blob"}));
    let get = |address: &str, host: &str, path: &str| ask(address, host, path).unwrap();
    for path in [format!("/{name}"), format!("/{}", name.replace(':', "%3A"))] {
        let answer = get(cloud.secure(), host, &path);
        assert_eq!((answer.status, answer.body.as_str()), (200, "blob"), "{}", answer.head);
        assert!(answer.head.contains("\r\nvia: ") && !answer.head.contains("content-encoding"));
        let plain = get(&cloud.plain, host, &path);
        assert!(plain.status == 301 && plain.head.contains("location: https://"), "{}", plain.head);
        // Past the CDN, without credentials.
        let past = get(cloud.secure(), "127.0.0.1", &format!("/{bucket}{path}"));
        assert_eq!(past.status, 403, "{}", past.body);
    }
    for path in ["/", "/?list-type=2"] {
        let listed = get(cloud.secure(), host, path);
        assert!(listed.status != 200 && !listed.body.contains(name), "{}", listed.body);
    }
    let function = json!({"Name": "kdistro-dev-redirect", "Stage": "LIVE"});
    let function = cloud.call("cloudfront", "GetFunction", function);
    let code = fs::read_to_string(template("redirect/function.js")).unwrap();
    assert_eq!(function["FunctionCode"].as_str().unwrap(), code);
    let distributions = cloud.call("cloudfront", "ListDistributions", json!({}));
    let id = &distributions["DistributionList"]["Items"][0]["Id"];
    let found = cloud.call("cloudfront", "GetDistributionConfig", json!({"Id": id}));
    let found = &found["DistributionConfig"];
    let redirect = &found["CacheBehaviors"]["Items"][0];
    assert_eq!(redirect["PathPattern"], "/v2/*");
    assert_eq!(redirect["FunctionAssociations"]["Items"][0]["EventType"], "viewer-request");
    assert_eq!(found["DefaultCacheBehavior"]["Compress"], false);
    let origin = &found["Origins"]["Items"][0]["OriginAccessControlId"];
    let access = cloud.call("cloudfront", "GetOriginAccessControl", json!({"Id": origin}));
    let access = &access["OriginAccessControl"]["OriginAccessControlConfig"];
    assert_eq!(access["SigningBehavior"], "always");
}

#[test]
fn ci_may_publish_and_nothing_else() {
    let cloud = Cloud::start();
    cloud.trust();
    let outputs = cloud.environment("dev", &[]);
    let role = &outputs["CiRole"];
    let nobody = [
        ("sub", format!("repo:{REPOSITORY}:environment:production")),
        ("sub", format!("repo:{REPOSITORY}:ref:refs/heads/main")),
        ("sub", format!("repo:{REPOSITORY}x:environment:dev")),
        ("aud", "somebody else".to_owned()),
        ("iss", "https://issuer.example".to_owned()),
    ];
    for (claim, value) in nobody {
        let mut claims = claims("dev");
        claims[claim] = json!(value);
        assert_eq!(cloud.token(role, &claims)["refused"], "AccessDenied", "{claims}");
    }
    let ci = cloud.ci(role, "dev");
    ci_publishes(&cloud, &ci, &outputs);
    ci_changes_nothing(&cloud, &ci, &outputs);
    nobody_else_signs_or_deletes(&cloud, &outputs);
    // Without TLS nothing is stored or announced.
    let mut plain =
        vec![put(&outputs["Bucket"], "plain"), publish(&outputs["Topic"], "1-36", "dev")];
    for call in &mut plain {
        call["endpoint"] = json!(format!("http://{}", cloud.plain));
    }
    refused(&cloud, &ci, &plain);
}

fn put(bucket: &str, name: &str) -> Value {
    let parameters = json!({"Bucket": bucket, "Key": name, "Body": name, "IfNoneMatch": "*"});
    call("s3", "PutObject", parameters)
}

/// An announcement as SNS carries it.
fn publish(topic: &str, channel: &str, environment: &str) -> Value {
    let text = |value: &str| json!({"DataType": "String", "StringValue": value});
    let attributes = json!({"channel": text(channel), "environment": text(environment)});
    let message = json!({"default": format!("{channel} in {environment}")}).to_string();
    let mut parameters = json!({"TopicArn": topic, "Message": message, "MessageStructure": "json"});
    parameters["MessageAttributes"] = attributes;
    call("sns", "Publish", parameters)
}

/// All calls that kdistro makes.
fn ci_publishes(cloud: &Cloud, ci: &Value, outputs: &BTreeMap<String, String>) {
    let bucket = &outputs["Bucket"];
    let object = json!({"Bucket": bucket, "Key": "a"});
    let calls = vec![
        put(bucket, "a"),
        call("s3", "HeadObject", object.clone()),
        call("s3", "GetObject", object),
        call("s3", "ListObjectsV2", json!({"Bucket": bucket})),
        call("s3", "ListMultipartUploads", json!({"Bucket": bucket})),
        call("s3", "CreateMultipartUpload", json!({"Bucket": bucket, "Key": "large"})),
        call("s3", "CreateMultipartUpload", json!({"Bucket": bucket, "Key": "dropped"})),
    ];
    let mut answers = allowed(cloud, ci, &calls);
    let upload = |answer: Value| json!({"Bucket": bucket, "Key": answer["Key"], "UploadId": answer["UploadId"]});
    let (dropped, large) = (upload(answers.remove(6)), upload(answers.remove(5)));
    let mut part = large.clone();
    part["PartNumber"] = json!(1);
    part["Body"] = json!("part");
    let parts = vec![
        call("s3", "UploadPart", part),
        call("s3", "ListParts", large.clone()),
        call("s3", "AbortMultipartUpload", dropped),
    ];
    let part = allowed(cloud, ci, &parts).remove(0);
    let mut complete = large;
    complete["MultipartUpload"] = json!({"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]});
    complete["IfNoneMatch"] = json!("*");
    let mut calls = vec![call("s3", "CompleteMultipartUpload", complete)];

    for key in ["ReleaseKey", "LogKey"] {
        let key = &outputs[key];
        calls.extend([sign(key), call("kms", "GetPublicKey", json!({"KeyId": key}))]);
    }
    calls.push(publish(&outputs["Topic"], "1-36", "dev"));
    let repository = json!({"repositoryName": "kdistro-dev/etcd"});
    let mut created = repository.clone();
    created["imageTagMutability"] = json!("IMMUTABLE");
    created["imageScanningConfiguration"] = json!({"scanOnPush": true});
    let mut layers = repository.clone();
    layers["layerDigests"] = json!([format!("sha256:{DIGEST}")]);
    calls.extend([
        call("ecr", "GetAuthorizationToken", json!({})),
        call("ecr", "CreateRepository", created),
        call("ecr", "DescribeRepositories", json!({})),
        call("ecr", "BatchCheckLayerAvailability", layers),
        call("ecr", "InitiateLayerUpload", repository.clone()),
        call("ecr", "ListImages", repository),
    ]);
    allowed(cloud, ci, &calls);
}

fn ci_changes_nothing(cloud: &Cloud, ci: &Value, outputs: &BTreeMap<String, String>) {
    let (bucket, key, topic) = (&outputs["Bucket"], &outputs["ReleaseKey"], &outputs["Topic"]);
    let of = |name: &str, value: &str, more: Value| {
        let mut parameters = more;
        parameters[name] = json!(value);
        parameters
    };
    let bucket = |more| of("Bucket", bucket, more);
    let key = |more| of("KeyId", key, more);
    let topic = |more| of("TopicArn", topic, more);
    let repository = |more| of("repositoryName", "kdistro-dev/etcd", more);
    let role = outputs["CiRole"].rsplit('/').next().unwrap();
    let queue = "arn:aws:sqs:us-east-1:000000000000:queue";
    let calls = vec![
        call("s3", "DeleteObject", bucket(json!({"Key": "a"}))),
        call("s3", "PutBucketPolicy", bucket(json!({"Policy": "{}"}))),
        call("s3", "DeleteBucketPolicy", bucket(json!({}))),
        call("s3", "PutBucketVersioning", bucket(json!({"VersioningConfiguration": {}}))),
        call("s3", "DeleteBucketLifecycle", bucket(json!({}))),
        call("s3", "DeleteBucket", bucket(json!({}))),
        call("s3", "CreateBucket", json!({"Bucket": "another"})),
        call("kms", "DisableKey", key(json!({}))),
        call("kms", "ScheduleKeyDeletion", key(json!({}))),
        call("kms", "PutKeyPolicy", key(json!({"Policy": "{}"}))),
        call("kms", "CreateGrant", key(json!({"GranteePrincipal": role, "Operations": ["Sign"]}))),
        call("kms", "CreateKey", json!({})),
        call("sns", "Subscribe", topic(json!({"Protocol": "sqs", "Endpoint": queue}))),
        call("sns", "DeleteTopic", topic(json!({}))),
        call("ecr", "CreateRepository", json!({"repositoryName": "kdistro-devil/etcd"})),
        call("ecr", "CreateRepository", json!({"repositoryName": "etcd"})),
        call("ecr", "BatchDeleteImage", repository(json!({"imageIds": [{"imageTag": "v1"}]}))),
        call("ecr", "PutImageTagMutability", repository(json!({"imageTagMutability": "MUTABLE"}))),
        call("ecr", "SetRepositoryPolicy", repository(json!({"policyText": "{}"}))),
        call("ecr", "DeleteRepository", repository(json!({"force": true}))),
        call("iam", "CreateUser", json!({"UserName": "somebody"})),
        call("iam", "DeleteRolePolicy", json!({"RoleName": role, "PolicyName": "publish"})),
        call("cloudformation", "DeleteStack", json!({"StackName": "kdistro-dev"})),
    ];
    refused(cloud, ci, &calls);
}

/// Not even who may do everything.
fn nobody_else_signs_or_deletes(cloud: &Cloud, outputs: &BTreeMap<String, String>) {
    let all =
        json!({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}).to_string();
    let user = json!({"UserName": "administrator"});
    cloud.call("iam", "CreateUser", user.clone());
    let policy = json!({"UserName": "administrator", "PolicyName": "all", "PolicyDocument": all});
    cloud.call("iam", "PutUserPolicy", policy);
    let administrator = &cloud.call("iam", "CreateAccessKey", user)["AccessKey"];
    let key = json!({"KeyId": outputs["ReleaseKey"]});
    let administration = ["DescribeKey", "DisableKey", "EnableKey"];
    let calls = administration.map(|operation| call("kms", operation, key.clone()));
    allowed(cloud, administrator, &calls);
    let grantee = outputs["CiRole"].as_str();
    let mut grant = key;
    grant["GranteePrincipal"] = json!(grantee);
    grant["Operations"] = json!(["Sign"]);
    let calls = vec![
        sign(&outputs["ReleaseKey"]),
        sign(&outputs["LogKey"]),
        call("kms", "CreateGrant", grant),
        call("s3", "DeleteObject", json!({"Bucket": outputs["Bucket"], "Key": "a"})),
    ];
    refused(cloud, administrator, &calls);
}

#[test]
fn a_subscriber_gets_the_announcements_of_its_channels() {
    let cloud = Cloud::start();
    cloud.trust();
    let outputs = cloud.environment("dev", &[&format!("Subscribers={SUBSCRIBER}")]);
    let topic = &outputs["Topic"];
    let from = |account: &str, protocol: &str, endpoint: &str| {
        let parameters = json!({"TopicArn": topic, "Protocol": protocol, "Endpoint": endpoint});
        let mut call = call("sns", "Subscribe", parameters);
        call["credentials"] = json!({"AccessKeyId": account, "SecretAccessKey": "test"});
        cloud.calls(vec![call]).remove(0)
    };
    let queue = |account| format!("arn:aws:sqs:us-east-1:{account}:queue");
    let subscribed = from(SUBSCRIBER, "sqs", &queue(SUBSCRIBER));
    assert!(subscribed["answer"]["SubscriptionArn"].is_string(), "{subscribed}");
    assert_eq!(from(STRANGER, "sqs", &queue(STRANGER))["refused"], "AuthorizationError");

    let parameter = format!("Topic={topic}");
    let parameters = [parameter.as_str(), "Channels=1-35,1-36", "Environments=dev"];
    let subscriber = cloud.stack("kdistro-subscriber", "subscriber.yaml", &parameters);
    let ci = cloud.ci(&outputs["CiRole"], "dev");
    let announced = [("1-20", "dev"), ("1-36", "production"), ("1-36", "dev"), ("1-35", "dev")];
    let calls = announced.map(|(channel, environment)| publish(topic, channel, environment));
    allowed(&cloud, &ci, &calls);

    let url = &subscriber["Queue"];
    let receive = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1});
    let received = cloud.call("sqs", "ReceiveMessage", receive.clone());
    let received = received["Messages"].as_array().unwrap();
    let text = |message: &Value| {
        let envelope: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
        assert_eq!(envelope["TopicArn"], topic.as_str());
        envelope["Message"].as_str().unwrap().to_owned()
    };
    let mut received: Vec<_> = received.iter().map(text).collect();
    received.sort();
    assert_eq!(received, ["1-35 in dev", "1-36 in dev"]);
    // Who publishes neither writes to the queue nor reads it.
    let message = json!({"QueueUrl": url, "MessageBody": "forged"});
    let calls = vec![call("sqs", "SendMessage", message), call("sqs", "ReceiveMessage", receive)];
    refused(&cloud, &ci, &calls);

    let all = json!({"QueueUrl": url, "AttributeNames": ["All"]});
    let attributes = &cloud.call("sqs", "GetQueueAttributes", all)["Attributes"];
    let policy = statements(&attributes["Policy"]);
    let sends = &policy["TopicSends"];
    assert_eq!(sends["Principal"], json!({"Service": "sns.amazonaws.com"}));
    assert_eq!(sends["Condition"], json!({"ArnEquals": {"aws:SourceArn": topic}}));
    let dead = json!({"QueueUrl": subscriber["DeadLetters"], "AttributeNames": ["QueueArn"]});
    let dead = &cloud.call("sqs", "GetQueueAttributes", dead)["Attributes"]["QueueArn"];
    assert!(attributes["RedrivePolicy"].as_str().unwrap().contains(dead.as_str().unwrap()));
}

#[test]
fn production_with_everything_reads_what_is_promoted_and_no_more() {
    let cloud = Cloud::start();
    cloud.trust();
    let dev = cloud.environment("dev", &[]);
    let wrong = ["Environment=x", "Repository=a/b", "RegistryPrefix=x", "LogOrigin=x"];
    let wrong = [&wrong[..], &["DomainName=cdn.example"]].concat();
    let output = cloud.deploy("wrong", "environment.yaml", &wrong);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("DomainName and Certificate come together"), "{said}");

    let administrator = "arn:aws:iam::000000000000:role/keys";
    let promoted = format!("PromotionBucket={}", dev["Bucket"]);
    let keys = format!("KeyAdministrators={administrator}");
    let certificate = "arn:aws:acm:us-east-1:000000000000:certificate/0";
    let certificate = format!("Certificate={certificate}");
    let more = [&promoted, "PromotionRegistryPrefix=kdistro-dev", &keys, &certificate];
    let names = ["DomainName=cdn.example", "SubscriberOrganization=o-a1b2c3d4e5"];
    let outputs = cloud.environment("production", &[&more[..], &names].concat());
    assert_eq!(outputs["Url"], "https://cdn.example");
    let policy = cloud.call("kms", "GetKeyPolicy", json!({"KeyId": outputs["LogKey"]}));
    let policy = statements(&policy["Policy"]);
    assert_eq!(policy["Administer"]["Principal"]["AWS"], json!([administrator]));
    let topic = json!({"TopicArn": outputs["Topic"]});
    let attributes = cloud.call("sns", "GetTopicAttributes", topic);
    let policy = statements(&attributes["Attributes"]["Policy"]);
    let organization = &policy["OrganizationSubscribes"]["Condition"]["StringEquals"];
    assert_eq!(organization, &json!({"aws:PrincipalOrgID": "o-a1b2c3d4e5"}));
    assert!(!policy.contains_key("AccountsSubscribe"));

    allowed(&cloud, &cloud.ci(&dev["CiRole"], "dev"), &[put(&dev["Bucket"], "a")]);
    let repository = json!({"repositoryName": "kdistro-dev/etcd"});
    cloud.call("ecr", "CreateRepository", repository.clone());
    let mut image = repository.clone();
    image["imageIds"] = json!([{"imageTag": "v1"}]);
    let object = json!({"Bucket": dev["Bucket"], "Key": "a"});
    let ci = cloud.ci(&outputs["CiRole"], "production");
    let reads = [
        call("s3", "GetObject", object),
        call("s3", "ListObjectsV2", json!({"Bucket": dev["Bucket"]})),
        call("ecr", "BatchGetImage", image),
    ];
    allowed(&cloud, &ci, &reads);
    let others = [
        put(&dev["Bucket"], "b"),
        sign(&dev["ReleaseKey"]),
        publish(&dev["Topic"], "1-36", "dev"),
        call("ecr", "InitiateLayerUpload", repository),
    ];
    refused(&cloud, &ci, &others);
    let ci = cloud.ci(&dev["CiRole"], "dev");
    let object = json!({"Bucket": outputs["Bucket"], "Key": "a"});
    refused(&cloud, &ci, &[sign(&outputs["ReleaseKey"]), call("s3", "GetObject", object)]);
}

/// Each as long as it is so; where the double cannot tell, the template is read instead.
#[test]
fn what_the_double_does_not_do() {
    let cloud = Cloud::start();
    // `AWS::IAM::OIDCProvider`: `Cloud::trust` makes the provider by a call.
    let said = cloud.deploy("kdistro-account", "account.yaml", &[]).stderr;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("Unrecognized resource types: [AWS::IAM::OIDCProvider]"), "{said}");
    // Signatures of CI's tokens: `Cloud::token` writes any, and TLS: a header of nginx's stands for it.
    let outputs = cloud.environment("dev", &["RegistryHost=registry.example"]);
    let (bucket, host) = (&outputs["Bucket"], outputs["CdnName"].as_str());
    let resources = &read("environment.yaml")["Resources"];

    // `LifecycleConfiguration` of a bucket.
    let lifecycle = call("s3", "GetBucketLifecycleConfiguration", json!({"Bucket": bucket}));
    let found = cloud.calls(vec![lifecycle]).remove(0);
    assert_eq!(found["refused"], "NoSuchLifecycleConfiguration", "{found}");
    let rules = &resources["Store"]["Properties"]["LifecycleConfiguration"]["Rules"];
    let expected = json!([{
        "Id": "unfinished-uploads", "Status": "Enabled",
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    }]);
    assert_eq!(rules, &expected);

    // The conditions `s3:if-none-match`, `s3:if-match` and `s3:ObjectCreationOperation`.
    let object = json!({"Bucket": bucket, "Key": "a", "Body": "replaced"});
    cloud.calls(vec![put(bucket, "a")]);
    cloud.call("s3", "PutObject", object);
    let policy = &resources["StorePolicy"]["Properties"]["PolicyDocument"]["Statement"];
    let policy = statements(&json!(json!({"Statement": policy}).to_string()));
    let changing = &policy["NothingIsReplaced"]["NotResource"];
    assert_eq!(changing, &policy["SwappedOnlyIfUnchanged"]["Resource"]);
    let names = ["releasechannels/*.yaml", "log/checkpoint", "tuf/timestamp.json"];
    let names = names.map(|name| json!({"Fn::Sub": format!("${{Store.Arn}}/{name}")}));
    assert_eq!(changing, &json!(names));

    // `SignatureVersion` of a topic.
    let topic = cloud.call("sns", "GetTopicAttributes", json!({"TopicArn": outputs["Topic"]}));
    assert!(topic["Attributes"].get("SignatureVersion").is_none(), "{topic}");
    assert_eq!(resources["Topic"]["Properties"]["SignatureVersion"], "2");

    // S3's 404 instead of 403 for whoever may list; `/v2/` of a distribution, which its own registry answers.
    assert_eq!(ask(cloud.secure(), host, "/nothing").unwrap().status, 403);
    let blob = format!("/v2/etcd/blobs/sha256:{DIGEST}");
    let answer = ask(cloud.secure(), host, &blob).unwrap();
    assert!(answer.status == 404 && answer.body.contains("NAME_UNKNOWN"), "{}", answer.body);
}
